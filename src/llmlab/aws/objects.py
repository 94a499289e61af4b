"""Files to S3 and back, many and large ones at once, each with its SHA-256.

Up: a file goes in one request, whose SHA-256 S3 checks, or in parts sent in parallel while another thread takes the SHA-256. An object's
entity tag is the MD5 of what it is made of, so that an interrupted upload finds what is there. Down: parts are fetched in parallel and
written in order to `NAME.part`, so that whatever is there is a whole beginning to continue from. Parts are held in memory, at most one a
thread.
"""

import os
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import file_digest, md5, sha256
from pathlib import Path
from threading import Lock
from typing import IO, Any, TypeVar

import urllib3.exceptions
from botocore import exceptions

from llmlab.aws.crew import Crew
from llmlab.aws.documents import CONDITION_FAILED, not_bootstrapped
from llmlab.aws.session import Aws, AwsError, NotFound, Unreachable
from llmlab.errors import LabError

THREADS = 12
PART = 8 << 20
"""Bytes of a part, and the size above which a file goes in parts."""
MOST_PARTS = 10_000
"""S3's limit on the parts of one upload."""
TRIES = 4
HASH_BLOCK = 1 << 20

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[float, float], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class Object:
    """One object of a listing. `size` in bytes."""

    key: str
    size: int
    tag: str
    changed: datetime
    storage: str = "STANDARD"


@dataclass(frozen=True)
class Outgoing:
    """A local file and the key it goes to."""

    path: Path
    key: str
    size: int
    changed: int
    """When it was last changed, in nanoseconds: it must not change while it is sent."""


@dataclass(frozen=True)
class Sent:
    """What an object holds: its SHA-256 as hexadecimal digits, and its S3 version ("" where there are none)."""

    digest: str
    version: str


@dataclass(frozen=True)
class Incoming:
    """An object and the file it goes to. Without a `digest` its size and its entity tag have to do."""

    key: str
    path: Path
    size: int
    tag: str
    changed: datetime
    digest: str = ""


@dataclass
class Meter:
    """Adds up what the threads have moved."""

    report: Progress
    total: int
    done: int = 0
    lock: Lock = field(default_factory=Lock)

    def add(self, size: int) -> None:
        with self.lock:
            self.done += size
            self.report(self.done, self.total)


def listing(aws: Aws, bucket: str, prefix: str) -> list[Object]:
    """Every object under a prefix, in order of keys: one call a thousand.

    Raises:
        LabError: the bucket is not there, so the lab is not.
    """
    try:
        return [
            Object(str(item["Key"]), int(item["Size"]), str(item["ETag"]), item["LastModified"], str(item.get("StorageClass", "STANDARD")))
            for page in aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for item in page.get("Contents", [])
        ]
    except NotFound as error:
        raise not_bootstrapped(aws) from error


def digest_of(path: Path) -> str:
    """A file's SHA-256 as hexadecimal digits."""
    with path.open("rb", buffering=0) as stream:
        return file_digest(stream, "sha256").hexdigest()


def tag_of(path: Path, size: int) -> str:
    """The entity tag that S3 gives a file sent by `upload` (S3 user guide, "Checking object integrity", for AES256 encryption)."""
    with path.open("rb", buffering=0) as stream:
        if size <= PART:
            return f'"{file_digest(stream, _md5).hexdigest()}"'
        part = part_size(size)
        made = [_md5(stream.read(part)).digest() for _ in _starts(size, part)]
    return f'"{_md5(b"".join(made)).hexdigest()}-{len(made)}"'


def _md5(content: bytes = b"") -> Any:
    return md5(content, usedforsecurity=False)


def in_parallel(call: Callable[[T], R], items: Iterable[T], threads: int = THREADS) -> list[R]:
    """The result of `call` for each item, in order."""
    items = list(items)
    with Crew(min(threads, max(1, len(items)))) as crew:
        return [asked.result() for asked in [crew.submit(call, item) for item in items]]


def version_of(aws: Aws, bucket: str, key: str) -> str:
    """The newest version of an object."""
    return str(aws.s3.head_object(Bucket=bucket, Key=key).get("VersionId", ""))


# ---------------------------------------------------------------- up


def upload(aws: Aws, bucket: str, files: Iterable[Outgoing], progress: Progress = lambda _done, _total: None) -> dict[str, Sent]:
    """Send files.

    Returns:
        What was sent, by key.

    Raises:
        LabError: a file changes while it is sent, the bucket is not there, or S3 says no.
    """
    files = list(files)
    meter = Meter(progress, sum(file.size for file in files))
    sent: dict[str, Sent] = {}
    try:
        with Crew(THREADS) as crew:
            small = [(file, crew.submit(_put, aws, bucket, file, meter)) for file in files if file.size <= PART]
            for file in files:
                if file.size > PART:
                    sent[file.key] = _upload_in_parts(aws, bucket, file, crew, meter)
            for file, asked in small:
                sent[file.key] = asked.result()
    except NotFound as error:
        raise not_bootstrapped(aws) from error
    return sent


def _unchanged(file: Outgoing) -> None:
    now = file.path.stat()
    if (now.st_size, now.st_mtime_ns) != (file.size, file.changed):
        raise LabError(f"{file.path} changed while it was sent", "llmlab upload --help")


def _put(aws: Aws, bucket: str, file: Outgoing, meter: Meter) -> Sent:
    body = file.path.read_bytes()
    _unchanged(file)
    made = sha256(body)
    answer = aws.s3.put_object(Bucket=bucket, Key=file.key, Body=body, ChecksumSHA256=b64encode(made.digest()).decode())
    meter.add(file.size)
    return Sent(made.hexdigest(), answer.get("VersionId", ""))


