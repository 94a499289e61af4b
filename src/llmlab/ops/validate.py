"""Check every line of a dataset before anything is paid for."""

from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from llmlab.contract import Manifest
from llmlab.dataset.check import check
from llmlab.dataset.files import find
from llmlab.dataset.formats import OBJECTIVES, Format, Kind
from llmlab.dataset.report import DatasetReport
from llmlab.errors import DataError
from llmlab.ops.suited import one_kind

if TYPE_CHECKING:
    from llmlab.dataset.trial import Trial
    from llmlab.ops.at_hand import AtHand

Progress = Callable[[float, float], None]


def validate(
    path: Path, *, max_length: int | None = None, tokenizer: Path | None = None, progress: Progress = lambda _done, _total: None
) -> DatasetReport:
    """Check and count a file or a folder.

    Raises:
        UsageError: there is no dataset at `path`.
        DataError: there are files, and no line in them.
    """
    report = check(find(path), max_length=max_length, tokenizer=tokenizer, progress=progress)
    if not report.examples and not report.bad and not report.skipped:
        raise DataError(f"{path} has no examples: every file in it is empty", "llmlab validate --forms")
    return report


def as_manifest(path: Path, objective: str | None = None) -> Manifest:
    """The manifest that an upload of a file or a folder would write, for users without an account.

    Raises:
        UsageError: as `validate`.
        DataError: as `validate`, or no line can be trained on.
    """
    report = validate(path)
    refuse(path, report, objective)
    return Manifest(str(path), (), "", report.facts)


def tried(
    path: Path, report: DatasetReport, model: "AtHand", progress: Progress = lambda _done, _total: None
) -> tuple[DatasetReport, "Trial | None"]:
    """The report with what the model's chat template and tokenizer say of every row, where they are at hand.

    Raises:
        LabError: the template does more than any honest one, or a file of the model cannot be read.
    """
    chats = any(kind != Kind.TEXT for kind in report.kinds)
    if model.files is None or not report.examples or report.mixed or (chats and not model.files.exist):
        return report, None
    from llmlab.dataset.trial import try_on  # Jinja takes a tenth of a second

    trial = try_on(find(path), report, model.files, model=model.model, revision=model.revision, progress=progress)
    return trial.said_of(report), trial


def refuse(path: Path, report: DatasetReport, objective: str | None = None, again: str = "") -> None:
    """Stop at a dataset that could not be trained on whatever bad lines are left out.

    Args:
        path: where it is.
        report: what was found in it.
        objective: what it is for, where that was said. Labels are no answers, so that rows with one are taken for kto alone.
        again: the command as it was typed without an objective, `llmlab validate PATH` unless it is told.

    Raises:
        DataError: no line is good, rows have labels that nobody said are to be learned from or that are all alike, or kinds that no
            objective learns from together or that another one learns from.
    """
    again = again or f"llmlab validate {quote(str(path))}"
    if not report.examples:
        skipped = ", ".join(f"{count:,} {what}" for what, count in report.skipped.items())
        raise DataError(f"no line of {path} can be trained on{f': {skipped}' if skipped else ''}", "llmlab validate --forms")
    labelled = report.kinds.get(Kind.KTO, 0)
    if labelled and objective is None:
        rows = f"{labelled:,} {'row has' if labelled == 1 else 'rows have'}"
        raise DataError(
            f"{rows} a label: unpaired preferences, which objective kto learns from and no other",
            f"{again} --objective {OBJECTIVES[Kind.KTO]}",
        )
    if report.mixed:
        kinds = " and ".join(report.kinds)
        raise DataError(f"{kinds} examples cannot be trained together: put each into a folder of its own", _apart(path, report))
    suits = next((OBJECTIVES[kind] for kind in OBJECTIVES if report.kinds.get(kind)), "sft")
    if objective not in {None, suits}:
        raise DataError(
            f"objective {suits} learns from the rows of {path}, and objective {objective} does not", f"{again} --objective {suits}"
        )
    if len(report.labels) == 1:
        raise DataError(one_kind(str(path), *report.labels), "llmlab validate --forms")


def _apart(path: Path, report: DatasetReport) -> str:
    """The command that takes the preferences out of the folder, where they have files of their own."""
    kinds = {file.name: {Format(form).kind for form in file.formats} for file in report.files}
    alone = [name for name, some in kinds.items() if some == {Kind.PREFERENCE}]
    if not alone or not path.is_dir() or any(len(some) > 1 and Kind.PREFERENCE in some for some in kinds.values()):
        return "llmlab validate --forms"
    target = path.with_name(f"{path.name or 'data'}-preferences")
    return f"mkdir {quote(str(target))} && mv {' '.join(quote(str(path / name)) for name in alone)} {quote(str(target))}"
