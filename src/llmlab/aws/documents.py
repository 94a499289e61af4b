"""Contract documents in S3: read one, write one, write one only if nobody has, and list what runs there are.

A document is a dataclass of `llmlab.contract`. An object that is no such document raises `LabError` with its key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from llmlab import contract
from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.clock import Clock, SystemClock
from llmlab.errors import LabError
from llmlab.lifecycle.deleting import MOST_DELETED
from llmlab.lifecycle.run_documents import Ended, RunDocuments

T = TypeVar("T")
CLOCK = SystemClock()

TEXT_BYTES = 32 << 20
"""The most bytes read of a text object; of a longer one the end is read."""


class Unreadable(LabError):
    """The object under a key is not the document that belongs there, or is too large to be one."""


class NotBootstrapped(LabError):
    """One of the lab's buckets does not exist, so neither does the lab."""


def not_bootstrapped(aws: Aws) -> NotBootstrapped:
    """The error for a bucket of the lab that does not exist."""
    return NotBootstrapped(f"there is no lab {aws.lab} in {aws.region} yet", f"llmlab --region {aws.region} bootstrap")


class LabDocuments(RunDocuments):
    """A bucket of the lab, with errors that tell the user what to do.

    Raises:
        NotBootstrapped: the bucket does not exist.
        Unreadable: an object is no document of the kind that belongs under its key.
    """

    def __init__(self, aws: Aws, bucket: str = "", clock: Clock = CLOCK) -> None:
        super().__init__(aws.s3, bucket or aws.names.outputs_bucket, clock)
        self.aws = aws

    def read(self, key: str, most: int = contract.LARGE_DOCUMENT_BYTES) -> bytes | None:
        with self._told():
            return super().read(key, most)

    def load(self, kind: type[T], key: str) -> T | None:
        try:
            return super().load(kind, key)
        except contract.ContractError as error:
            raise Unreadable(str(error), f"aws s3 ls s3://{self.bucket}/{key} --human-readable") from error

    def pages(self, **arguments: str) -> Iterator[Any]:
        with self._told():
            yield from super().pages(**arguments)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            raise not_bootstrapped(self.aws) from error


def read(aws: Aws, kind: type[T], bucket: str, key: str) -> T | None:
    """The document at `key`, or None when there is none.

    Raises:
        Unreadable: the object is no document of this kind.
    """
    return LabDocuments(aws, bucket).load(kind, key)


def write(aws: Aws, bucket: str, key: str, document: Any) -> None:
    """Write a document, replacing whatever is under its key.

    Raises:
        LabError: it is larger than its readers read.
    """
    with _fitting(bucket, key):
        LabDocuments(aws, bucket).write(key, document)


def write_once(aws: Aws, bucket: str, key: str, document: Any, clock: Clock) -> bool:
    """Write a document if nothing is under its key; False when somebody was first.

    Raises:
        LabError: it is larger than its readers read.
    """
    with _fitting(bucket, key):
        return LabDocuments(aws, bucket, clock).write_once(key, document)


@contextmanager
def _fitting(bucket: str, key: str) -> Iterator[None]:
    try:
        yield
    except contract.ContractError as error:
        words = f"s3://{bucket}/{key} would be {error}; fewer and larger files make it smaller"
        raise LabError(words, "llmlab upload --help") from error


def exists(aws: Aws, bucket: str, key: str) -> bool:
    return LabDocuments(aws, bucket).exists(key)


def touch(aws: Aws, bucket: str, key: str) -> None:
    """Write an empty object, whose key is all the information."""
    LabDocuments(aws, bucket).touch(key)


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
    return LabDocuments(aws, bucket).folders(prefix, after=after)


def keys_under(aws: Aws, bucket: str, prefix: str) -> list[str]:
    """Every key under `prefix`, in order."""
    return LabDocuments(aws, bucket).keys(prefix)


def runs(aws: Aws, bucket: str) -> list[str]:
    """Every run id of a lab, oldest first: one call a thousand runs."""
    return LabDocuments(aws, bucket).runs()


def datasets(aws: Aws) -> list[str]:
    """The names of the user's datasets, without that of a GPU check: so a user's only dataset stays the only one."""
    return [name for name in names_under(aws, aws.names.data_bucket, contract.DATASETS) if name != contract.GPU_CHECK]


def ended(aws: Aws, bucket: str, run: str = "") -> dict[str, Ended]:
    """How each run that is over ended, by run id: one call a thousand runs. Keys of an unknown form are left out."""
    return LabDocuments(aws, bucket).ended(run)


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
