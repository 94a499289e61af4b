"""Uploads to S3, of many and large files at once, each with its SHA-256.

A file goes in one request, whose SHA-256 S3 checks, or in parts sent in parallel while another thread takes the SHA-256. An object's
ETag is the MD5 of its content or of its parts' MD5s, so that an interrupted upload finds what is there. Parts are held in memory,
one a thread.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import file_digest, md5, sha256
from pathlib import Path
from typing import Any

from llmlab import files
from llmlab.aws.daemon_pool import DaemonThreadPool
from llmlab.aws.documents import not_bootstrapped
from llmlab.aws.objects import THREADS, ByteCounter, Progress
from llmlab.aws.session import Aws, NotFound
from llmlab.errors import LabError

PART = 8 << 20
"""Bytes of a part, and the size above which a file goes in parts."""
MOST_PARTS = 10_000
"""S3's limit on the parts of one upload."""


@dataclass(frozen=True)
class UploadFile:
    """A local file and the key it goes to."""

    path: Path
    key: str
    size: int
    changed: int
    """When it was last changed, in nanoseconds: it must not change while it is sent."""


@dataclass(frozen=True)
class Sent:
    """An uploaded object: its SHA-256 as hexadecimal digits, and its S3 version ("" where there are none)."""

    digest: str
    version: str


def send(aws: Aws, bucket: str, outgoing: Iterable[UploadFile], progress: Progress = lambda _done, _total: None) -> dict[str, Sent]:
    """Send files.

    Returns:
        What was sent, by key.

    Raises:
        LabError: a file changes while it is sent, the bucket is not there, or S3 says no.
    """
    outgoing = list(outgoing)
    counter = ByteCounter(progress, sum(file.size for file in outgoing))
    sent: dict[str, Sent] = {}
    try:
        with DaemonThreadPool(THREADS) as pool:
            small = [(file, pool.submit(_put, aws, bucket, file, counter)) for file in outgoing if file.size <= PART]
            for file in outgoing:
                if file.size > PART:
                    sent[file.key] = _send_in_parts(aws, bucket, file, pool, counter)
            for file, future in small:
                sent[file.key] = future.result()
    except NotFound as error:
        raise not_bootstrapped(aws) from error
    return sent


def _unchanged(file: UploadFile) -> None:
    now = file.path.stat()
    if (now.st_size, now.st_mtime_ns) != (file.size, file.changed):
        raise LabError(f"{file.path} changed while it was sent", "llmlab upload --help")


def _put(aws: Aws, bucket: str, file: UploadFile, counter: ByteCounter) -> Sent:
    body = file.path.read_bytes()
    _unchanged(file)
    hasher = sha256(body)
    answer = aws.s3.put_object(Bucket=bucket, Key=file.key, Body=body, ChecksumSHA256=b64encode(hasher.digest()).decode())
    counter.add(file.size)
    return Sent(hasher.hexdigest(), answer.get("VersionId", ""))


def part_size(size: int) -> int:
    """Bytes of each part of a file of `size` bytes but the last."""
    return max(PART, -(-size // MOST_PARTS))


def _send_in_parts(aws: Aws, bucket: str, file: UploadFile, pool: DaemonThreadPool, counter: ByteCounter) -> Sent:
    started = aws.s3.create_multipart_upload(Bucket=bucket, Key=file.key, ChecksumAlgorithm="CRC32")
    place = {"Bucket": bucket, "Key": file.key, "UploadId": started["UploadId"]}
    size = part_size(file.size)
    try:
        hashing = pool.submit(files.sha256, file.path)
        futures = [pool.submit(_put_part, aws, place, number, file, start, size, counter) for number, start in _starts(file.size, size)]
        parts: list[Any] = [future.result() for future in futures]
        digest = hashing.result()
        _unchanged(file)
        answer: Any = aws.s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})  # type: ignore[arg-type]
    except BaseException:
        aws.s3.abort_multipart_upload(**place)  # type: ignore[arg-type]
        raise
    return Sent(digest, str(answer.get("VersionId", "")))


def _starts(size: int, part: int) -> Iterator[tuple[int, int]]:
    return enumerate(range(0, size, part), start=1)


def _put_part(
    aws: Aws, place: dict[str, str], number: int, file: UploadFile, start: int, size: int, counter: ByteCounter
) -> dict[str, Any]:
    with file.path.open("rb", buffering=0) as stream:
        stream.seek(start)
        body = stream.read(size)
    answer: Any = aws.s3.upload_part(**place, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")  # type: ignore[arg-type]
    counter.add(len(body))
    return {"PartNumber": number, "ETag": answer["ETag"]} | {key: answer[key] for key in ("ChecksumCRC32",) if key in answer}


def etag_of(path: Path, size: int) -> str:
    """The ETag that S3 gives a file sent by `send` (S3 user guide, "Checking object integrity", for AES256 encryption)."""
    with path.open("rb", buffering=0) as stream:
        if size <= PART:
            return f'"{file_digest(stream, _md5).hexdigest()}"'
        part = part_size(size)
        digests = [_md5(stream.read(part)).digest() for _ in _starts(size, part)]
    return f'"{_md5(b"".join(digests)).hexdigest()}-{len(digests)}"'


def _md5(content: bytes = b"") -> Any:
    return md5(content, usedforsecurity=False)
