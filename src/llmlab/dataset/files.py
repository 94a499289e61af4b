"""Find the files of a dataset: the split that each belongs to, and why other files are left out."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from llmlab.dataset.arrays import BLANK
from llmlab.dataset.forms import detect
from llmlab.dataset.heads import BOM, head_of, is_pointer
from llmlab.dataset.line import parse
from llmlab.dataset.suffixes import EXPECTED, PACKED, TRAIN, rows_of, split_of, suffix_of
from llmlab.errors import UsageError

OUTPUTS = "outputs"
"""The folder that `llmlab fetch` fills: the results of a run are no data, wherever they lie."""
ARROW = frozenset({"dataset_info.json", "dataset_dict.json", "state.json"})
"""Metadata that `datasets` puts beside the tables it saves to disk, and the metadata of a Hub dataset:
https://huggingface.co/docs/datasets/package_reference/main_classes#datasets.Dataset.save_to_disk."""
SHOWN = 5


@dataclass(frozen=True)
class DataPath:
    """One file of a dataset: its path, its name within the dataset (with `/`), its size in bytes, and its split."""

    path: Path
    name: str
    size: int
    split: str = TRAIN

    @property
    def suffix(self) -> str:
        return suffix_of(self.name)


@dataclass(frozen=True)
class Passed:
    """A file or folder that is none of the dataset, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a dataset, sorted by name, and the files and folders that do not belong to it."""

    files: tuple[DataPath, ...]
    passed: tuple[Passed, ...] = ()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def find(path: Path) -> DatasetFiles:
    """The files of a dataset: `path` itself, or everything below it that is data.

    Raises:
        UsageError: there is nothing at `path`, nothing there is data, or a file's name cannot be printed on one line.
    """
    if path.is_file():
        _tellable(path, path.name)
        if not suffix_of(path.name):
            raise UsageError(f"{path} is not a dataset: {EXPECTED}", "llmlab validate --forms")
        return DatasetFiles((DataPath(path, path.name, path.stat().st_size),))
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{path} is a link to nothing", f"ls -l {_quoted(str(path))}")
    if not path.is_dir():
        raise UsageError(f"there is no file or folder {path}", "llmlab validate --help")
    files: list[DataPath] = []
    passed: list[Passed] = []
    for entry in sorted(_every(path), key=lambda entry: entry.name):
        if isinstance(entry, Passed):
            passed.append(entry)
            continue
        _tellable(entry.path, entry.name)
        reason = _passed_over(entry)
        if reason:
            passed.append(Passed(entry.name, reason))
        else:
            files.append(entry)
    if not files:
        raise UsageError(_nothing(path, passed), "llmlab validate --forms")
    return DatasetFiles(_split(files), tuple(passed))


def walk(folder: Path) -> Iterator[DataPath]:
    """Every regular file below a folder, hidden ones left out; links to folders are not followed."""
    return (entry for entry in _every(folder, outputs=True) if isinstance(entry, DataPath))


def _every(folder: Path, *, outputs: bool = False) -> Iterator[DataPath | Passed]:
    """Every regular file below a folder, and the files and folders that were passed over."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        kept = []
        for name in sorted(folders):
            relative = (here / name).relative_to(folder).as_posix() + "/"
            if name.startswith("."):
                yield Passed(relative, "hidden")
            elif (here / name).is_symlink():
                yield Passed(relative, f"a link to the folder {(here / name).readlink()}, which is not followed")
            elif name == OUTPUTS and not outputs:
                yield Passed(relative, "what runs have made")
            else:
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            path = here / name
            relative = path.relative_to(folder).as_posix()
            if name.startswith("."):
                yield Passed(relative, "hidden")
            elif path.is_file():
                yield DataPath(path, relative, path.stat().st_size)
            else:
                yield Passed(relative, "a link to nothing" if path.is_symlink() else "not a regular file")


def _passed_over(file: DataPath) -> str:
    """Why a file in a folder does not belong to the dataset; "" when it does."""
    suffix = file.suffix
    if not suffix:
        kind = Path(file.name).suffix.lower()
        packed = next((name for name in PACKED if name == kind), "")
        return f"no data: {packed} of what is not known" if packed else f"no data: {kind or 'no suffix'}"
    if Path(file.name).name in ARROW:
        return "metadata of an Arrow folder"
    if rows_of(suffix) == ".json":
        return _no_rows(file.path)
    if suffix == ".arrow" and Path(file.name).name.startswith("cache-"):
        return "a cache of datasets"
    return ""


def _no_rows(path: Path) -> str:
    """Why a .json file holds no rows; "" for an array of objects, and for lines whose first is a row of a known form."""
    if is_pointer(path):
        return ""
    head = head_of(path).removeprefix(BOM).lstrip(BLANK)
    if head.startswith(b"["):
        inner = head[1:].lstrip(BLANK)
        return "" if not inner or inner[:1] in b"{[" else "a JSON array, but not of objects"
    if not head.startswith(b"{"):
        return ""  # what is wrong with it is reported when it is read
    first = parse(1, head.partition(b"\n")[0])
    if first.row is None:
        return "" if head.partition(b"\n")[0].rstrip().endswith((b"}", b"},")) else "a JSON object over several lines, and no rows"
    if detect(first.row) is None:
        return (
            f"a JSON object with the keys {', '.join(list(first.row)[:SHOWN])}, which no known form has"
            if first.row
            else "an empty JSON object"
        )
    return ""


def _split(files: list[DataPath]) -> tuple[DataPath, ...]:
    """The files with their splits by name; where no file would be left to train on, all are training data."""
    named = [replace(file, split=split_of(file.name)) for file in files]
    return tuple(named if any(file.split == TRAIN for file in named) else files)


def _tellable(path: Path, name: str) -> None:
    """Refuse a file name that cannot be printed on one line.

    Raises:
        UsageError: it holds a control character or a line's end, or is not UTF-8.
    """
    if name.isprintable():
        return
    shown = name.encode("unicode_escape", "surrogateescape").decode()
    what = "is not UTF-8" if any("\udc80" <= letter <= "\udcff" for letter in name) else "holds a line's end or a control character"
    better = "".join(letter if letter.isprintable() else "-" for letter in path.name)
    raise UsageError(f"the file name {shown} {what}", f"mv {_quoted(str(path))} {_quoted(str(path.with_name(better)))}")


def _quoted(name: str) -> str:
    """A name as a shell takes it, on one line whatever it holds: where it has to be as the shell's $'…'."""
    if name.isprintable():
        return quote(name)
    escaped = "".join(f"\\x{byte:02x}" if byte < 0x20 or byte > 0x7E or chr(byte) in "'\\" else chr(byte) for byte in os.fsencode(name))
    return f"$'{escaped}'"


def _nothing(path: Path, passed: list[Passed]) -> str:
    """The sentence about a folder without data: what it holds instead."""
    seen = [entry for entry in passed if entry.reason != "hidden"]
    if not seen:
        return f"{path} is empty: {EXPECTED}"
    odd = [entry for entry in seen if not entry.reason.startswith("no data")]
    plain = Counter(entry.reason.removeprefix("no data: ") for entry in seen if entry.reason.startswith("no data"))
    kinds = [f"{count} {'files without a suffix' if kind == 'no suffix' else kind}" for kind, count in plain.most_common(SHOWN)]
    shown = [f"{entry.name} ({entry.reason})" for entry in odd[:SHOWN]] + (["…"] if len(odd) > SHOWN else [])
    return f"{path} holds no dataset, only {', '.join([*kinds, *shown])}: {EXPECTED}"
