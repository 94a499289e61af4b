"""The agent's ceilings: it saves before the money is gone, whatever spot costs meanwhile, and says what it was spent on."""

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings, strategies as st

from llmlab import contract
from llmlab.agent.s3_store import StoreError
from llmlab.agent.spot_price import Ec2SpotPrices
from llmlab.agent.stop_triggers import Signals, active_triggers, end_of
from llmlab.contract import Attempt, Charge, EndReason, Heartbeat, Marker, Metric, PricePoint
from llmlab.lifecycle import billing
from llmlab.lifecycle.billing import Bill
from tests.unit.agent.doubles import START, Machine, machine

ON_DEMAND = 0.8
CHARGES = (Charge("disk", 0.022, "test"), Charge("address", 0.005, "test"))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def points(*changes: tuple[float, float]) -> tuple[PricePoint, ...]:
    """Prices from so many seconds after the start."""
    return tuple(PricePoint(contract.build_timestamp(at(seconds)), dollars) for seconds, dollars in changes)


def leave_when_asked(here: Machine, after: float = 0.0) -> list[float]:
    """A trainer that saves and leaves so many seconds after it was asked; the list is when that was."""
    asked: list[float] = []

    def watch() -> None:
        passed = (here.clock.now() - START).total_seconds()
        if not asked and Path(here.job.folder.request).exists():
            asked.append(passed)
        if asked and passed >= asked[0] + after:
            here.leave(75)
        else:
            here.at(passed + 1, watch)

    here.at(1, watch)
    return asked


# ---------------------------------------------------------------- the ceiling


def test_the_trainer_saves_before_the_money_is_gone(tmp_path: Path) -> None:
    here = machine(tmp_path, hours=10, price=ON_DEMAND, spot=False, cost_before=0.4, max_cost=0.8)
    asked = leave_when_asked(here, after=30)
    here.agent.run()
    marker = here.outputs.document(Marker, here.job.keys.failure)
    assert marker.reason is EndReason.COST_REACHED
    assert 0.7 < marker.cost <= 0.8
    assert asked[0] == pytest.approx(1800 - billing.LAST_SECONDS - 180, abs=2)
    assert marker.command(here.job.run) == f"llmlab resume {here.job.run} --max-cost 10"
    assert here.market.asked == []  # on demand costs what it costs


def test_whichever_is_nearer_ends_it(tmp_path: Path) -> None:
    here = machine(tmp_path, hours=1, price=0.3, max_cost=0.299)
    assert end_of(here.agent.bill, here.job.deadline, START).reason is EndReason.COST_REACHED
    here.attempt = Attempt(**{**here.attempt.__dict__, "max_cost": 0.31})
    assert end_of(here.agent.bill, here.job.deadline, START).reason is EndReason.TIMED_OUT


def test_spot_that_becomes_dearer_brings_the_end_nearer(tmp_path: Path) -> None:
    here = machine(tmp_path, hours=10, price=0.2, max_cost=0.5)
    here.market.points = points((-9999, 0.2), (3600, 0.4))
    leave_when_asked(here)
    here.agent.run()
    assert 3600 + 0.3 / 0.4 * 3600 - 800 < (here.clock.now() - START).total_seconds() < 3600 + 0.3 / 0.4 * 3600
    assert here.end.reason is EndReason.COST_REACHED
    assert here.end.cost == pytest.approx(billing.instance_cost(here.market.points, START, here.clock.now(), 0.2), abs=1e-4)


def test_prices_are_asked_for_now_and_then_and_more_often_near_the_limit(tmp_path: Path) -> None:
    here = machine(tmp_path, hours=10, price=0.2, max_cost=0.5)
    here.market.away = True
    leave_when_asked(here)
    here.agent.run()
    times = [(moment - START).total_seconds() for moment in here.market.asked]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert set(map(round, gaps[:10])) == {300}
    assert set(map(round, gaps[-10:])) == {30}
    assert here.end.reason is EndReason.COST_REACHED  # at the last known price
    assert any("no prices" in line for line in here.said)


def test_disk_and_address_count(tmp_path: Path) -> None:
    here = machine(tmp_path, price=0.3, spec={"charges": CHARGES})
    here.at(1800, lambda: here.leave(0))
    here.agent.run()
    end = here.end
    assert end.costs == pytest.approx({"instance": 0.15, "disk": 0.011, "address": 0.0025}, rel=0.01)
    assert end.cost == pytest.approx(sum(end.costs.values()))
    assert here.outputs.document(Heartbeat, here.job.keys.status).cost == pytest.approx(end.cost)
    assert here.numbers.published[-1][Metric.COST] == pytest.approx(end.cost, rel=0.05)


def test_an_instance_that_is_taken_back_in_its_first_hour_is_free_but_for_what_it_needs(tmp_path: Path) -> None:
    here = machine(tmp_path, price=0.3, spec={"charges": CHARGES})
    here.at(1800.5, lambda: setattr(here.imds, "notice", here.clock.now() + timedelta(seconds=120)))
    leave_when_asked(here)
    here.agent.run()
    end = here.end
    assert end.reason is EndReason.SPOT_INTERRUPTED
    assert end.costs["instance"] == 0
    assert end.cost == pytest.approx(0.027 * end.hours)
    assert end.hours > 0.5


