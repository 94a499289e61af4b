"""Downloads from S3, of many and large objects at once, each checked before its file has its name.

A large object's parts arrive in parallel in buffers that are used again and again, while two threads hash and write them in order to
`NAME.part`: what it holds is always a prefix of the object, so a download can continue. Writing in order costs memory: `AHEAD` parts.
"""

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import urllib3.exceptions
from botocore import exceptions

from llmlab.aws.daemon_pool import DaemonThreadPool
from llmlab.aws.objects import THREADS, ByteCounter, Progress
from llmlab.aws.session import Aws, AwsError, Unreachable
from llmlab.errors import LabError
from llmlab.lifecycle.error_codes import TAKEN

PART = 16 << 20
"""Bytes of a part, and the size above which an object comes in parts."""
AHEAD = 8
"""Parts of one object under way at once, each with its buffer."""
BLOCK = 256 << 10
"""Bytes moved at once. Small enough for the processor's cache; writes of whole parts cost the kernel four times as long."""
TRIES = 4
SUFFIX = ".part"
MOST_NAME = 255
"""Bytes of a file's name on nearly every file system."""


@dataclass(frozen=True)
class DownloadFile:
    """An object and the file it goes to. Without a `digest` only its size and its ETag are checked."""

    key: str
    path: Path
    size: int
    etag: str
    changed: datetime
    digest: str = ""


def receive(aws: Aws, bucket: str, files: Iterable[DownloadFile], progress: Progress = lambda _done, _total: None) -> None:
    """Fetch objects. Each file appears under its name only when it is whole and checked.

    Raises:
        LabError: an object is not what its SHA-256 says, has changed meanwhile, cannot be written here, or S3 says no.
    """
    files = list(files)
    if len({file.path for file in files}) < len(files):
        raise ValueError("two objects for one file")
    try:
        for folder in {file.path.parent for file in files}:
            folder.mkdir(parents=True, exist_ok=True)
        _receive(aws, bucket, files, ByteCounter(progress, sum(file.size for file in files)))
    except OSError as error:  # no space, no permission, something else in its place; what broke on the way here was asked for again
        place = error.filename or (files[0].path.parent if files else "")
        raise LabError(f"{place} cannot be written: {error.strerror or error}", "df -h .") from error


def _receive(aws: Aws, bucket: str, files: list[DownloadFile], counter: ByteCounter) -> None:
    with DaemonThreadPool(THREADS) as pool:
        small = [pool.submit(_receive_whole, aws, bucket, file, counter) for file in files if file.size <= PART]
        for file in files:
            if file.size > PART:
                _receive_in_parts(aws, bucket, file, counter, pool)
        for future in small:
            future.result()


def partial(path: Path) -> Path:
    """The path of a file while it is not whole. A name that would become too long for that is replaced by its SHA-256."""
    name = path.name + SUFFIX
    return path.with_name(name if len(name.encode()) <= MOST_NAME else sha256(path.name.encode()).hexdigest() + SUFFIX)


def _receive_whole(aws: Aws, bucket: str, file: DownloadFile, counter: ByteCounter) -> None:
    content = memoryview(bytearray(file.size))
    if content:
        _get(aws, bucket, file, 0, content)
    if file.digest and sha256(content).hexdigest() != file.digest:
        raise _damaged(bucket, file)
    partial(file.path).write_bytes(content)
    counter.add(file.size)
    _name(file)


def _receive_in_parts(aws: Aws, bucket: str, file: DownloadFile, counter: ByteCounter, pool: DaemonThreadPool) -> None:
    """One object, continued from what a former try left, and from nothing when that turns out to be wrong."""
    unfinished = partial(file.path)
    continued = file.digest and unfinished.exists() and 0 < unfinished.stat().st_size <= file.size
    for again in (True, False) if continued else (False,):
        hasher = sha256()
        with unfinished.open("rb+" if again else "wb") as stream:
            if again:
                while block := stream.read(BLOCK):
                    hasher.update(block)
                counter.add(stream.tell())
            _append(aws, bucket, file, stream, hasher, counter, pool)
        if not file.digest or hasher.hexdigest() == file.digest:
            _name(file)
            return
        counter.add(-file.size)
    unfinished.unlink()
    raise _damaged(bucket, file)


def _append(
    aws: Aws, bucket: str, file: DownloadFile, stream: IO[bytes], hasher: Any, counter: ByteCounter, pool: DaemonThreadPool
) -> None:
    """Append the missing parts to a file, in order; the parts after the current one are under way in the pool."""
    waiting: deque[Future[memoryview]] = deque()
    starts = iter(range(stream.tell(), file.size, PART))

    def ask(buffer: memoryview | None = None) -> None:
        start = next(starts, None)
        if start is not None:
            waiting.append(pool.submit(_get, aws, bucket, file, start, (buffer or memoryview(bytearray(PART)))[: file.size - start]))

    for _ in range(AHEAD):
        ask()
    with DaemonThreadPool(1) as writer:
        while waiting:
            part = waiting.popleft().result()
            written = writer.submit(_write, stream, part)
            hasher.update(part)
            written.result()
            counter.add(len(part))
            ask(part)


def _write(stream: IO[bytes], part: memoryview) -> None:
    for at in range(0, len(part), BLOCK):
        stream.write(part[at : at + BLOCK])
    stream.flush()


def _get(aws: Aws, bucket: str, file: DownloadFile, start: int, buffer: memoryview) -> memoryview:
    """Fill a buffer from byte `start` of an object; what a broken connection has not brought is asked for again."""
    got, size = 0, len(buffer)
    for _ in range(TRIES):
        got %= size  # from the beginning, when all was there and wrong
        where = {} if (start + got, size) == (0, file.size) else {"Range": f"bytes={start + got}-{start + size - 1}"}
        try:
            answer: Any = aws.s3.get_object(Bucket=bucket, Key=file.key, IfMatch=file.etag, **where)  # type: ignore[arg-type]
            with closing(answer["Body"]) as body:
                while took := body.readinto(buffer[got : got + BLOCK]):
                    got += took
                if got == size and not body.read(1):  # at its end botocore compares S3's own checksum, which comes with whole objects
                    return buffer
        except AwsError as error:
            if error.code in TAKEN:
                raise LabError(f"s3://{bucket}/{file.key} changed while it was fetched", "llmlab fetch latest") from error
            raise
        except (exceptions.BotoCoreError, urllib3.exceptions.HTTPError, OSError):
            continue
    raise Unreachable(f"the connection broke {TRIES} times while {file.key} was fetched", "llmlab doctor", operation="s3:GetObject")


def _name(file: DownloadFile) -> None:
    """Give a checked file its name and the object's date."""
    unfinished = partial(file.path)
    os.utime(unfinished, (file.changed.timestamp(), file.changed.timestamp()))
    unfinished.replace(file.path)


def _damaged(bucket: str, file: DownloadFile) -> LabError:
    words = f"s3://{bucket}/{file.key} is not what its SHA-256 says"
    return LabError(words, f"aws s3api list-object-versions --bucket {bucket} --prefix {file.key}")
