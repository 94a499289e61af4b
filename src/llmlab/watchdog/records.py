"""Reading the documents of runs from the outputs bucket, and conditional writes to it: the first writer wins."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from llmlab import contract
from llmlab.clock import Clock
from llmlab.contract import Attempt, AttemptEnd, ContractError, Marker, Notice, RunKeys, Spec, Stop
from llmlab.lifecycle import objects

NOTIFIED = "told-"
WATCHDOG = "watchdog"
"""`Attempt.by` of attempts that the watchdog starts."""

T = TypeVar("T")


@dataclass(frozen=True)
class Records:
    """All documents of one run: `attempts` in order, `ends` by number, `notified` the messages sent about each attempt."""

    spec: Spec
    attempts: tuple[Attempt, ...]
    ends: dict[int, AttemptEnd] = field(default_factory=dict)
    marker: Marker | None = None
    stop: Stop | None = None
    notified: frozenset[tuple[int, Notice]] = frozenset()

    @property
    def over(self) -> bool:
        """Whether the newest attempt has a marker; a marker of an earlier attempt, which was resumed, does not count."""
        return self.marker is not None and bool(self.attempts) and self.marker.attempts >= self.attempts[-1].number


class RunStore:
    """The documents of runs in the outputs bucket. `client` is boto3's S3 client."""

    def __init__(self, client: Any, bucket: str, clock: Clock) -> None:
        self.client = client
        self.bucket = bucket
        self.clock = clock

    def records(self, run: str) -> Records | None:
        """Load all documents of a run; None when it has no spec."""
        keys = RunKeys(run)
        spec = self.load(Spec, keys.spec)
        if spec is None:
            return None
        documents = [contract.parse_attempt(key) for key in self.keys(keys.attempts)]
        attempts = [self.load(Attempt, keys.attempt(number)) for number in sorted(number for number, kind in documents if kind == "claim")]
        ends = [self.load(AttemptEnd, keys.attempt_end(number)) for number, kind in documents if kind == "end"]
        return Records(
            spec,
            tuple(attempt for attempt in attempts if attempt),
            {end.number: end for end in ends if end},
            self.load(Marker, keys.success) or self.load(Marker, keys.failure),
            self.load(Stop, keys.stop),
            frozenset((number, Notice(kind.removeprefix(NOTIFIED))) for number, kind in documents if kind.startswith(NOTIFIED)),
        )

    def runs(self) -> set[str]:
        """The ids of all runs of the lab."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=contract.RUNS, Delimiter="/")
        names = (item["Prefix"][len(contract.RUNS) : -1] for page in pages for item in page.get("CommonPrefixes", []))
        return {name for name in names if contract.RUN_ID.fullmatch(name)}

    def ended(self) -> set[str]:
        """The ids of the runs that have a key under `ended/`."""
        return {key.split("/")[1] for key in self.keys(contract.ENDED) if key.count("/") == 2}

    def checkpoint(self, run: str) -> int:
        """The newest step with a complete checkpoint, 0 without one."""
        keys = RunKeys(run)
        names = (key.removeprefix(keys.checkpoints).split("/") for key in self.keys(keys.checkpoints))
        steps = (contract.parse_checkpoint_name(parts[0]) for parts in names if parts[1:] == [contract.COMPLETE])
        return max((step for step in steps if step is not None), default=0)

    def keys(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def load(self, kind: type[T], key: str) -> T | None:
        """Load the document at `key`, None when it does not exist.

        Raises:
            ContractError: the object is too large, or is no document of this kind.
        """
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if objects.error_code(error) in objects.MISSING:
                return None
            raise
        try:
            return contract.load(kind, contract.body(answer, contract.most_bytes(kind)))
        except ContractError as error:
            raise ContractError(f"{key} is {error}") from error

    def write(self, key: str, document: Any) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=contract.encode(document), ContentType="application/json")

    def touch(self, key: str) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=b"")

    def write_once(self, key: str, document: Any) -> bool:
        """Write a document if the key does not exist; False when another writer was first."""
        return objects.put_if_absent(self.client, self.bucket, key, contract.encode(document), self.clock)
