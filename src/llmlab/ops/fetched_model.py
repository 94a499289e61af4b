"""The adapter or model that a run has trained and its base model, as folders on this computer: fetched where they are missing.

An uploaded base model lies in the data bucket and is brought into `outputs/models/NAME`, each file checked; a model of Hugging Face is left
to transformers and its cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from llmlab import contract, recipe as recipes
from llmlab.aws import documents, objects
from llmlab.aws.receiving import DownloadFile, receive
from llmlab.aws.session import Aws
from llmlab.contract import ADAPTER, WHOLE_MODEL, RunKeys, Spec
from llmlab.errors import LabError
from llmlab.ops import fetch, uploaded
from llmlab.ops.fetch import What
from llmlab.ops.runs import resolve
from llmlab.recipe import Recipe

MODELS = "models"
"""The folder of base models, in the folder of the outputs."""

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class TrainedModel:
    """What a run has trained: `folder` is the adapter, or with `whole` the model. `base` is the base model's folder or its hub name."""

    run: str
    folder: Path
    whole: bool
    recipe: Recipe
    base: str = ""

    @property
    def revision(self) -> str:
        return "main" if self.recipe.lab_model else self.recipe.revision


def locate(aws: Aws, text: str, outputs: Path, progress: Progress = lambda _done, _total: None) -> TrainedModel:
    """The trained adapter or model of the run that `text` means, fetched when it is not here.

    Raises:
        LabError: there is no such run, or it has no output yet.
    """
    run = resolve(aws, text)
    spec = documents.read(aws, Spec, aws.names.outputs_bucket, RunKeys(run).spec)
    if spec is None:
        raise LabError(f"there is no run {run}", "llmlab status")
    fetch.fetch(aws, run, outputs, (What.ADAPTER,), progress)
    for name in (ADAPTER, WHOLE_MODEL):
        if (outputs / run / name).is_dir():
            return TrainedModel(run, outputs / run / name, name == WHOLE_MODEL, recipes.check(spec.recipe, source=f"run {run}"))
    raise LabError(f"run {run} has not put out anything yet", f"llmlab status {run}")


def base_of(aws: Aws, recipe: Recipe, outputs: Path, progress: Progress = lambda _done, _total: None) -> str:
    """The base model of a recipe: the folder that an uploaded one was brought to, or the Hugging Face name.

    Raises:
        LabError: the uploaded model does not exist any more, or is not what its manifest says.
    """
    if recipe.lab_model is None:
        return recipe.model
    manifest = uploaded.model(aws, recipe.lab_model)
    assert manifest is not None
    folder, prefix, bucket = outputs / MODELS / recipe.lab_model, contract.model_prefix(recipe.lab_model), aws.names.data_bucket
    stored = {item.key: item for item in objects.listing(aws, bucket, prefix)}
    every = []
    for file in manifest.files:
        item, path = stored.get(prefix + file.path), folder / file.path
        if item is None or not path.resolve().is_relative_to(folder.resolve()):
            raise LabError(
                f"{prefix}{file.path} is listed as part of the model and is not in the bucket",
                f"llmlab upload {quote(str(folder))} --model NAME",
            )
        every.append(DownloadFile(item.key, path, item.size, item.etag, item.changed, file.sha256))
    receive(aws, bucket, [incoming for incoming in every if not fetch.is_here(incoming)], progress)
    return str(folder)
