"""What another attempt leaves behind of the one before, and how soon an instance whose start was cut short is known."""

from datetime import timedelta
from typing import Any

import pytest

from llmlab.lifecycle import one_time_schedules
from llmlab.lifecycle.create_fleet import VISIBLE_SECONDS
from llmlab.watchdog.policy import LAUNCH_SECONDS
from tests.unit.watchdog.lab import RUN, Died, Lab, Life


def schedule_deadline(lab: Lab, attempt: int, deadline: int) -> None:
    """The one-time schedule at an attempt's deadline, as `launch` makes it."""
    scheduler: Any = lab.aws.client("scheduler")
    role = lab.aws.names.role_arn(lab.aws.names.scheduler_role)
    scheduler.create_schedule(
        **one_time_schedules.create_schedule_request(lab.aws.names, run=RUN, attempt=attempt, deadline=deadline, role=role)
    )


def test_the_deadline_of_an_attempt_that_is_over_goes_with_it(lab: Lab) -> None:
    attempt = lab.launch()
    for number in (1, 2, 3):
        if number == 1:
            schedule_deadline(lab, 1, attempt.deadline)
        assert one_time_schedules.schedule_name(RUN, number) in lab.schedules()
        lab.clock.sleep(600)
        lab.wake(lab.kill(lab.attempts()[-1]))
        assert set(lab.schedules()) == {one_time_schedules.schedule_name(RUN, number + 1), one_time_schedules.wake_name(RUN)}


def test_what_the_watchdog_itself_has_started_is_noted_at_the_next_look(lab: Lab) -> None:
    """Nobody else comes back to note it: the call that claimed the attempt has died."""
    lab.launch(by="watchdog", noted=False)
    lab.clock.sleep(5)
    lab.wake({"sweep": True})
    assert lab.attempts()[0].instance == lab.live()[0]["InstanceId"]


def test_who_starts_by_hand_is_given_time_to_note_it(lab: Lab) -> None:
    lab.launch(by="launch", noted=False)
    lab.clock.sleep(VISIBLE_SECONDS - 1)
    lab.wake({"sweep": True})
    assert lab.attempts()[0].instance == ""


def test_a_day_later_it_is_noted_whoever_has_started_it(lab: Lab) -> None:
    lab.launch(by="launch", noted=False, deadline=int(lab.clock.now().timestamp()) + 100 * 3600, max_hours=100)
    lab.clock.sleep(24 * 3600 + 10)
    lab.wake({"sweep": True})
    assert lab.attempts()[0].instance == lab.live()[0]["InstanceId"]


def test_a_start_that_dies_is_looked_at_again_when_no_instance_can_come_of_it_any_more(lab: Lab) -> None:
    """Its end, its claim and the alarm clock are written, and nobody else will ask."""
    event, life = lab.kill(lab.launch()), Life(calls=3)
    with pytest.raises(Died):
        lab.wake(event, life)
    assert life.made == ["put_object", "put_object", "create_schedule"]
    assert len(lab.attempts()) == 2
    assert lab.alarm == lab.clock.now() + timedelta(seconds=LAUNCH_SECONDS)
