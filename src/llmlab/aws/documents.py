"""Contract documents in S3: read one, write one, write one only if nobody has, and list what runs there are.

A document is a dataclass of `llmlab.contract`. An object that is no such document raises `LabError` with its key.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from llmlab import contract
from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.clock import Clock
from llmlab.contract import EndReason
from llmlab.errors import LabError
from llmlab.lifecycle import objects
from llmlab.lifecycle.deleting import MOST_DELETED

T = TypeVar("T")

TEXT_BYTES = 32 << 20
"""The most bytes read of a text object; of a longer one the end is read."""


class Unreadable(LabError):
    """The object under a key is not the document that belongs there, or is too large to be one."""


def read(aws: Aws, kind: type[T], bucket: str, key: str) -> T | None:
    """The document at `key`, or None when there is none.

    Raises:
        Unreadable: the object is no document of this kind.
    """
    try:
        answer = aws.s3.get_object(Bucket=bucket, Key=key)
    except NotFound as error:
        if error.code == "NoSuchBucket":
            raise not_bootstrapped(aws) from error
        return None
    try:
        return contract.load(kind, contract.body(answer, contract.most_bytes(kind)))
    except contract.ContractError as error:
        raise Unreadable(f"s3://{bucket}/{key} is {error}", f"aws s3 ls s3://{bucket}/{key} --human-readable") from error


class NotBootstrapped(LabError):
    """One of the lab's buckets does not exist, so neither does the lab."""


def not_bootstrapped(aws: Aws) -> NotBootstrapped:
    """The error for a bucket of the lab that does not exist."""
    return NotBootstrapped(f"there is no lab {aws.lab} in {aws.region} yet", f"llmlab --region {aws.region} bootstrap")


def write(aws: Aws, bucket: str, key: str, document: Any) -> None:
    """Write a document, replacing whatever is under its key.

    Raises:
        LabError: it is larger than its readers read.
    """
    aws.s3.put_object(Bucket=bucket, Key=key, Body=_encoded(bucket, key, document), ContentType="application/json")


def _encoded(bucket: str, key: str, document: Any) -> bytes:
    try:
        return contract.encode(document)
    except contract.ContractError as error:
        words = f"s3://{bucket}/{key} would be {error}; fewer and larger files make it smaller"
        raise LabError(words, "llmlab upload --help") from error


def write_once(aws: Aws, bucket: str, key: str, document: Any, clock: Clock) -> bool:
    """Write a document if nothing is under its key; False when somebody was first."""
    return objects.put_if_absent(aws.s3, bucket, key, _encoded(bucket, key, document), clock)


def exists(aws: Aws, bucket: str, key: str) -> bool:
    try:
        aws.s3.head_object(Bucket=bucket, Key=key)
    except NotFound:
        return False
    return True


def touch(aws: Aws, bucket: str, key: str) -> None:
    """Write an empty object, whose key is all the information."""
    aws.s3.put_object(Bucket=bucket, Key=key, Body=b"")


def delete(aws: Aws, bucket: str, *keys: str) -> None:
    """Delete objects; those that do not exist are no error. In a versioned bucket the old versions stay readable.

    Raises:
        AwsError: S3 answers refusals inside a 200.
    """
    for start in range(0, len(keys), MOST_DELETED):
        objects: Any = [{"Key": key} for key in keys[start : start + MOST_DELETED]]
        answer = aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", []):
            words = f"s3:DeleteObjects failed: {error.get('Key')}: {error.get('Message', '')}"
            raise AwsError(words, code=error.get("Code", ""), operation="s3:DeleteObjects")


def names_under(aws: Aws, bucket: str, prefix: str, *, after: str = "") -> list[str]:
    """The names of the folders right under `prefix`, in order; only those after `prefix + after` when that is given."""
    start = f"{prefix}{after}" if after else ""
    pages = _pages(aws, Bucket=bucket, Prefix=prefix, Delimiter="/", StartAfter=start)
    return [str(item["Prefix"])[len(prefix) : -1] for page in pages for item in page.get("CommonPrefixes", [])]


def keys_under(aws: Aws, bucket: str, prefix: str) -> list[str]:
    """Every key under `prefix`, in order."""
    return [str(item["Key"]) for page in _pages(aws, Bucket=bucket, Prefix=prefix) for item in page.get("Contents", [])]


def _pages(aws: Aws, **arguments: str) -> Iterator[Any]:
    """The pages of a listing.

    Raises:
        LabError: the bucket is not there, so the lab is not.
    """
    try:
        yield from aws.s3.get_paginator("list_objects_v2").paginate(**arguments)  # type: ignore[arg-type]
    except NotFound as error:
        raise not_bootstrapped(aws) from error


def runs(aws: Aws, bucket: str) -> list[str]:
    """Every run id of a lab, oldest first: one call a thousand runs."""
    return [name for name in names_under(aws, bucket, contract.RUNS) if contract.RUN_ID.fullmatch(name)]


def datasets(aws: Aws) -> list[str]:
    """The names of the user's datasets, without that of a GPU check: so a user's only dataset stays the only one."""
    return [name for name in names_under(aws, aws.names.data_bucket, contract.DATASETS) if name != contract.GPU_CHECK]


@dataclass(frozen=True)
class Ended:
    """How a run ended, and when, as the listing of `ended/` tells it."""

    reason: EndReason
    at: datetime


def ended(aws: Aws, bucket: str, run: str = "") -> dict[str, Ended]:
    """How each run that is over ended, by run id: one call a thousand runs. Keys of an unknown form are left out."""
    endings: dict[str, Ended] = {}
    prefix = f"{contract.ENDED}{run}/" if run else contract.ENDED
    for page in _pages(aws, Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            try:
                name, reason = contract.parse_ended(str(item["Key"]))
            except ValueError:
                continue
            if name not in endings or endings[name].at < item["LastModified"]:
                endings[name] = Ended(reason, item["LastModified"])
    return endings


def read_text(aws: Aws, bucket: str, key: str, most: int = TEXT_BYTES) -> str:
    """A text object, what is not UTF-8 in it replaced; "" when there is none.

    Of one with more than `most` bytes the end, from a whole line on, after a line that says so.
    """
    try:
        answer: Any = aws.s3.get_object(Bucket=bucket, Key=key)
        size = int(answer["ContentLength"])
        if size <= most:
            return bytes(answer["Body"].read()).decode(errors="replace")
        answer["Body"].close()
        answer = aws.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={size - most}-{size - 1}")
    except NotFound:
        return ""
    tail = bytes(answer["Body"].read()).partition(b"\n")[2]
    return f"[{size - len(tail)} bytes before this are left out: s3://{bucket}/{key}]\n{tail.decode(errors='replace')}"
