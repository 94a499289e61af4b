"""One prompt, answered by a run's base model and by what the run made of it, on this machine."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmlab.aws.session import Aws
from llmlab.ops import model_size, program, trained
from llmlab.ops.program import Run
from llmlab.trainer.results.limits import LARGEST_ON_CPU, too_large

PROGRAM = "llmlab.trainer.results.answer"

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Answers:
    """What both say."""

    run: str
    model: str
    prompt: str
    base: str
    tuned: str


def has_gpu() -> bool:
    """Whether this machine has NVIDIA's driver, which is known without torch."""
    return shutil.which("nvidia-smi") is not None


def ask(
    aws: Aws,
    text: str,
    prompt: str,
    outputs: Path,
    most_tokens: int = 128,
    base: str = "",
    progress: Progress = lambda _done, _total: None,
    run: Run = program.run,
    gpu: Callable[[], bool] = has_gpu,
) -> Answers:
    """Ask both; what is not on this machine is fetched first.

    Raises:
        LabError: nothing was put out yet, the model is too large for a CPU, or torch is not installed.
    """
    found = trained.locate(aws, text, outputs, progress)
    size = model_size.of(aws, found.recipe.model, found.recipe.lab_model)
    if size is not None and size.parameters > LARGEST_ON_CPU and not gpu():
        raise too_large(found.recipe.model, size.parameters, str(found.folder), found.run)
    model = base or trained.base_of(aws, found.recipe, outputs, progress)
    said = run(PROGRAM, [model, str(found.folder), prompt, "--most-tokens", str(most_tokens), "--revision", found.revision])
    return Answers(run=found.run, model=found.recipe.model, **said)
