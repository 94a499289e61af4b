"""Which files a dataset is made of, and how each is written."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llmlab.errors import UsageError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
EXPECTED = "expected .jsonl, .jsonl.gz, .jsonl.zst or .parquet"


@dataclass(frozen=True)
class DataPath:
    """One file: where it lies, its name within the dataset (with `/`), and its size in bytes."""

    path: Path
    name: str
    size: int

    @property
    def suffix(self) -> str:
        return suffix_of(self.name)


@dataclass(frozen=True)
class Found:
    """The dataset's files by name, and the names of files beside them that are not data."""

    files: tuple[DataPath, ...]
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def suffix_of(name: str) -> str:
    """The longest suffix of ours that a name ends with, or ""."""
    lower = name.lower()
    return next((suffix for suffix in reversed(SUFFIXES) if lower.endswith(suffix)), "")


def find(path: Path) -> Found:
    """The files of a dataset: `path` itself, or everything below it except hidden files.

    Raises:
        UsageError: there is nothing at `path`, or nothing there is data.
    """
    if path.is_file():
        if not suffix_of(path.name):
            raise UsageError(f"{path} is not a dataset: {EXPECTED}", "llmlab validate --help")
        return Found((DataPath(path, path.name, path.stat().st_size),))
    if not path.is_dir():
        raise UsageError(f"there is no file or folder {path}", "llmlab validate --help")
    every = sorted(walk(path), key=lambda file: file.name)
    data = tuple(file for file in every if file.suffix)
    if not every:
        raise UsageError(f"{path} is empty: {EXPECTED}", "llmlab validate --help")
    if not data:
        raise UsageError(f"{path} holds no dataset, only {_kinds(file.name for file in every)}: {EXPECTED}", "llmlab validate --help")
    return Found(data, tuple(file.name for file in every if not file.suffix))


def walk(folder: Path) -> Iterable[DataPath]:
    """Every regular file below a folder, hidden ones left out; links to folders are not followed."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():
                yield DataPath(path, path.relative_to(folder).as_posix(), path.stat().st_size)


def _kinds(names: Iterable[str]) -> str:
    counts = Counter(Path(name).suffix.lower() or "files without a suffix" for name in names)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common(3))
