"""Who is first decides, and knows it: each of the three programs writes what nobody has written yet in the same way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from llmlab import contract
from llmlab.agent.s3_store import S3Store, StoreError
from llmlab.aws import documents
from llmlab.clock import ManualClock
from llmlab.contract import Stop
from llmlab.lifecycle.object_store import PAUSES_SECONDS
from llmlab.lifecycle.run_documents import RunDocuments
from tests.simulation.failure import failure
from tests.simulation.storage import Storage
from tests.unit.agent.doubles import START

WORD = Stop("r", "2026-11-23T12:00:00Z", "me")
KEY = "runs/r/stop.json"


@dataclass
class S3:
    """A bucket in which the next writes meet something first: `before` is done, one after another, at each write."""

    storage: Storage = field(default_factory=Storage)
    before: list[Callable[["S3", dict[str, Any]], None]] = field(default_factory=list)

    def put_object(self, **parameters: Any) -> Any:
        if self.before:
            self.before.pop(0)(self, parameters)
        return self.storage.put_object(**parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)


def conflict(_: S3, __: dict[str, Any]) -> None:
    raise failure("ConditionalRequestConflict", "another write is under way", "PutObject", 409)


def lose_the_answer(s3: S3, parameters: dict[str, Any]) -> None:
    """It is written, nobody answers, and the client's own second try goes on."""
    s3.storage.put_object(**parameters)


def somebody_else(s3: S3, parameters: dict[str, Any]) -> None:
    """At the same second, with the same words."""
    s3.storage.put_object(**{**parameters, "Metadata": {"llmlab-writer": "somebody"}})


def agent(s3: S3, clock: ManualClock) -> bool:
    return S3Store(s3, "b", clock).write_once(KEY, WORD)


def watchdog(s3: S3, clock: ManualClock) -> bool:
    return RunDocuments(s3, "b", clock).write_once(KEY, WORD)


def laptop(s3: S3, clock: ManualClock) -> bool:
    return documents.write_once(SimpleNamespace(s3=s3), "b", KEY, WORD, clock)  # type: ignore[arg-type]


WRITERS = [agent, watchdog, laptop]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("before", "first", "seconds"),
    [
        ([], True, 0),
        ([conflict, conflict], True, 0.6),
        ([lose_the_answer], True, 0),
        ([conflict, lose_the_answer], True, 0.2),
        ([somebody_else], False, 0),
        ([conflict, somebody_else], False, 0.2),
    ],
)
def test_who_was_first_knows_it(write: Callable[[S3, ManualClock], bool], before: list[Any], first: bool, seconds: float) -> None:
    s3, clock = S3(before=list(before)), ManualClock(START)
    assert write(s3, clock) is first
    assert s3.before == []
    assert contract.load(Stop, s3.storage.body("b", KEY) or b"") == WORD
    assert (clock.now() - START).total_seconds() == pytest.approx(seconds)
    assert write(s3, clock) is False, "a second write of the same words"


@pytest.mark.parametrize(("write", "error"), [(agent, StoreError), (watchdog, ClientError), (laptop, ClientError)])
def test_a_conflict_that_does_not_end_is_an_error_after_seconds(write: Callable[[S3, ManualClock], bool], error: type[Exception]) -> None:
    s3, clock = S3(before=[conflict] * 100), ManualClock(START)
    with pytest.raises(error, match="ConditionalRequestConflict"):
        write(s3, clock)
    assert (clock.now() - START).total_seconds() == pytest.approx(sum(PAUSES_SECONDS))
    assert s3.storage.body("b", KEY) is None
