"""Which runs this month's costs are made of."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import Attempt, Manifest, Names, Pool, RunKeys, Spec
from llmlab.ops import cost as costs
from llmlab.sandbox.simulation.callers import SimulatedAws
from llmlab.sandbox.simulation.failure import failure
from llmlab.sandbox.simulation.storage import Storage

NAMES = Names("lab", "123456789012", "us-east-1")
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK_HOURS = 7 * 24


class Account:
    """S3 in memory; every other service is denied."""

    def __init__(self) -> None:
        self.storage = Storage()

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        if service != "s3" or not hasattr(self.storage, method):
            raise failure("AccessDenied", "no", method, 403)
        return getattr(self.storage, method)(**parameters)

    def has_run(self, launched: datetime, suffix: str, hours: float) -> str:
        """A run of one attempt that lives as long as it may; its id."""
        run, at = contract.build_run_id(launched, suffix), contract.build_timestamp(launched)
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
    """The longest that a run may last is a week."""
    account = Account()
    run = account.has_run(FIRST - before, "aaaa", WEEK_HOURS)
    account.has_run(FIRST - 30 * DAY, "bbbb", WEEK_HOURS)
    found = costs.cost(SimulatedAws(NAMES, account), ManualClock(FIRST + 10 * DAY), cost_explorer=False)  # type: ignore[arg-type]
    hours = (7 * DAY - before) / timedelta(hours=1)
    assert [one.run for one in found.runs] == [run]
    assert found.total == pytest.approx(hours * 0.5)
    assert found.runs[0].hours == pytest.approx(hours)


def test_months_have_different_lengths() -> None:
    assert [costs.next_month(datetime(2027, month, 1, tzinfo=UTC).date()).month for month in range(1, 13)] == [*range(2, 13), 1]
