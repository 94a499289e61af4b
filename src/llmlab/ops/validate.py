"""Look at every line of a dataset before anything is paid for."""

from collections.abc import Callable
from pathlib import Path

from llmlab.dataset.check import check
from llmlab.dataset.files import find
from llmlab.dataset.report import Report
from llmlab.errors import DataError

Progress = Callable[[float, float], None]


def validate(
    path: Path, *, max_length: int | None = None, tokenizer: Path | None = None, progress: Progress = lambda _done, _total: None
) -> Report:
    """Check and count a file or a folder.

    Raises:
        UsageError: there is no dataset at `path`.
        DataError: there are files, and no line in them.
    """
    report = check(find(path), max_length=max_length, tokenizer=tokenizer, progress=progress)
    if not report.examples and not report.bad:
        raise DataError(f"{path} has no examples: every file in it is empty", "llmlab validate --help")
    return report
