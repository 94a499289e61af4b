"""Which base model an adapter belongs to: written beside the adapter when it is trained, compared before it is merged.

An adapter put on other weights than its own gives no error, only a worse model. So the base model's weights get a fingerprint: the name,
type, shape and a few kilobytes of every tensor, read from its safetensors files. It does not depend on how they are cut into
files, takes a moment for the largest model, and its price is that a change between the samples goes unseen.
"""

import dataclasses
import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmlab.files import replace_text

FILE = "llmlab.json"
"""In the adapter folder."""
SAMPLE = 4096
"""Bytes read at a tensor's start, middle and end."""


@dataclass(frozen=True)
class Origin:
    """Where an adapter comes from. `fingerprint` is "" where the base model's files could not be read as safetensors."""

    base: str
    revision: str
    commit: str
    fingerprint: str
    run: str
    objective: str
    method: str
    llmlab: str


def fingerprint(folder: Path) -> str:
    """The fingerprint of the weights in a model folder: hexadecimal digits, "" where it has no readable safetensors files."""
    digest = hashlib.sha256()
    try:
        tensors = sorted(_tensors(folder))
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return ""
    if not tensors:
        return ""
    for name, file, facts, start, size in tensors:
        digest.update(json.dumps([name, facts["dtype"], facts["shape"], size]).encode())
        with file.open("rb") as stream:
            for at in sorted({0, max(0, size // 2 - SAMPLE), max(0, size - SAMPLE)}):
                stream.seek(start + at)
                digest.update(stream.read(min(SAMPLE, size - at)))
    return digest.hexdigest()


def folder_of(model: str, revision: str = "main") -> Path | None:
    """The folder of a model's files: itself, or the newest snapshot of a Hugging Face model on this machine; None where there is none."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except (OSError, ValueError):  # not downloaded, or not a name
        return None


def write(folder: Path, origin: Origin) -> None:
    replace_text(folder / FILE, json.dumps(dataclasses.asdict(origin), indent=1) + "\n")


def read(folder: Path) -> Origin | None:
    """The origin of an adapter, None where nobody wrote one down."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Origin(**{field.name: str(values[field.name]) for field in dataclasses.fields(Origin)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _tensors(folder: Path) -> Iterator[tuple[str, Path, dict[str, Any], int, int]]:
    """Name, file, facts, first byte and size of every tensor (https://github.com/huggingface/safetensors, Format)."""
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        for name, facts in header.items():
            if name != "__metadata__":
                start, end = facts["data_offsets"]
                yield name, file, facts, 8 + length + start, end - start
