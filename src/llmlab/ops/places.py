"""The paths of a run's objects on this computer: each has a path of its own, inside the run's folder, whatever its key is.

`output/` of a run becomes the folder itself; `logs/`, `checkpoints/` and the run's own documents keep their names, and what the training
put into its output under one of these names lies in `output/`. Keys are free text, files are not: a name that is too long for a file, is a
file and a folder at once, or differs from another by capitals alone gets an ending of its own.
"""

import unicodedata
from collections.abc import Iterable
from hashlib import sha256

from llmlab.contract import RunKeys

RUN = RunKeys("")
OWN = {
    key.removeprefix(RUN.prefix).rstrip("/").casefold()
    for key in (RUN.logs, RUN.checkpoints, RUN.output, RUN.spec, RUN.success, RUN.failure)
}
"""Names in a run's folder that llmlab itself uses, as a file system that tells no capitals apart has them."""
MOST_BYTES = 255
"""Most bytes of a file's name, on nearly every file system. https://man7.org/linux/man-pages/man7/path_resolution.7.html, NAME_MAX"""
ENDING = 9


def places(keys: RunKeys, every: Iterable[str]) -> dict[str, str]:
    """A path below the run's folder for each key; those that can have none, because they lead out of it or name a folder, are left out.

    The same keys always have the same paths, so that files that were fetched before are found again.
    """
    wanted = {key: "/".join(_shortened(part, key) for part in name.split("/")) for key in every if (name := _name(keys, key))}
    folders = {_folded(folder) for path in wanted.values() for folder in _folders(path)}
    placed: dict[str, str] = {}
    taken: set[str] = set()
    for key in sorted(wanted):
        path = wanted[key]
        if _folded(path) in folders | taken:
            folder, _, name = path.rpartition("/")
            path = f"{folder}/" * bool(folder) + _ended(name, key)
        taken.add(_folded(path))
        placed[key] = path
    return placed


def is_folder(key: str) -> bool:
    """Whether a key is that of a folder that somebody created in S3's console: an empty object whose key ends with a slash.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-folders.html
    """
    return key.endswith("/")


def _name(keys: RunKeys, key: str) -> str:
    """The path that a key asks for, "" where it leads out of the folder or is none."""
    of_output = key.startswith(keys.output)
    name = key.removeprefix(keys.output if of_output else keys.prefix)
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or "\\" in name or "\0" in name:
        return ""
    return f"output/{name}" if of_output and _folded(parts[0]) in OWN else name


def _folders(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _folded(path: str) -> str:
    """The path as file systems compare it that tell neither capitals nor compositions of letters apart."""
    return unicodedata.normalize("NFC", path).casefold()


def _shortened(part: str, key: str) -> str:
    return part if len(part.encode()) <= MOST_BYTES else _ended(part, key)


def _ended(name: str, key: str) -> str:
    """The name with an ending that no other key's has, no longer than a file's name may be."""
    short = name.encode()[: MOST_BYTES - ENDING].decode(errors="ignore")
    return f"{short}~{sha256(key.encode()).hexdigest()[: ENDING - 1]}"
