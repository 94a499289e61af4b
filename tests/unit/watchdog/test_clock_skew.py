"""The function's clock an hour fast or slow: no instance outlives its deadline, and none ends earlier than that explains."""

import dataclasses
from datetime import datetime, timedelta

import pytest

from llmlab.clock import Clock
from llmlab.contract import EndReason
from llmlab.lifecycle import one_time_schedules
from llmlab.watchdog.events import Sweep
from tests.unit.watchdog.lab import KEYS, RUN, Lab

HOUR = 3600


@dataclasses.dataclass
class Wrong(Clock):
    """Another clock, so many seconds off."""

    right: Clock
    off: float

    def now(self) -> datetime:
        return self.right.now() + timedelta(seconds=self.off)

    def sleep(self, seconds: float) -> None:
        self.right.sleep(seconds)


def sweep(lab: Lab, off: float) -> None:
    dataclasses.replace(lab.watchdog(), clock=Wrong(lab.clock, off)).wake(Sweep())


@pytest.mark.parametrize("off", [HOUR, -HOUR])
def test_a_clock_that_jumps(lab: Lab, off: float) -> None:
    attempt = lab.launch(hours_before=0.0)
    lab.wake({"sweep": True})
    for _ in range(4):
        lab.clock.sleep(HOUR)
        sweep(lab, off)
        sweep(lab, 0)
        assert lab.live(), "an hour too early at most"
    (deadline,) = [moment for name, moment in lab.schedules().items() if name == one_time_schedules.schedule_name(RUN, 1)]
    assert deadline.timestamp() == attempt.deadline, "which calls EC2 by Scheduler's clock, whatever ours says"
    lab.clock.sleep(2 * HOUR + 1)
    sweep(lab, max(0, off))
    assert not lab.live()
    assert lab.end(1).reason is EndReason.TIMED_OUT


@pytest.mark.parametrize("off", [HOUR, -HOUR])
def test_what_follows_an_interruption_has_no_more_hours_than_the_run(lab: Lab, off: float) -> None:
    first = lab.launch()
    lab.clock.sleep(2 * HOUR)
    lab.kill(first)
    sweep(lab, off)
    second = lab.attempts()[-1]
    assert second.number == 2
    used = lab.end(1).hours
    assert used == pytest.approx(2 + off / HOUR if off > 0 else 1, abs=0.02)
    right = lab.clock.now().timestamp()
    assert second.deadline - right == pytest.approx((6 - used) * HOUR + off, abs=60)
    lab.clock.sleep(second.deadline - right + 1)
    sweep(lab, 0)
    assert not [one for one in lab.live() if one["InstanceId"] == second.instance]
    assert lab.read(type(lab.end(1)), KEYS.attempt_end(2)).reason is EndReason.TIMED_OUT
