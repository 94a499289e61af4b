"""`llmlab try`: one prompt answered by a run's base model and by its fine-tuned model, on this computer."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmlab.aws.session import Aws
from llmlab.ops import fetched_model, model_size, program
from llmlab.ops.program import Run
from llmlab.trainer.export.cpu_limit import LARGEST_ON_CPU, too_large

PROGRAM = "llmlab.trainer.export.answer"

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class ModelAnswers:
    """The answers of the base model and of the trained one to a prompt."""

    run: str
    model: str
    prompt: str
    base: str
    tuned: str


def has_gpu() -> bool:
    """Whether NVIDIA's driver is installed on this computer, told by `nvidia-smi` and without torch."""
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
) -> ModelAnswers:
    """Ask the base model and the fine-tuned one; model files that are not on this computer are fetched first.

    Raises:
        LabError: the run has no output yet, the model is too large for a CPU, or torch is not installed.
    """
    trained_model = fetched_model.locate(aws, text, outputs, progress)
    size = model_size.of(aws, trained_model.recipe.model, trained_model.recipe.lab_model)
    if size is not None and size.parameters > LARGEST_ON_CPU and not gpu():
        raise too_large(trained_model.recipe.model, size.parameters, str(trained_model.folder), trained_model.run)
    model = base or fetched_model.base_of(aws, trained_model.recipe, outputs, progress)
    answers = run(
        PROGRAM, [model, str(trained_model.folder), prompt, "--most-tokens", str(most_tokens), "--revision", trained_model.revision]
    )
    return ModelAnswers(run=trained_model.run, model=trained_model.recipe.model, **answers)