def part_size(size: int) -> int:
    """Bytes of each part of a file of `size` bytes but the last."""
    return max(PART, -(-size // MOST_PARTS))


def _upload_in_parts(aws: Aws, bucket: str, file: Outgoing, crew: Crew, meter: Meter) -> Sent:
    started = aws.s3.create_multipart_upload(Bucket=bucket, Key=file.key, ChecksumAlgorithm="CRC32")
    place = {"Bucket": bucket, "Key": file.key, "UploadId": started["UploadId"]}
    size = part_size(file.size)
    try:
        digest = crew.submit(digest_of, file.path)
        asked = [crew.submit(_put_part, aws, place, number, file, start, size, meter) for number, start in _starts(file.size, size)]
        parts: list[Any] = [one.result() for one in asked]
        made = digest.result()
        _unchanged(file)
        answer: Any = aws.s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})  # type: ignore[arg-type]
    except BaseException:
        aws.s3.abort_multipart_upload(**place)  # type: ignore[arg-type]
        raise
    return Sent(made, str(answer.get("VersionId", "")))


def _starts(size: int, part: int) -> Iterator[tuple[int, int]]:
    return enumerate(range(0, size, part), start=1)


def _put_part(aws: Aws, place: dict[str, str], number: int, file: Outgoing, start: int, size: int, meter: Meter) -> dict[str, Any]:
    with file.path.open("rb", buffering=0) as stream:
        stream.seek(start)
        body = stream.read(size)
    answer: Any = aws.s3.upload_part(**place, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")  # type: ignore[arg-type]
    meter.add(len(body))
    return {"PartNumber": number, "ETag": answer["ETag"]} | {key: answer[key] for key in ("ChecksumCRC32",) if key in answer}


# ---------------------------------------------------------------- down


def download(aws: Aws, bucket: str, files: Iterable[Incoming], progress: Progress = lambda _done, _total: None) -> None:
    """Fetch objects. Each file appears under its name only when it is whole and checked.

    Raises:
        LabError: an object is not what its SHA-256 says, has changed meanwhile, or S3 says no.
    """
    files = list(files)
    meter = Meter(progress, sum(file.size for file in files))
    for folder in {file.path.parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    with Crew(THREADS) as crew:
        small = [crew.submit(_fetch, aws, bucket, file, meter, None) for file in files if file.size <= PART]
        for file in files:
            if file.size > PART:
                _fetch(aws, bucket, file, meter, crew)
        for asked in small:
            asked.result()


def partial(path: Path) -> Path:
    """Where a file is while it is not whole."""
    return path.with_name(path.name + ".part")


def _fetch(aws: Aws, bucket: str, file: Incoming, meter: Meter, crew: Crew | None) -> None:
    """One object, continued from what a former try left, and from nothing when that turns out to be wrong."""
    found = partial(file.path)
    continued = file.digest and found.exists() and 0 < found.stat().st_size <= file.size
    for again in (True, False) if continued else (False,):
        made = sha256()
        with found.open("rb+" if again else "wb") as stream:
            if again:
                while block := stream.read(HASH_BLOCK):
                    made.update(block)
                meter.add(stream.tell())
            _write(aws, bucket, file, stream, made, meter, crew)
        if not file.digest or made.hexdigest() == file.digest:
            os.utime(found, (file.changed.timestamp(), file.changed.timestamp()))
            found.replace(file.path)
            return
        meter.add(-file.size)
    found.unlink()
    raise LabError(
        f"s3://{bucket}/{file.key} is not what its SHA-256 says", f"aws s3api list-object-versions --bucket {bucket} --prefix {file.key}"
    )


def _write(aws: Aws, bucket: str, file: Incoming, stream: IO[bytes], made: Any, meter: Meter, crew: Crew | None) -> None:
    """What is missing of a file, in order; a few parts ahead of it are under way in the crew."""
    waiting: deque[Future[bytes]] = deque()
    starts = iter(range(stream.tell(), file.size, PART))

    def ask() -> None:
        start = next(starts, None)
        if start is not None:
            end = min(start + PART, file.size)
            if crew is None:
                done: Future[bytes] = Future()
                done.set_result(_get(aws, bucket, file, start, end))
                waiting.append(done)
            else:
                waiting.append(crew.submit(_get, aws, bucket, file, start, end))

    for _ in range(THREADS if crew else 1):
        ask()
    while waiting:
        body = waiting.popleft().result()
        ask()
        made.update(body)
        stream.write(body)
        stream.flush()
        meter.add(len(body))


def _get(aws: Aws, bucket: str, file: Incoming, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of an object; what a broken connection has not brought is asked for again."""
    got = b""
    for _ in range(TRIES):
        at = start + len(got)
        where = {} if (at, end) == (0, file.size) else {"Range": f"bytes={at}-{end - 1}"}
        try:
            got += aws.s3.get_object(Bucket=bucket, Key=file.key, IfMatch=file.tag, **where)["Body"].read()  # type: ignore[arg-type]
        except AwsError as error:
            if error.code in CONDITION_FAILED:
                raise LabError(f"s3://{bucket}/{file.key} changed while it was fetched", "llmlab fetch latest") from error
            raise
        except (exceptions.BotoCoreError, urllib3.exceptions.HTTPError, OSError):
            continue
        if len(got) == end - start:
            return got
    raise Unreachable(f"the connection broke {TRIES} times while {file.key} was fetched", "llmlab doctor", operation="s3:GetObject")
