"""Put a dataset or a model folder into the data bucket.

Files first, their manifest last: until then a launch sees the former one, whose object versions stay readable. What the manifest already
holds under the same SHA-256 is not sent again, nor what an interrupted upload has left there; when nothing differs, nothing is written.
"""

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING, Any

from llmlab import contract
from llmlab.aws import documents, objects
from llmlab.aws.objects import Object
from llmlab.aws.sending import Sent, UploadFile, etag_of, send
from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.contract import MANIFEST, DataFile, Manifest
from llmlab.dataset.clean import anew, clean
from llmlab.dataset.files import DataPath, find, walk
from llmlab.dataset.formats import TRANSCRIPTS, Format
from llmlab.dataset.rendering.model_files import ModelFiles
from llmlab.dataset.report import OBJECTIVE, SKIP_BAD, SPLITS, TEMPLATE, DatasetReport, FileFacts
from llmlab.dataset.suffixes import suffix_of
from llmlab.errors import UsageError
from llmlab.files import sha256
from llmlab.ops.validate import refuse

if TYPE_CHECKING:
    from llmlab.dataset.trial import Trial

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Uploaded:
    """What an upload did. Sizes in bytes; `dropped` are bad lines left out."""

    name: str
    uri: str
    files: int
    size: int
    sent: tuple[str, ...]
    sent_size: int
    unchanged: int
    removed: tuple[str, ...]
    dropped: int
    changed: bool
    """Whether the manifest was written."""
    manifest: Manifest


@dataclass(frozen=True)
class Destination:
    """Where a dataset or model is uploaded to, and the manifest that is there: the lab exists, and the name can be used."""

    name: str
    prefix: str
    former: Manifest | None


@dataclass(frozen=True)
class Local:
    """A local file that the manifest will list: its name there, and where its bytes are."""

    name: str
    path: Path
    size: int


def dataset_destination(aws: Aws, path: Path, name: str | None) -> Destination:
    """Where the dataset at `path` goes: under its own name, unless another is given.

    Raises:
        LabError: the name cannot be used, or there is no lab.
    """
    name = _name(path, name, "--name")
    return _destination(aws, name, contract.dataset_prefix(name))


def model_destination(aws: Aws, path: Path, name: str) -> Destination:
    """Where a model folder goes.

    Raises:
        LabError: the name cannot be used, it is no model folder, or there is no lab.
    """
    name = _name(path, name, "--model")
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder, and a model is one", "llmlab upload --help")
    if not (path / "config.json").is_file():
        raise UsageError(f"{path} is not a model folder: it has no config.json", "llmlab upload --help")
    if not any(path.glob("*.safetensors")) and not any(path.glob("*.bin")):
        raise UsageError(f"{path} is not a model folder: it has no weights (*.safetensors)", "llmlab upload --help")
    return _destination(aws, name, contract.model_prefix(name))


def _destination(aws: Aws, name: str, prefix: str) -> Destination:
    return Destination(name, prefix, documents.read(aws, Manifest, aws.names.data_bucket, prefix + MANIFEST))


def _name(path: Path, name: str | None, option: str) -> str:
    if name is None:
        stem = path.resolve().name.lower()
        for suffix in (".gz", ".zst", ".jsonl", ".parquet"):
            stem = stem.removesuffix(suffix)
        name = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:63] or "data"
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a name: at most 63 lower-case letters, digits and . _ -",
            f"llmlab upload {quote(str(path))} {option} my-{option[2:]}",
        )
    return name


def upload_dataset(
    aws: Aws,
    clock: Clock,
    path: Path,
    destination: Destination,
    report: DatasetReport,
    progress: Progress = lambda _done, _total: None,
    *,
    skip_bad: bool = False,
    trial: "Trial | None" = None,
    objective: str | None = None,
) -> Uploaded:
    """Send a checked dataset. Bad lines that the report counts are left out.

    Args:
        aws: the lab.
        clock: for the manifest's date.
        path: the dataset.
        destination: where it goes.
        report: what was found in it.
        progress: called with bytes.
        skip_bad: that bad lines are left out is a fact of the dataset, and holds for rows that a model's template refuses as well.
        trial: what the template of a recipe's model says of the rows, which the manifest keeps.
        objective: what it is for, where that was said; the manifest keeps it.

    Raises:
        DataError: no line is good, or its examples cannot be trained on together.
        LabError: a file changed meanwhile, or AWS says no.
    """
    refuse(path, report, objective)
    with tempfile.TemporaryDirectory(prefix="llmlab-") as folder:
        files: list[Local] = []
        splits: dict[str, dict[str, Any]] = {}
        for index, (file, facts) in enumerate(zip(find(path).files, report.files, strict=True)):
            if not facts.examples:
                continue
            local = _as_it_goes(file, index, facts, report, Path(folder), {earlier.name for earlier in files})
            files.append(local)
            part = splits.setdefault(file.split, {"files": [], "examples": 0})
            part["files"].append(local.name)
            part["examples"] += facts.examples
        upload_facts = {"dropped": report.bad, SKIP_BAD: skip_bad, **({SPLITS: splits} if len(splits) > 1 else {})}
        upload_facts |= {TEMPLATE: trial.facts} if trial else {}
        upload_facts |= {OBJECTIVE: objective} if objective else {}
        return _send(aws, clock, destination, files, report.facts | upload_facts, progress)


