"""A spot instance that AWS takes back: how much time is left, and whether its first hour is paid for."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from llmlab import contract
from llmlab.agent.stop_triggers import Signals, StopTrigger, active_triggers, end_of
from llmlab.contract import Attempt, EndReason
from llmlab.lifecycle.billing import Bill
from tests.unit.agent.doubles import START, machine

HOURS = 2
DEADLINE = int(START.timestamp()) + HOURS * 3600


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def bill(max_cost: float | None) -> Bill:
    stamp = contract.build_timestamp(START)
    claim = Attempt("r", 1, stamp, DEADLINE, spot=True, by="launch", max_hours=HOURS, max_cost=max_cost, launched=stamp)
    return Bill(claim, START, (), 0.3, 0.8)


def interruption(bill: Bill, now: datetime, seconds: float) -> StopTrigger:
    """What an interruption so many seconds from now makes of the time that is left."""
    (pressure,) = (
        pressure
        for pressure in active_triggers(bill, DEADLINE, now, Signals(now + timedelta(seconds=seconds)))
        if pressure.reason is EndReason.SPOT_INTERRUPTED
    )
    return pressure


@pytest.mark.parametrize("max_cost", [None, 0.5])
def test_an_interruption_that_comes_after_the_end_gives_no_more_time_than_there_is(max_cost: float | None) -> None:
    """AWS takes the machine two minutes from now; its time, or the run's money, is over in one."""
    end = end_of(bill(max_cost), DEADLINE, START)
    now = at(end.at - START.timestamp() - 60)
    end = end_of(bill(max_cost), DEADLINE, now)
    pressure = interruption(bill(max_cost), now, 120)
    assert end.reason is (EndReason.COST_REACHED if max_cost else EndReason.TIMED_OUT)
    assert pressure.gone_by == end.at
    assert pressure.leave_by < end.at


def test_an_interruption_that_comes_first_is_the_end() -> None:
    """Hours of the run are left, and two minutes of the machine."""
    pressure = interruption(bill(None), START, 120)
    assert pressure.gone_by == at(120).timestamp()
    assert at(60).timestamp() < pressure.leave_by < at(120).timestamp()


@pytest.mark.parametrize(("minutes", "free"), [(59.9, True), (60.5, False)])
def test_what_decides_about_the_free_first_hour_is_when_aws_takes_the_machine(tmp_path: Path, minutes: float, free: bool) -> None:
    """The notice comes within the hour, and the trainer has left within it, between two looks for the notice."""
    launched = START - timedelta(minutes=58)
    here = machine(tmp_path, hours=HOURS, price=0.3, launched=contract.build_timestamp(launched))
    here.imds.notice = launched + timedelta(minutes=minutes)
    here.at(3, lambda: here.leave(75))
    here.agent.run()
    assert here.end.reason is EndReason.SPOT_INTERRUPTED
    assert here.end.hours < 1
    assert (here.end.costs["instance"] == 0) is free