def test_money_that_is_gone_already_ends_at_once(tmp_path: Path) -> None:
    here = machine(tmp_path, price=0.3, max_cost=0.2, cost_before=0.3)
    here.agent.run()
    assert (here.clock.now() - START).total_seconds() < 10
    assert here.end.reason is EndReason.COST_REACHED


CHANGES = st.lists(st.tuples(st.integers(0, 7200), st.floats(0.05, ON_DEMAND)), max_size=20)


@settings(max_examples=40, deadline=None)
@given(
    first=st.floats(0.05, ON_DEMAND),
    changes=CHANGES,
    leaves_after=st.integers(0, 900),
    max_cost=st.floats(0.002, 0.3),
    before=st.floats(0, 0.001),
)
@pytest.mark.slow  # plays whole runs second by second
def test_the_ceiling_is_never_passed_by_more_than_a_minute(
    first: float, changes: list[tuple[int, float]], leaves_after: int, max_cost: float, before: float
) -> None:
    """For any prices, any ceiling, and a trainer that takes any time to leave."""
    with TemporaryDirectory() as folder:
        here = machine(Path(folder), hours=2, price=first, max_cost=max_cost, cost_before=before, spec={"charges": CHARGES})
        here.market.points = points((-9999, first), *changes)
        leave_when_asked(here, leaves_after)
        here.agent.run()
        gone = here.clock.now()
        spent = before + billing.total(billing.attempt_costs(CHARGES, START, gone, first, here.market.points))
        highest = max([first, *(dollars for _, dollars in changes)])
        assert spent <= max_cost + billing.hourly(CHARGES, highest) / 60
        end = here.end
        assert end.reason in {EndReason.COST_REACHED, EndReason.TIMED_OUT}
        assert end.cost == pytest.approx(billing.total(end.costs))
        assert set(end.costs) == {"instance", "disk", "address"}


@given(price=st.floats(0.01, ON_DEMAND), limit=st.floats(0.01, 100), passed=st.floats(0, 1))
def test_the_end_lies_before_the_money_and_after_most_of_it(price: float, limit: float, passed: float) -> None:
    bill = Bill(_claim(limit), START, (), price, price)
    gone = limit / price * 3600
    end = end_of(bill, 10**12, at(gone * passed * 0.9))
    assert end.at - START.timestamp() == pytest.approx(gone - billing.LAST_SECONDS, rel=1e-6, abs=1e-3)
    assert end.lead <= max(10, gone / 10 + 1)
    assert end.leave_by < end.at


@given(
    seconds=st.floats(0, 7200), stopped=st.booleans(), stalled=st.booleans(), broken=st.booleans(), notice=st.none() | st.floats(0, 7200),
    limit=st.none() | st.floats(0.01, 2),
)  # fmt: skip
def test_whatever_presses_leaves_before_it_is_gone(
    seconds: float, stopped: bool, stalled: bool, broken: bool, notice: float | None, limit: float | None
) -> None:
    seen = Signals(at(notice) if notice is not None else None, stopped, stalled, broken)
    found = active_triggers(Bill(_claim(limit), START, CHARGES, 0.3, ON_DEMAND), int(START.timestamp()) + 7200, at(seconds), seen)
    assert all(one.leave_by <= one.gone_by <= START.timestamp() + 7200 for one in found)
    assert [one.leave_by for one in found] == sorted(one.leave_by for one in found)
    wanted = {EndReason.STOPPED_BY_USER: stopped, EndReason.STALLED: stalled, EndReason.HARDWARE_FAILED: broken}
    for reason, wished in wanted.items():
        assert any(one.reason is reason for one in found) == wished


def _claim(max_cost: float | None) -> Attempt:
    stamp = contract.build_timestamp(START)
    return Attempt("r", 1, stamp, 0, spot=True, by="launch", max_hours=2, max_cost=max_cost, launched=stamp)


# ---------------------------------------------------------------- the market


class Ec2:
    """EC2's client as far as prices go; `error` is what it answers instead."""

    def __init__(self, items: list[dict[str, Any]], error: str = "") -> None:
        self.items, self.error = items, error
        self.asked: dict[str, Any] = {}

    def get_paginator(self, name: str) -> Any:
        assert name == "describe_spot_price_history"
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        if self.error:
            raise ClientError({"Error": {"Code": self.error, "Message": "no"}}, "DescribeSpotPriceHistory")
        self.asked = asked
        return [{"SpotPriceHistory": self.items[:1]}, {"SpotPriceHistory": self.items[1:]}]


def test_prices_come_from_ec2_for_our_pool_alone() -> None:
    items = [{"Timestamp": at(-60), "SpotPrice": "0.3000"}, {"Timestamp": at(60), "SpotPrice": "0.4000"}]
    ec2 = Ec2(items)
    assert Ec2SpotPrices(ec2).history("g6.xlarge", "us-east-1a", START) == points((-60, 0.3), (60, 0.4))
    assert ec2.asked == {
        "InstanceTypes": ["g6.xlarge"], "AvailabilityZone": "us-east-1a", "ProductDescriptions": ["Linux/UNIX"], "StartTime": START,
    }  # fmt: skip


def test_prices_that_are_denied_are_said() -> None:
    with pytest.raises(StoreError, match=r"no spot prices of g6\.xlarge in us-east-1a, the last one known counts"):
        Ec2SpotPrices(Ec2([], "UnauthorizedOperation")).history("g6.xlarge", "us-east-1a", START)
