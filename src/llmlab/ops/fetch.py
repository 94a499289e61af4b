"""Download a run's results into `outputs/RUN/`, each file checked and none downloaded twice.

`output/` of the run becomes the folder itself, so that the adapter is `outputs/RUN/adapter`; `logs/` and `checkpoints/` keep their names
(`places`). A run that is not over has the files it wrote so far. SHA-256s come from the marker and from each checkpoint's `COMPLETE`;
files that neither lists (logs, documents) are known by size and date.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from llmlab import contract
from llmlab.aws import documents, objects
from llmlab.aws.glacier_restore import ArchiveRestore, ask_back
from llmlab.aws.objects import Object
from llmlab.aws.receiving import DownloadFile, receive
from llmlab.aws.session import Aws
from llmlab.contract import ADAPTER, COMPLETE, WHOLE_MODEL, Complete, DataFile, Marker, RunKeys
from llmlab.errors import LabError, UsageError
from llmlab.files import sha256
from llmlab.ops.places import is_folder, places

T = TypeVar("T")
Progress = Callable[[float, float], None]


class What(StrEnum):
    """The parts of a run that can be fetched. Checkpoints are large, so they are fetched only when asked for."""

    ADAPTER = "adapter"
    """What was trained: the adapter, or the whole model."""
    CHECKPOINTS = "checkpoints"
    LOGS = "logs"
    REPORT = "report"
    """Everything else of the output, and the run's own documents."""


USUAL = (What.ADAPTER, What.LOGS, What.REPORT)


@dataclass(frozen=True)
class Fetched:
    """What a fetch did. Sizes in bytes; `left` counts what was not asked for and is not here, by part."""

    run: str
    path: str
    over: bool
    """Whether the run has its marker."""
    files: tuple[str, ...]
    size: int
    fetched: tuple[str, ...]
    fetched_size: int
    checked: int
    """Files compared with a SHA-256."""
    adapter: str
    """Where it lies; of a run that trained every weight, the model's folder."""
    archived: tuple[ArchiveRestore, ...]
    left: dict[str, int]
    skipped: tuple[str, ...] = ()
    """Keys that can be no file here, as they lead out of the folder."""
    unreadable: tuple[str, ...] = ()
    """Why a marker or a checkpoint's manifest could not be read, so that nothing is checked against it."""


def parse_only(text: str | None) -> tuple[What, ...]:
    """The parts that a list such as `adapter,logs` names.

    Raises:
        UsageError: there is no such part.
    """
    if text is None:
        return USUAL
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in list(What):
            raise UsageError(f"there is no part {name} to fetch, only {', '.join(What)}", "llmlab fetch latest --only adapter")
    return tuple(What(name) for name in names) or USUAL


def fetch(aws: Aws, run: str, folder: Path, only: Iterable[What] = USUAL, progress: Progress = lambda _done, _total: None) -> Fetched:
    """Fetch parts of a run into `folder/RUN`.

    Raises:
        LabError: a file does not have its SHA-256, is listed and does not exist, or AWS says no.
    """
    bucket, keys, target, only = aws.names.outputs_bucket, RunKeys(run), folder / run, tuple(only)
    stored = [item for item in objects.listing(aws, bucket, keys.prefix) if not is_folder(item.key)]
    if not stored:
        raise LabError(f"run {run} has left nothing to fetch", f"llmlab status {run}")
    names = {item.key for item in stored}
    unreadable: list[str] = []
    marker = next((_read(aws, Marker, bucket, key, unreadable) for key in (keys.success, keys.failure) if key in names), None)
    digests = dict(_digests(aws, bucket, keys, names, marker, only, unreadable))
    place = places(keys, sorted(names))
    parted = {item.key: part_of(keys, item.key, names) for item in stored}
    wanted = [item for item in stored if parted[item.key] in only]
    archived = ask_back(aws, bucket, wanted)
    waiting = {key for wait in archived for key in wait.keys}
    every = [
        _incoming(item, keys, target / place[item.key], digests.get(item.key))
        for item in wanted
        if item.key not in waiting and item.key in place
    ]
    missing = [file for file in every if not is_here(file)]
    receive(aws, bucket, missing, progress)
    adapter = next((path for name in (ADAPTER, WHOLE_MODEL) if (path := target / name).is_dir()), None)
    return Fetched(
        run=run,
        path=str(target),
        over=bool({keys.success, keys.failure} & names),
        files=tuple(file.path.relative_to(target).as_posix() for file in every),
        size=sum(file.size for file in every),
        fetched=tuple(file.path.relative_to(target).as_posix() for file in missing),
        fetched_size=sum(file.size for file in missing),
        checked=sum(bool(file.digest) for file in every),
        adapter=str(adapter) if adapter else "",
        archived=archived,
        left=_left([item for item in stored if item.key in place and not (target / place[item.key]).exists()], parted, only),
        skipped=tuple(item.key for item in wanted if item.key not in place),
        unreadable=tuple(unreadable),
    )


