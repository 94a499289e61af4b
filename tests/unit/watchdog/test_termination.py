"""Instances that outlive their attempt: how long they may, and that no length of time makes one be forgotten."""

from datetime import UTC, datetime, timedelta

import pytest

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Manifest, Pool, Spec
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import Records
from llmlab.watchdog.run_snapshot import RunSnapshot
from llmlab.watchdog.termination import AFTERMATH_SECONDS, must_end

LAUNCHED = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENDED = LAUNCHED + timedelta(hours=1)
RUN = "20261123-120000-ab12"
DAYS = 7
SPEC = Spec(
    run=RUN, lab="lab", region="us-east-1", account="123456789012", recipe={}, data=Manifest("d", (), ""), image="i", ami="",
    launch_template="t", pools=(Pool("g6.xlarge", "us-east-1a", "subnet-a", 0.8, 0.3),), spot=True, max_hours=24 * DAYS,
    created=contract.build_timestamp(LAUNCHED),
)  # fmt: skip


def why_it_must_go(after: timedelta) -> str | None:
    """What is said of an instance that still runs so long after its attempt has ended."""
    at = contract.build_timestamp(LAUNCHED)
    deadline = int((LAUNCHED + timedelta(days=DAYS)).timestamp())
    attempt = Attempt(
        RUN, 1, at, deadline, spot=True, by="launch", max_hours=24 * DAYS, instance="i-1", instance_type="g6.xlarge", zone="us-east-1a",
        price=0.3, launched=at,
    )  # fmt: skip
    end = AttemptEnd(RUN, 1, EndReason.COMPLETED, contract.build_timestamp(ENDED))
    tags = {"Run": RUN, "Attempt": "1", "Deadline": str(deadline)}
    machine = Instance("i-1", "g6.xlarge", "us-east-1a", "running", LAUNCHED, spot=True, tags=tags)
    verdict = must_end(RunSnapshot(Records(SPEC, (attempt,), {1: end}), (machine,), ENDED + after), machine, 6)
    return verdict and verdict[0]


@pytest.mark.parametrize("days", [0, 1, 2, 5])
def test_a_machine_that_hangs_after_its_end_goes_however_many_days_have_passed(days: int) -> None:
    assert why_it_must_go(timedelta(days=days, seconds=AFTERMATH_SECONDS + 1)) == "its run is over and it did not switch itself off"


def test_a_day_and_a_minute_after_its_end_it_has_had_its_time_too() -> None:
    assert why_it_must_go(timedelta(days=1, seconds=60)) == "its run is over and it did not switch itself off"


def test_a_machine_has_its_time_to_switch_itself_off() -> None:
    assert why_it_must_go(timedelta(seconds=AFTERMATH_SECONDS)) is None
