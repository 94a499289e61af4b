"""Listings of a bucket's objects and versions, and what uploads and downloads of many objects share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, TypeVar

from llmlab.aws.daemon_pool import DaemonThreadPool
from llmlab.aws.documents import not_bootstrapped
from llmlab.aws.session import Aws, NotFound
from llmlab.lifecycle import deleting

THREADS = 12

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[float, float], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class Object:
    """One object of a listing. `size` in bytes."""

    key: str
    size: int
    etag: str
    changed: datetime
    storage: str = "STANDARD"


@dataclass
class ByteCounter:
    """Adds up the bytes that all threads have transferred, and reports them."""

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


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker, whose size is 0."""

    key: str
    id: str
    size: int


def versions(aws: Aws, bucket: str, prefix: str) -> list[Version]:
    """Every version of every object under a prefix, and every delete marker: one call a thousand.

    Raises:
        LabError: the bucket is not there, so the lab is not.
    """
    try:
        pages: list[Any] = list(aws.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix))
    except NotFound as error:
        raise not_bootstrapped(aws) from error
    rows = [row for page in pages for row in (*page.get("Versions", []), *page.get("DeleteMarkers", []))]
    return [Version(str(row["Key"]), str(row["VersionId"]), int(row.get("Size", 0))) for row in rows]


def delete_versions(aws: Aws, bucket: str, gone: Iterable[Version]) -> list[str]:
    """Delete these versions for good; returns S3's words for each that it refused."""
    return deleting.delete_versions(aws.s3, bucket, [(version.key, version.id) for version in gone])


def in_parallel(call: Callable[[T], R], items: Iterable[T], threads: int = THREADS) -> list[R]:
    """The result of `call` for each item, in order."""
    items = list(items)
    with DaemonThreadPool(min(threads, max(1, len(items)))) as pool:
        return [future.result() for future in [pool.submit(call, item) for item in items]]


def version_of(aws: Aws, bucket: str, key: str) -> str:
    """The newest version of an object."""
    return str(aws.s3.head_object(Bucket=bucket, Key=key).get("VersionId", ""))