def part_of(keys: RunKeys, key: str, names: set[str]) -> What | None:
    """Which part of a run a key belongs to; None for keys that are not for the user, such as those of incomplete checkpoints."""
    if key.startswith((keys.output + ADAPTER + "/", keys.output + WHOLE_MODEL + "/")):
        return What.ADAPTER
    if key.startswith(keys.checkpoints):
        step = contract.parse_checkpoint_name(key.removeprefix(keys.checkpoints).partition("/")[0])
        return What.CHECKPOINTS if step is not None and keys.checkpoint(step) + COMPLETE in names else None
    if key.startswith(keys.logs):
        return What.LOGS
    if key.startswith(keys.output) or key in {keys.spec, keys.success, keys.failure}:
        return What.REPORT
    return None


def _digests(
    aws: Aws, bucket: str, keys: RunKeys, names: set[str], marker: Marker | None, only: tuple[What, ...], unreadable: list[str]
) -> Iterator[tuple[str, DataFile]]:
    """The files, with size and SHA-256, that the marker and the checkpoints' manifests list, by key."""
    promised = [(keys.output + file.path, file) for file in marker.files] if marker else []
    if What.CHECKPOINTS in only:
        for key in sorted(names):
            if key.startswith(keys.checkpoints) and key.endswith("/" + COMPLETE):
                manifest = _read(aws, Complete, bucket, key, unreadable)
                promised += [(key.removesuffix(COMPLETE) + file.path, file) for file in manifest.files] if manifest else []
    for key, file in promised:
        if key not in names:
            raise LabError(f"{key} is listed as part of run {keys.run} and is not in the bucket", f"llmlab status {keys.run}")
        yield key, file


def _read(aws: Aws, kind: type[T], bucket: str, key: str, unreadable: list[str]) -> T | None:
    """A document, or None and why it cannot be read: the files are worth having all the same."""
    try:
        return documents.read(aws, kind, bucket, key)
    except documents.Unreadable as error:
        unreadable.append(error.message)
        return None


def _incoming(item: Object, keys: RunKeys, path: Path, promised: DataFile | None) -> DownloadFile:
    if promised and promised.size != item.size:
        raise LabError(f"{item.key} has {item.size} bytes, and {promised.size} were promised", f"llmlab status {keys.run}")
    return DownloadFile(item.key, path, item.size, item.etag, item.changed, promised.sha256 if promised else "")


def is_here(file: DownloadFile) -> bool:
    """Whether a file was fetched before and is still intact."""
    if not file.path.is_file():
        return False
    facts = file.path.stat()
    if facts.st_size != file.size:
        return False
    return sha256(file.path) == file.digest if file.digest else int(facts.st_mtime) == int(file.changed.timestamp())


def _left(stored: Iterable[Object], parted: dict[str, What | None], only: tuple[What, ...]) -> dict[str, int]:
    left: dict[str, int] = {}
    for item in stored:
        part = parted[item.key]
        if part and part not in only:
            left[part] = left.get(part, 0) + item.size
    return left