def _as_it_goes(file: DataPath, index: int, facts: FileFacts, report: DatasetReport, folder: Path, names: set[str]) -> Local:
    """A file as it is sent: byte for byte, without its bad lines, or, of a transcript or a log that repeats itself, rows written anew."""
    if index in report.verdicts.files or any(Format(form) in TRANSCRIPTS for form in facts.formats):
        name = file.name if file.suffix.startswith((".jsonl", ".ndjson")) else f"{file.name}.jsonl"
        while name in names:
            name = f"{name}.jsonl"
        written = folder / f"{index}{suffix_of(name)}"
        anew(file.path, written, file.name, index, report.verdicts)
    elif facts.bad:
        name, written = file.name, folder / f"{index}{file.suffix}"
        clean(file.path, written)
    else:
        return Local(file.name, file.path, file.size)
    return Local(name, written, written.stat().st_size)


def upload_model(aws: Aws, clock: Clock, path: Path, destination: Destination, progress: Progress = lambda _done, _total: None) -> Uploaded:
    """Send a model folder.

    Raises:
        LabError: a file changed meanwhile, or AWS says no.
    """
    files = [Local(file.name, file.path, file.size) for file in walk(path)]
    if any(file.name == MANIFEST for file in files):
        raise UsageError(
            f"{path / MANIFEST} has the name that the upload needs for its own list",
            join(["mv", str(path / MANIFEST), str(path / "old.json")]),
        )
    facts: dict[str, Any] = {"bytes": sum(file.size for file in files)}
    model = ModelFiles(path)
    return _send(aws, clock, destination, files, facts | ({TEMPLATE: {"hash": model.hash}} if model.exist else {}), progress)


# ---------------------------------------------------------------- what to send, and sending it


def _send(aws: Aws, clock: Clock, destination: Destination, files: Iterable[Local], facts: dict[str, Any], progress: Progress) -> Uploaded:
    bucket, prefix, former = aws.names.data_bucket, destination.prefix, destination.former
    wanted = [UploadFile(file.path, prefix + file.name, file.size, file.path.stat().st_mtime_ns) for file in files]
    stored = {item.key: item for item in objects.listing(aws, bucket, prefix)}
    known = _known(aws, bucket, wanted, stored, former, prefix)
    sent = [file for file in wanted if file.key not in known]
    held = known | send(aws, bucket, sent, progress)
    listed = tuple(DataFile(file.key.removeprefix(prefix), file.size, held[file.key].digest, held[file.key].version) for file in wanted)
    changed = former is None or former.files != listed or former.facts != facts
    manifest = Manifest(destination.name, listed, contract.build_timestamp(clock.now()), facts) if changed or not former else former
    extra = sorted(set(stored) - {file.key for file in wanted} - {prefix + MANIFEST})
    if changed:
        documents.write(aws, bucket, prefix + MANIFEST, manifest)
    documents.delete(aws, bucket, *extra)
    return Uploaded(
        name=destination.name,
        uri=f"s3://{bucket}/{prefix}",
        files=len(wanted),
        size=sum(file.size for file in wanted),
        sent=tuple(file.key.removeprefix(prefix) for file in sent),
        sent_size=sum(file.size for file in sent),
        unchanged=len(wanted) - len(sent),
        removed=tuple(key.removeprefix(prefix) for key in extra),
        dropped=int(facts.get("dropped", 0)),
        changed=changed,
        manifest=manifest,
    )


def _known(
    aws: Aws, bucket: str, wanted: list[UploadFile], stored: dict[str, Object], former: Manifest | None, prefix: str
) -> dict[str, Sent]:
    """What need not be sent: it is in the manifest, or an upload that was interrupted has left it."""
    listed = {prefix + file.path: file for file in former.files} if former else {}

    def look(file: UploadFile) -> Sent | None:
        digest = sha256(file.path)
        old = listed.get(file.key)
        if old and (old.size, old.sha256) == (file.size, digest):
            return Sent(digest, old.version)
        if etag_of(file.path, file.size) == stored[file.key].etag:
            return Sent(digest, objects.version_of(aws, bucket, file.key))
        return None

    likely = [file for file in wanted if file.key in stored and stored[file.key].size == file.size]
    return {file.key: sent for file, sent in zip(likely, objects.in_parallel(look, likely), strict=True) if sent}
