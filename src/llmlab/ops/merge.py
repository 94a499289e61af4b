"""Base model and adapter of a run as one model in safetensors, which needs neither PEFT nor the base model any more."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from llmlab.aws.session import Aws
from llmlab.errors import LabError, UsageError
from llmlab.ops import fetched_model, program
from llmlab.ops.program import Run

PROGRAM = "llmlab.trainer.export.merge"
FOLDER = "merged"
"""The merged model's folder, in the run's folder of the outputs."""

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class MergeResult:
    """`size` in bytes. `difference` is the largest one between the logits of both, `logit` the largest of them."""

    run: str
    folder: str
    base: str
    files: int
    size: int
    dtype: str
    prompt: str
    difference: float
    logit: float
    same_words: float
    checked: bool
    own_tokenizer: bool
    """Whether the tokenizer's files are the base model's; transformers 4 may not open others."""


def merge(
    aws: Aws,
    text: str,
    outputs: Path,
    out: Path | None = None,
    base: str = "",
    progress: Progress = lambda _done, _total: None,
    run: Run = program.run,
) -> MergeResult:
    """Merge a run's adapter into its base model, which is fetched or downloaded unless `base` names a folder.

    Raises:
        LabError: the run has no adapter, the folder is there already, the base is another model, or torch is not installed.
    """
    trained_model = fetched_model.locate(aws, text, outputs, progress)
    if trained_model.whole:
        raise LabError(
            f"run {trained_model.run} trained every weight, so there is nothing to merge: {trained_model.folder}",
            f"llmlab try {trained_model.run} hello",
        )
    target = out or outputs / trained_model.run / FOLDER
    if target.exists():
        raise UsageError(f"{target} is there already", f"llmlab merge {trained_model.run} --output {quote(f'{target}-2')}")
    model = base or fetched_model.base_of(aws, trained_model.recipe, outputs, progress)
    facts = run(PROGRAM, [model, str(trained_model.folder), str(target), "--revision", trained_model.revision])
    return MergeResult(run=trained_model.run, base=model, **facts)
