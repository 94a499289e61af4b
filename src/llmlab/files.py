"""Read, hash and replace local files, in the one way that every program here does it: a file is whole or absent."""

import errno
import os
import stat
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path


def sha256(path: Path) -> str:
    """A file's SHA-256 as hexadecimal digits."""
    with path.open("rb", buffering=0) as stream:
        return file_digest(stream, "sha256").hexdigest()


def read_regular(path: Path) -> bytes:
    """The content of a regular file, without following a link or waiting at a pipe.

    Raises:
        FileNotFoundError: there is no such file, or it is no regular one.
        OSError: it cannot be read.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise (FileNotFoundError(*error.args) if error.errno in {errno.ELOOP, errno.ENXIO} else error) from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileNotFoundError(errno.ENOENT, "no regular file", str(path))
    with os.fdopen(number, "rb") as stream:
        return stream.read()


def size_of(path: Path) -> int:
    """A file's bytes, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def replace_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part. `durable` also waits for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    aside.replace(path)
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file below a folder, in a fixed order."""
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))
