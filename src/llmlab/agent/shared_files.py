"""Reads files that the training container writes, which may be anything.

A link may lead to what only the agent can read, a pipe keeps its reader for ever, a name may be a folder or no text. So every file is
opened part by part from a folder that is a mount of its own, which the container cannot replace, following no link and waiting for nothing,
and counts only when it is a regular file.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from llmlab.contract import DataFile

MOST_BYTES = 1 << 20
"""Of a document; `COMPLETE` of a checkpoint with ten thousand files has less."""
MOST_FILES = 100_000
MOST_LEVELS = 32
MOST_NAME_BYTES = 700
"""Of a path within a folder; a key of S3 has 1,024: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NotRegularFile(OSError):
    """The path does not lead to a regular file."""


LEFT_OUT = {errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.EPERM}


def is_left_out(error: OSError) -> bool:
    """Whether a file cannot be read because of what somebody did to it, and not because a disk fails."""
    return isinstance(error, NotRegularFile) or error.errno in LEFT_OUT


@dataclass(frozen=True)
class RegularFile:
    """A regular file, by its path within a folder that the container that writes into it cannot replace."""

    folder: str
    name: str

    def open(self) -> BufferedReader:
        """Open it for reading.

        Raises:
            OSError: it is not there, or it is something else than a regular file in regular folders.
        """
        *folders, last = self.name.split("/")
        place = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in folders:
                place, before = os.open(part, FOLDER, dir_fd=place), place
                os.close(before)
            number = os.open(last, FILE, dir_fd=place)
        finally:
            os.close(place)
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise NotRegularFile(f"{self.name} is no regular file")
        return os.fdopen(number, "rb")

    def read(self, most: int = MOST_BYTES) -> bytes:
        """The file's last `most` bytes, b"" when it cannot be read."""
        try:
            with self.open() as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - most))
                return stream.read(most)
        except (OSError, ValueError):
            return b""

    def stamp(self) -> tuple[int, int]:
        """The file's time of modification in nanoseconds, and its size in bytes.

        Raises:
            OSError: as `open`.
        """
        with self.open() as stream:
            status = os.fstat(stream.fileno())
        return status.st_mtime_ns, status.st_size

    def is_as(self, wanted: DataFile) -> bool:
        """Whether the file has the size and the SHA-256 that a manifest says."""
        try:
            return self.stamp()[1] == wanted.size and self.sha256() == wanted.sha256
        except (OSError, ValueError):
            return False

    def sha256(self) -> str:
        with self.open() as stream:
            return file_digest(stream, "sha256").hexdigest()


def regular_file(path: str) -> RegularFile:
    """A file that lies directly in a folder of its own mount."""
    folder, _, name = path.rpartition("/")
    return RegularFile(folder, name)


def read(path: str, most: int = MOST_BYTES) -> str:
    """The end of a file that lies directly in a folder of its own mount; "" when it cannot be read. What is not UTF-8 is replaced."""
    return regular_file(path).read(most).decode(errors="replace")


def files(folder: str, name: str) -> tuple[list[str], list[str]]:
    """The regular files below `folder/name`, as paths within that, and the other entries there, with their kind."""
    regular: list[str] = []
    others: list[str] = []
    place = _entered(folder, name)
    if place is None:
        return [], [f"{name} is no folder"] if os.path.lexists(f"{folder}/{name}") else []
    try:
        for path, kind in _below(place, "", MOST_LEVELS):
            if kind:
                others.append(f"{path!r} is {kind}")
            elif len(regular) >= MOST_FILES:
                others.append(f"there are more than {MOST_FILES} files")
                break
            else:
                regular.append(path)
    finally:
        os.close(place)
    return sorted(regular), sorted(others)


def _entered(folder: str, name: str) -> int | None:
    place: int | None = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in name.split("/"):
        place, before = _opened(part, place), place
        if before is not None:
            os.close(before)
    return place


def _opened(part: str, place: int | None) -> int | None:
    try:
        return None if place is None else os.open(part, FOLDER, dir_fd=place)
    except (OSError, ValueError):
        return None


def _below(place: int, prefix: str, levels: int) -> Iterator[tuple[str, str]]:
    """Each entry by its path, with "" for a regular file, else its kind."""
    with os.scandir(place) as entries:
        seen = [(entry.name, _kind(entry)) for _, entry in zip(range(MOST_FILES), entries, strict=False)]
    for name, kind in seen:
        path = prefix + name
        if kind == "gone":
            continue
        if kind != "a folder":
            yield path, kind or _unfit(path)
        elif levels == 0:
            yield path, "a folder too deep"
        elif (inner := _opened(name, place)) is None:
            yield path, "a folder that cannot be opened"
        else:
            try:
                yield from _below(inner, f"{path}/", levels - 1)
            finally:
                os.close(inner)


def _kind(entry: "os.DirEntry[str]") -> str:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return "gone"
    kinds = {stat.S_IFREG: "", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _unfit(path: str) -> str:
    """Why a name is no key of S3 that every tool can have: XML 1.0, in which it is listed and deleted, has no control characters."""
    if not path.isprintable():
        return "a name that cannot be shown"
    return "a name too long" if len(path.encode()) > MOST_NAME_BYTES else ""


def replace(path: str, words: str) -> None:
    """Write a file in a folder where the training container may have put anything in its way: what is there is moved aside.

    Raises:
        OSError: it cannot be written all the same.
    """
    target = Path(path)
    aside = target.with_name(f".{secrets.token_hex(8)}")
    with _fresh(aside) as stream:
        stream.write(words.encode())
    try:
        aside.replace(target)
    except OSError:
        target.rename(target.with_name(f".{secrets.token_hex(8)}"))
        aside.replace(target)


@contextmanager
def _fresh(path: Path) -> Iterator[BinaryIO]:
    number = os.open(path, FRESH, 0o644)
    try:
        with os.fdopen(number, "wb") as stream:
            yield stream
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
