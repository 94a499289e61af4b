"""When a run is looked at again: the nearest of what is due."""

from datetime import UTC, datetime, timedelta
from typing import Any

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Manifest, Pool, Spec
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import Records
from llmlab.watchdog.followup import BOOT_SECONDS, next_look
from llmlab.watchdog.run_snapshot import RunSnapshot
from llmlab.watchdog.termination import AFTERMATH_SECONDS

LAUNCHED = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = "20261123-120000-ab12"
HOURS = 48
DEADLINE = LAUNCHED + timedelta(hours=HOURS)
SPEC = Spec(
    run=RUN, lab="lab", region="us-east-1", account="123456789012", recipe={}, data=Manifest("d", (), ""), image="i", ami="",
    launch_template="t", pools=(Pool("g6.xlarge", "us-east-1a", "subnet-a", 0.8, 0.3),), spot=True, max_hours=HOURS,
    created=contract.build_timestamp(LAUNCHED),
)  # fmt: skip


def wait(after: timedelta, state: str = "running", end: AttemptEnd | None = None, **claim: Any) -> float | None:
    """Seconds until the next look at a run whose instance was launched so long ago."""
    at = contract.build_timestamp(LAUNCHED)
    attempt = Attempt(
        RUN, 1, at, int(DEADLINE.timestamp()), spot=True, by="launch", max_hours=HOURS, instance="i-1", instance_type="g6.xlarge",
        zone="us-east-1a", price=0.3, launched=at, **claim,
    )  # fmt: skip
    tags = {"Run": RUN, "Attempt": "1", "Deadline": str(attempt.deadline)}
    machine = Instance("i-1", "g6.xlarge", "us-east-1a", state, LAUNCHED, spot=True, tags=tags)
    now = LAUNCHED + after
    moment = next_look(RunSnapshot(Records(SPEC, (attempt,), {1: end} if end else {}), (machine,), now), None, 6)
    return None if moment is None else moment - now.timestamp()


def test_an_instance_that_does_not_run_yet_is_looked_at_again_in_two_minutes() -> None:
    assert wait(timedelta(seconds=5), "pending") == BOOT_SECONDS == 120


def test_a_machine_whose_attempt_has_ended_is_looked_at_when_it_has_had_its_time() -> None:
    ended = LAUNCHED + timedelta(hours=30)
    end = AttemptEnd(RUN, 1, EndReason.COMPLETED, contract.build_timestamp(ended))
    assert wait(timedelta(hours=30, seconds=10), end=end) == AFTERMATH_SECONDS + 1 - 10


def test_most_of_the_hours_is_told_before_they_are_over() -> None:
    """Days from now; and when that is told, only the deadline is left."""
    first = wait(timedelta(minutes=10))
    assert first is not None
    assert HOURS * 3600 * 0.5 < first < HOURS * 3600 - 600


def test_the_end_of_the_money_is_looked_at_in_time() -> None:
    """A dollar at 30 cents an hour is gone after three hours and twenty minutes."""
    first = wait(timedelta(hours=2, minutes=50), max_cost=1.0)
    assert first is not None
    assert 0 < first < 1800
