"""Which runs this month's costs are made of."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import Attempt, EndReason, Manifest, Names, Pool, RunKeys, Spec
from llmlab.ops import cost as costs
from tests.simulation.callers import SimulatedAws
from tests.simulation.failure import failure
from tests.simulation.storage import Storage

NAMES = Names("lab", "123456789012", "us-east-1")
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK_HOURS = 7 * 24


class Account:
    """S3 in memory; every other service is denied."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.read: list[str] = []
        self.changed: dict[str, datetime] = {}

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        if service != "s3" or not hasattr(self.storage, method):
            raise failure("AccessDenied", "no", method, 403)
        self.read += [parameters["Key"]] if method == "get_object" else []
        answer = getattr(self.storage, method)(**parameters)
        for item in answer.get("Contents", []):
            item.setdefault("LastModified", self.changed.get(item["Key"]))
        return answer

    def ends(self, run: str, at: datetime) -> None:
        """The run is listed as over since then."""
        key = RunKeys(run).ended(EndReason.COMPLETED)
        self.storage.put_object(Bucket=NAMES.outputs_bucket, Key=key)
        self.changed[key] = at

    def has_run(self, launched: datetime, suffix: str, hours: float, begun: datetime | None = None) -> str:
        """A run whose last attempt lives as long as it may; its id. `begun` is when its first attempt was, where there was another."""
        run, at = contract.build_run_id(begun or launched, suffix), contract.build_timestamp(launched)
        deadline = int((launched + timedelta(hours=hours)).timestamp())
        spec = Spec(
            run=run, lab=NAMES.lab, region=NAMES.region, account=NAMES.account, recipe={}, data=Manifest("d", (), ""), image="i", ami="",
            launch_template="t", pools=(Pool("g6.xlarge", "us-east-1a", "s", 0.8, 0.5),), spot=True, max_hours=hours, created=at,
        )  # fmt: skip
        attempt = Attempt(
            run, 1, at, deadline, spot=True, by="launch", max_hours=hours, instance="i-1", instance_type="g6.xlarge", zone="us-east-1a",
            price=0.5, launched=at,
        )  # fmt: skip
        for key, document in ((RunKeys(run).spec, spec), (RunKeys(run).attempt(1), attempt)):
            self.storage.put_object(Bucket=NAMES.outputs_bucket, Key=key, Body=contract.dump(document))
        return run


@pytest.mark.parametrize("before", [timedelta(hours=1), timedelta(hours=12), 3 * DAY, 6.9 * DAY])
def test_a_run_that_was_begun_before_the_month_costs_what_it_ran_in_it(before: timedelta) -> None:
    account = Account()
    run = account.has_run(FIRST - before, "aaaa", WEEK_HOURS)
    account.has_run(FIRST - 30 * DAY, "bbbb", WEEK_HOURS)
    found = costs.cost(SimulatedAws(NAMES, account), ManualClock(FIRST + 10 * DAY), cost_explorer=False)  # type: ignore[arg-type]
    hours = (7 * DAY - before) / timedelta(hours=1)
    assert [one.run for one in found.runs] == [run]
    assert found.total == pytest.approx(hours * 0.5)
    assert found.runs[0].hours == pytest.approx(hours)


def test_a_run_of_long_ago_that_was_resumed_this_month_costs_what_it_ran_in_it() -> None:
    account = Account()
    run = account.has_run(FIRST + 2 * DAY, "cccc", 5, begun=FIRST - 60 * DAY)
    found = costs.cost(SimulatedAws(NAMES, account), ManualClock(FIRST + 10 * DAY), cost_explorer=False)  # type: ignore[arg-type]
    assert [(one.run, one.cost) for one in found.runs] == [(run, pytest.approx(2.5))]


def test_runs_that_ended_before_the_month_are_not_read() -> None:
    """There may be thousands."""
    account = Account()
    over = account.has_run(FIRST - 3 * DAY, "dddd", 5)
    account.ends(over, FIRST - 2 * DAY)
    this_month = account.has_run(FIRST - DAY, "eeee", 48)
    account.ends(this_month, FIRST + DAY)
    found = costs.cost(SimulatedAws(NAMES, account), ManualClock(FIRST + 10 * DAY), cost_explorer=False)  # type: ignore[arg-type]
    assert [one.run for one in found.runs] == [this_month]
    assert not [key for key in account.read if over in key]
    assert [key for key in account.read if this_month in key]


def test_months_have_different_lengths() -> None:
    assert [costs.next_month(datetime(2027, month, 1, tzinfo=UTC).date()).month for month in range(1, 13)] == [*range(2, 13), 1]
