"""One bucket, as the agent needs it. botocore's errors end here: above there is `StoreError`."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import S3Transfer, TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.utils import OSUtils

from llmlab import contract
from llmlab.agent.shared_files import RegularFile
from llmlab.clock import Clock
from llmlab.lifecycle import error_codes, refusals
from llmlab.lifecycle.error_codes import error_code
from llmlab.lifecycle.object_store import ObjectStore

MISSING = error_codes.MISSING | {"NoSuchVersion"}
DENIED = {"AccessDenied", "403"}
"""Also what S3 says of a missing object to somebody who may list only some prefixes."""
TRANSFER = TransferConfig(multipart_threshold=16 * 1024**2, multipart_chunksize=32 * 1024**2, max_concurrency=8)


class StoreError(Exception):
    """S3 did not do what was asked, after botocore's own retries."""


class UploadRefused(StoreError):
    """S3 refuses to store an object; `says` are its own words. `final`: whatever changes in the account, it never will."""

    def __init__(self, words: str, code: str, says: str) -> None:
        super().__init__(words)
        self.code = code
        self.says = says

    @property
    def final(self) -> bool:
        return self.code in error_codes.FOR_EVER


class ObjectMissing(StoreError):
    """There is no such object, or no such version of it."""


T = TypeVar("T")
Took = Callable[[int], object]


class Opening(OSUtils):
    """Opens a large file for each of its parts as a regular file, whatever its name leads to by then."""

    def __init__(self, file: RegularFile) -> None:
        self.file = file

    def open(self, filename: str, mode: str) -> Any:  # noqa: ARG002 - s3transfer's signature
        return self.file.open()

    def get_file_size(self, filename: str) -> int:  # noqa: ARG002
        return self.file.stamp()[1]


class Store(Protocol):
    """The operations on a bucket that the agent needs."""

    def read(self, key: str) -> bytes | None:
        """The object, or None when there is none."""
        ...

    def write(self, key: str, body: bytes) -> None: ...

    def load(self, kind: type[T], key: str) -> T | None:
        """The document at `key`, None when there is none.

        Raises:
            ContractError: the object is no such document.
            StoreError: S3 did not give it.
        """
        ...

    def write_once(self, key: str, document: Any) -> bool:
        """Write a document if nothing is there; False when something was."""
        ...

    def send(self, file: RegularFile, key: str, took: Took) -> str:
        """Upload a file; returns its version id, "" where the bucket keeps none. `took` hears how many bytes more S3 has.

        Raises:
            OSError: the file is not there any more, or is no regular one.
            StoreError: S3 did not take it.
        """
        ...

    def fetch(self, key: str, version: str, file: Path) -> None:
        """Download one version of an object, the newest for "".

        Raises:
            ObjectMissing: there is none.
            StoreError: S3 did not give it.
        """
        ...

    def keys(self, prefix: str) -> list[str]: ...


class S3Store:
    """A real bucket. `client` is boto3's S3 client, safe to share between threads."""

    def __init__(self, client: Any, bucket: str, clock: Clock) -> None:
        self.client = client
        self.bucket = bucket
        self.objects = ObjectStore(client, bucket, clock)

    def read(self, key: str) -> bytes | None:
        try:
            return self.objects.read(key)
        except contract.ContractError as error:
            raise StoreError(str(error)) from error
        except (ClientError, BotoCoreError) as error:
            if error_code(error) in DENIED and key not in self.keys(key):
                return None
            raise StoreError(f"s3://{self.bucket}/{key} cannot be read: {error}") from error

    def write(self, key: str, body: bytes) -> None:
        self._put(key, body)

    def load(self, kind: type[T], key: str) -> T | None:
        body = self.read(key)
        return None if body is None else contract.load(kind, body)

    def write_once(self, key: str, document: Any) -> bool:
        try:
            return self.objects.write_once(key, document)
        except (ClientError, BotoCoreError) as error:
            raise StoreError(f"s3://{self.bucket}/{key} cannot be written: {error}") from error

    def send(self, file: RegularFile, key: str, took: Took) -> str:
        with file.open() as stream:
            body = stream.read(TRANSFER.multipart_threshold)
        if len(body) < TRANSFER.multipart_threshold:
            version = self._put(key, body)
            took(len(body))
            return version
        config: Any = TRANSFER  # which the stubs take for another class
        try:
            S3Transfer(self.client, config, Opening(file)).upload_file(file.name, self.bucket, key, callback=took)
            return str(self.client.head_object(Bucket=self.bucket, Key=key).get("VersionId", ""))
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise self._not_written(key, error) from error

    def fetch(self, key: str, version: str, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        extra = {"VersionId": version} if version else None
        try:
            self.client.download_file(self.bucket, key, str(file), ExtraArgs=extra, Config=TRANSFER)
        except (ClientError, BotoCoreError, Boto3Error) as error:
            kind = ObjectMissing if error_code(error) in MISSING else StoreError
            raise kind(f"s3://{self.bucket}/{key} cannot be read: {error}") from error

    def keys(self, prefix: str) -> list[str]:
        try:
            return self.objects.keys(prefix)
        except (ClientError, BotoCoreError) as error:
            raise StoreError(f"s3://{self.bucket}/{prefix} cannot be listed: {error}") from error

    def _put(self, key: str, body: bytes) -> str:
        try:
            answer = self.client.put_object(Bucket=self.bucket, Key=key, Body=io.BytesIO(body))
        except (ClientError, BotoCoreError) as error:
            raise self._not_written(key, error) from error
        return str(answer.get("VersionId", ""))

    def _not_written(self, key: str, error: Exception) -> StoreError:
        words, refusal = f"s3://{self.bucket}/{key} cannot be written: {error}", error_codes.refusal(error)
        return UploadRefused(words, refusal[0], refusals.sentence(*refusal)) if refusal else StoreError(words)


def persist(work: Callable[[], T], clock: Clock, say: Callable[[str], None], *, until: float | Callable[[], float]) -> T:
    """Do `work`, again after each `StoreError`, with pauses that grow to 30 s, until the time `until` (seconds since 1970), which may move.

    Raises:
        StoreError: the last one, when the time is up, or one that is final.
    """
    pause = 1.0
    while True:
        try:
            return work()
        except StoreError as error:
            if isinstance(error, UploadRefused) and error.final:
                raise
            if clock.now().timestamp() + pause >= (until() if callable(until) else until):
                raise
            say(f"{error}; again in {pause:.0f} s")
        clock.sleep(pause)
        pause = min(30.0, pause * 2)
