"""One S3 bucket as laptop, watchdog and agent use it: objects, documents, listings, and writes of which the first one wins."""

from collections.abc import Iterator
from secrets import token_hex
from typing import Any, TypeVar

from llmlab import contract
from llmlab.clock import Clock
from llmlab.lifecycle import error_codes
from llmlab.lifecycle.error_codes import error_code

T = TypeVar("T")
PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6, 2.0)
"""Pauses between tries while S3 answers that another write is under way: five seconds in all, by which that write has ended."""
WRITER = "llmlab-writer"
"""Metadata key with a random word of the one write, by which a write recognises its own object. The body would not do, because two calls
in the same second write the same claim."""


class ObjectStore:
    """One bucket: its objects, contract documents and listings. `client` is boto3's S3 client, safe to share between threads.

    A document is a dataclass of `llmlab.contract`.
    """

    def __init__(self, client: Any, bucket: str, clock: Clock) -> None:
        self.client = client
        self.bucket = bucket
        self.clock = clock

    def read(self, key: str, most: int = contract.LARGE_DOCUMENT_BYTES) -> bytes | None:
        """The body of an object, None when there is none.

        Raises:
            ContractError: it has more than `most` bytes.
        """
        try:
            return contract.body(self.client.get_object(Bucket=self.bucket, Key=key), most)
        except contract.ContractError as error:
            raise contract.ContractError(f"s3://{self.bucket}/{key} is {error}") from error
        except Exception as error:
            if error_code(error) in error_codes.MISSING:
                return None
            raise

    def load(self, kind: type[T], key: str) -> T | None:
        """The document at `key`, None when there is none.

        Raises:
            ContractError: the object is too large, or is no document of this kind.
        """
        content = self.read(key, contract.most_bytes(kind))
        if content is None:
            return None
        try:
            return contract.load(kind, content)
        except contract.ContractError as error:
            raise contract.ContractError(f"s3://{self.bucket}/{key} is {error}") from error

    def write(self, key: str, document: Any) -> None:
        """Write a document, replacing whatever is under its key.

        Raises:
            ContractError: it is larger than its readers read.
        """
        self.client.put_object(Bucket=self.bucket, Key=key, Body=contract.encode(document), ContentType="application/json")

    def write_once(self, key: str, document: Any) -> bool:
        """Write a document if the key does not exist; False when another writer was first.

        Raises:
            ContractError: it is larger than its readers read.
        """
        return put_if_absent(self.client, self.bucket, key, contract.encode(document), self.clock)

    def touch(self, key: str) -> None:
        """Write an empty object, whose key is all the information."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=b"")

    def exists(self, key: str) -> bool:
        try:
            self.client.head_object(Bucket=self.bucket, Key=key)
        except Exception as error:
            if error_code(error) in error_codes.MISSING:
                return False
            raise
        return True

    def keys(self, prefix: str) -> list[str]:
        """Every key under `prefix`, in order."""
        return [str(item["Key"]) for page in self.pages(Prefix=prefix) for item in page.get("Contents", [])]

    def folders(self, prefix: str, *, after: str = "") -> list[str]:
        """The names of the folders right under `prefix`, in order; only those after `prefix + after` when that is given."""
        pages = self.pages(Prefix=prefix, Delimiter="/", StartAfter=f"{prefix}{after}" if after else "")
        return [str(item["Prefix"])[len(prefix) : -1] for page in pages for item in page.get("CommonPrefixes", [])]

    def pages(self, **arguments: str) -> Iterator[Any]:
        """The pages of a listing, as ListObjectsV2 returns them."""
        yield from self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **arguments)


def put_if_absent(client: Any, bucket: str, key: str, body: bytes, clock: Clock, content_type: str = "application/json") -> bool:
    """Write an object if its key does not exist (`If-None-Match: *`); False when another writer was first. `client` is boto3's S3 client.

    S3 answers 409 while another write of the key is under way, after which nothing may be there: "On a 409 failure you should retry
    the upload" (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, If-None-Match). A server that took it for a
    duplicate lost what it was to keep: https://github.com/open-proofline/server/issues/380.
    It answers 412 when something is there, which may be this very write, where its answer was lost and the client has tried again.

    Raises:
        Exception: the client's own: S3 did not take it, or went on to answer 409.
    """
    writer = token_hex(8)
    for pause in (*PAUSES_SECONDS, 0.0):
        try:
            client.put_object(
                Bucket=bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*", Metadata={WRITER: writer}
            )  # fmt: skip
        except Exception as error:
            code = error_code(error)
            if code in error_codes.TAKEN:
                return _writer(client, bucket, key) == writer
            if code not in error_codes.CONFLICT or not pause:
                raise
            clock.sleep(pause)
        else:
            return True
    raise AssertionError("unreachable")


def _writer(client: Any, bucket: str, key: str) -> str:
    """The `WRITER` metadata of an object, "" where it has none or does not exist."""
    try:
        metadata: dict[str, str] = client.head_object(Bucket=bucket, Key=key).get("Metadata", {})
    except Exception as error:
        if error_code(error) in error_codes.MISSING:
            return ""
        raise
    return metadata.get(WRITER, "")
