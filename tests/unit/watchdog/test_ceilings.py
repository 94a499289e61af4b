"""Hours, dollars and the alarm clock: how near to its end a run that nobody else ends is ended, with prices that change."""

from datetime import UTC, datetime, timedelta

import pytest

from llmlab.contract import Charge, EndReason, Notice, PricePoint, build_timestamp
from llmlab.lifecycle import billing, one_time_schedules
from llmlab.watchdog import followup
from llmlab.watchdog.usage import UsageMeter
from tests.unit.watchdog.lab import RUN, Lab

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def meter(**changes: float) -> UsageMeter:
    return UsageMeter(NOW, **{"hours": 1.0, "cost": 0.5, "hourly": 0.3, "highest": 0.8, "max_hours": 6.0, "max_cost": 2.0, **changes})


def test_the_money_ends_a_minute_before_it_is_gone() -> None:
    assert meter().money_ends == pytest.approx(NOW.timestamp() + 5 * 3600 - 60)
    assert not meter().money_up
    assert meter(cost=2.0 - 0.3 / 60).money_up
    assert not meter(cost=2.0 - 0.3 / 60 * 1.1).money_up


def test_the_cost_is_looked_at_when_the_highest_price_would_have_used_it_up() -> None:
    assert meter().look_at_money == pytest.approx(NOW.timestamp() + 1.5 / 0.8 * 3600 - 60)


def test_most_of_a_ceiling() -> None:
    assert meter().mostly_used == ""
    assert meter().mostly_used_at == pytest.approx(NOW.timestamp() + 1.1 / 0.3 * 3600 + 1)
    assert meter(cost=1.6).mostly_used == "$1.60 of $2.00"
    assert meter(hours=4.81).mostly_used == "4.8 of 6 hours"
    assert meter(hours=4.0, cost=0.1).mostly_used_at == pytest.approx(NOW.timestamp() + 0.8 * 3600 + 1)


def cost_of(lab: Lab, launched: datetime) -> float:
    """What the instance has cost until now, by the prices of the test."""
    history = [PricePoint(build_timestamp(one["Timestamp"]), float(one["SpotPrice"])) for one in lab.prices]
    return billing.total(billing.attempt_costs((Charge("disk", 0.02, "test"),), launched, lab.clock.now(), 0.3, history))


@pytest.mark.parametrize(
    "changes",
    [[], [(10, 0.8)], [(60, 0.1), (70, 0.75), (80, 0.2)], [(59, 0.79), (61, 0.31), (62, 0.8)], [(100, 0.05)]],
    ids=["steady", "soon high", "up and down", "late peak", "falling"],
)
def test_whatever_the_price_does_the_run_ends_within_a_minutes_price_of_its_limit(lab: Lab, changes: list[tuple[int, float]]) -> None:
    """Nobody but the alarm clock is there: no agent, no sweep, no event."""
    lab.change(charges=(Charge("disk", 0.02, "test"),))
    start = lab.clock.now()
    lab.price(0.3)
    for minutes, dollars in changes:
        lab.price(dollars, at=start + timedelta(minutes=minutes))
    points, lab.prices[:] = list(lab.prices), []
    lab.launch(max_cost=0.6)
    lab.wake({"sweep": True})
    looks = 0
    while lab.live():
        moment = lab.alarm
        assert moment
        lab.prices[:] = [point for point in points if point["Timestamp"] <= moment]
        lab.sleep_until_alarm()
        looks += 1
        assert looks < 60
    lab.prices[:] = points
    last_minute = 0.82 / 60
    assert 0.6 - 2 * last_minute <= cost_of(lab, start) <= 0.6 + last_minute
    marker = lab.marker()
    assert marker
    assert marker.reason is EndReason.COST_REACHED
    assert marker.cost == pytest.approx(cost_of(lab, start), abs=0.001)
    assert (1, Notice.CEILING) in lab.told()
    assert lab.schedules() == {}


def test_the_alarm_ends_an_instance_at_its_deadline_when_nothing_else_does(lab: Lab) -> None:
    attempt = lab.launch()
    lab.wake({"sweep": True})
    while lab.live():
        lab.sleep_until_alarm()
    assert lab.clock.now().timestamp() == pytest.approx(attempt.deadline, abs=60)
    marker = lab.marker()
    assert marker
    assert (marker.reason, marker.hours) == (EndReason.TIMED_OUT, pytest.approx(6, abs=0.02))


def test_without_prices_it_goes_on_with_the_one_of_the_launch(lab: Lab) -> None:
    lab.launch(max_cost=1.0)
    lab.clock.sleep(3 * 3600)
    assert "terminated" not in lab.wake({"sweep": True})
    lab.clock.sleep(20 * 60)
    assert "terminated" in lab.wake(one_time_schedules.wake_event(RUN))


# ---------------------------------------------------------------- the alarm itself


def test_the_nearer_alarm_stands(lab: Lab) -> None:
    ours, now = lab.watchdog(), lab.clock.now()
    followup.set_for(ours, RUN, now.timestamp() + 3600)
    followup.set_for(ours, RUN, now.timestamp() + 600)
    assert lab.alarm == now + timedelta(seconds=600)
    followup.set_for(ours, RUN, now.timestamp() + 7200)
    assert lab.alarm == now + timedelta(seconds=600)


def test_an_alarm_is_never_set_into_the_past(lab: Lab) -> None:
    """Such a schedule would never go off; and one that is going off is replaced, not moved."""
    ours = lab.watchdog()
    followup.set_for(ours, RUN, lab.clock.now().timestamp() - 100)
    assert lab.alarm == lab.clock.now() + timedelta(seconds=60)
    lab.clock.sleep(300)
    followup.set_for(ours, RUN, lab.clock.now().timestamp() + 500)
    assert lab.alarm == lab.clock.now() + timedelta(seconds=500)
