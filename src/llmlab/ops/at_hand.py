"""The chat template and the tokenizer of a recipe's model before a run: from a local folder, the lab, or the Hugging Face hub.

A folder that the user names is taken as it is. Of a model of the lab or of the hub a few small files and its vocabulary are fetched into a
folder of the caller's. Where the files cannot be had, a note says why, and the data is checked without them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from shlex import quote
from tempfile import TemporaryDirectory

from llmlab import chat_template, contract
from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.chat_template import MODELS_OWN
from llmlab.contract import MANIFEST, Manifest
from llmlab.dataset.rendering.counting import is_installed
from llmlab.dataset.rendering.model_files import MORE, MOST_BYTES, MOST_VOCABULARY_BYTES, SMALL, VOCABULARY, ModelFiles
from llmlab.errors import LabError, UsageError
from llmlab.ops.extras import install_command
from llmlab.ops.hub import Hub, NoAnswer
from llmlab.ops.suited import check_own_template
from llmlab.recipe import Recipe
from llmlab.recipe.adapters import UNTAUGHT, USUAL_ENDS, whole

CONTROL = re.compile(r"<\|[^|<>\s{}'\"]{1,40}\|>|</?[a-z]+_of_[a-z]+>")
"""How control tokens are written by most families of models: `<|im_end|>`, `<end_of_turn>`."""
SHOWN = 4


@dataclass(frozen=True)
class AtHand:
    """A model's files, or why there are none. `model` and `revision` are the recipe's; empty where a folder was named."""

    files: ModelFiles | None = None
    model: str = ""
    revision: str = ""
    notes: tuple[str, ...] = ()


def find(recipe: Recipe | None, named: Path | None, lab: Callable[[], Aws], hub: Hub, folder: Path) -> AtHand:
    """The template and tokenizer files of the model, or notes that say why there are none.

    Args:
        recipe: the recipe, if there is one.
        named: the model's folder, where the user has named one; another file of a tokenizer tells of no template.
        lab: opens the account, which only a model of the lab needs.
        hub: the Hugging Face hub, which has all other models.
        folder: an empty folder for the files that are fetched.

    Raises:
        UsageError: the recipe's own template cannot be read, or it adds tokens that it does not teach.
    """
    try:
        recipe = with_template(recipe, lab) if recipe else None
    except UsageError:
        raise
    except LabError as error:
        return AtHand(notes=(f"no chat template was tried on the data: {error}",))
    template = recipe.chat_template.text if recipe and recipe.chat_template else ""
    tokens = recipe.additional_special_tokens if recipe else ()
    if named is not None:
        files = ModelFiles(named, template, tokens)
        _check_tokens(recipe, files)
        return AtHand(files, notes=_notes_of(recipe, files)) if files.exist else AtHand()
    if recipe is None:
        return AtHand()
    revision, note = "", ""
    try:
        if recipe.lab_model:
            _from_lab(lab(), recipe.lab_model, folder)
        else:
            revision, note = hub.files(recipe, folder)
    except (LabError, NoAnswer) as error:
        where = "give its folder with --tokenizer"
        return AtHand(notes=(f"{recipe.whose_template} was not tried on the data: {error}; {where}",))
    files = ModelFiles(folder, template, tokens)
    _check_tokens(recipe, files)
    return AtHand(files, recipe.model, revision, (note,) if note else _notes_of(recipe, files))


def with_template(recipe: Recipe, lab: Callable[[], Aws]) -> Recipe:
    """The recipe with the text of its own chat template, which may be that of an uploaded model.

    Raises:
        UsageError: the text is no template.
        LabError: there is no such model, it has no template, or AWS says no.
    """
    template = recipe.chat_template
    if template and template.lab_model and not template.text:
        with TemporaryDirectory(prefix="llmlab-") as folder:
            _from_lab(lab(), template.lab_model, Path(folder), vocabulary=False)
            text = ModelFiles(Path(folder)).get_chat_template()
        if not text:
            raise LabError(f"the model {template.lab_model} has no chat template", MODELS_OWN)
        recipe = recipe.model_copy(update={"chat_template": chat_template.of(template.file, text)})
    check_own_template(recipe)
    return recipe


def _check_tokens(recipe: Recipe | None, files: ModelFiles) -> None:
    """Check that what the recipe trains can learn the tokens it adds.

    Raises:
        UsageError: an adapter alone cannot.
    """
    if recipe is None or recipe.method == "full" or recipe.lora.modules_to_save or not files.new_tokens:
        return
    raise UsageError(
        UNTAUGHT.format(model=recipe.model, tokens=", ".join(files.new_tokens)), f"llmlab launch --set {quote(whole(USUAL_ENDS))}"
    )


def _notes_of(recipe: Recipe | None, files: ModelFiles) -> tuple[str, ...]:
    """Notes about the files: lengths that are only estimated, and control tokens that the tokenizer does not know."""
    return (*_without(files), *(_strange(recipe, files) if recipe and files.template and files.vocabulary else ()))


def _strange(recipe: Recipe, files: ModelFiles) -> tuple[str, ...]:
    """A note about control tokens that a recipe's template writes and the model's tokenizer does not have."""
    known = {*files.special, *(str(token.get("content")) for token in files.added)}
    strange = sorted({*CONTROL.findall(files.template)} - known)
    if not strange:
        return ()
    some = ", ".join(strange[:SHOWN]) + (" and more" if strange[SHOWN:] else "")
    return (f"{recipe.whose_template} writes {some}, which are no tokens of {recipe.model}: it reads them letter by letter",)


def _without(files: ModelFiles) -> tuple[str, ...]:
    """A note where lengths are estimated only because the package tokenizers is not installed."""
    if files.vocabulary is None or is_installed():
        return ()
    return (f"lengths are estimated: counting them needs the package tokenizers: {install_command('tokenizer')}",)


def _from_lab(aws: Aws, name: str, folder: Path, *, vocabulary: bool = True) -> None:
    """Fetch the template and tokenizer files of an uploaded model.

    Raises:
        LabError: there is no such model, or AWS says no.
    """
    bucket, prefix = aws.names.data_bucket, contract.model_prefix(name)
    manifest = documents.read(aws, Manifest, bucket, prefix + MANIFEST)
    if manifest is None:
        raise LabError(f"no model {name} has been uploaded", f"llmlab upload {quote(f'{name}/')} --model {quote(name)}")
    for file in manifest.files:
        path = PurePosixPath(file.path)
        if file.path not in {*SMALL, *([VOCABULARY] if vocabulary else ())} and not (str(path.parent) == MORE and path.suffix == ".jinja"):
            continue
        most = MOST_VOCABULARY_BYTES if file.path == VOCABULARY else MOST_BYTES
        answer = aws.s3.get_object(Bucket=bucket, Key=prefix + file.path)
        target = folder / path.name if path.parent == PurePosixPath() else folder / MORE / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(contract.body(answer, most))
