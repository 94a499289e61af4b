"""One-time schedules say moments in UTC, wherever the laptop is that makes them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llmlab.contract import Names
from llmlab.lifecycle import one_time_schedules

NAMES = Names("lab", "123456789012", "eu-central-1")


@pytest.fixture(params=["UTC", "Europe/Berlin", "Pacific/Auckland", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The time zone of the computer."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moment=st.integers(0, 4_000_000_000))
def test_a_schedule_goes_off_at_its_moment_in_any_time_zone(zone: str, moment: int) -> None:
    deadline = one_time_schedules.create_schedule_request(NAMES, run="r", attempt=1, deadline=moment, role="role")
    aimed = one_time_schedules.aim_schedule_request(NAMES, run="r", attempt=1, deadline=moment, role="role", instance="i-1")
    alarm = one_time_schedules.wake_request(NAMES, run="r", moment=moment, role="role")
    for request in (deadline, aimed, alarm):
        assert request["ScheduleExpressionTimezone"] == "UTC"
        assert one_time_schedules.schedule_moment(request["ScheduleExpression"]).timestamp() == moment


def test_the_words_of_a_schedule(zone: str) -> None:
    """Noon of a summer's day by UTC, when Berlin is two hours ahead."""
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()
    assert one_time_schedules.wake_request(NAMES, run="r", moment=moment, role="role")["ScheduleExpression"] == "at(2026-07-01T12:00:00)"


def test_the_other_unit_tests_do_not_run_in_utc() -> None:
    """Only there a moment that is told by local time is the wrong one."""
    assert datetime.fromtimestamp(0).hour == 12  # noqa: DTZ006 - the point
