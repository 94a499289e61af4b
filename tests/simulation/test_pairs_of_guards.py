"""Any two of an instance's guards off, their services denied: one that hangs is gone within a minute of its deadline all the same.

Each guard alone, on machines that run and with the sandbox's own EventBridge and Scheduler, is `tests/sandbox/test_deadline.py`'s.
"""

import itertools
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

import pytest

from llmlab.watchdog import overdue
from tests.simulation import scenario
from tests.simulation.cloud import MemoryCloud
from tests.simulation.compute import Compute
from tests.simulation.failure import failure
from tests.simulation.function import MAX_HOURS
from tests.simulation.history import Life
from tests.simulation.scenario import LaunchLimits, Scenario, User
from tests.simulation.traces import HOUR
from tests.simulation.weather import Weather
from tests.simulation.world import BY_API, OWN, World

MINUTE = 60.0


class Guard(StrEnum):
    """`TIMER` is the machine's own, `SCHEDULE` Scheduler's at the deadline, with the alarm clock; the others are EventBridge's rules."""

    TIMER = "timer"
    SCHEDULE = "schedule"
    SWEEP = "sweep"
    OVERDUE = "overdue"


PAIRS = list(itertools.combinations(Guard, 2))


class Denying(MemoryCloud):
    """An account that denies every call of some services."""

    denied: frozenset[str] = frozenset()

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        if service in self.denied:
            raise failure("AccessDeniedException", f"User is not authorized to perform: {service}:{method}", method, 403)
        return super().call(service, method, parameters)


class Guarded(World):
    """A run whose user data hang for ever, and the rule of every minute beside everything else. `off` are denied once it is launched."""

    def __init__(self, seed: int, off: frozenset[Guard]) -> None:
        super().__init__(hanging(seed, timer=Guard.TIMER not in off), cloud=_account)
        self.off = off

    def let_be(self) -> Life:
        """The life of its instance, some hours after its deadline."""
        try:
            self.timeline.after(0, self._launch)
            self.timeline.after(MINUTE, self._deny)
            self.timeline.after(self.dice.between(MINUTE, HOUR, "first sweep"), self._sweep)
            self.timeline.after(self.dice.between(MINUTE, 2 * MINUTE, "first look"), self._look)
            self.timeline.run_until(self.scenario.begin.timestamp() + 5 * HOUR)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        (life,) = self.history.lives
        return life

    def _deny(self) -> None:
        if Guard.SCHEDULE in self.off:
            self.cloud.denied = frozenset({"scheduler"})  # type: ignore[attr-defined]
            self.deliveries.certain = lambda: False
            self.deliveries.weather = replace(self.weather, lost_schedule=1.0)
        if {Guard.SWEEP, Guard.OVERDUE} <= self.off:
            self.deliveries.emit = lambda *_: None  # type: ignore[method-assign] # EventBridge, which has all rules

    def _sweep(self) -> None:
        if Guard.SWEEP not in self.off:
            super()._sweep()

    def _look(self) -> None:
        if Guard.OVERDUE not in self.off:
            self.timeline.after(MINUTE, self._look)
            ec2 = self._invocation(0).client("ec2")
            overdue.look(ec2, self.names, MAX_HOURS, self.timeline, lambda decision, **_: self.note("overdue", decision))


def hanging(seed: int, *, timer: bool) -> Scenario:
    """Two hours on demand on a calm day, and nothing gets as far as an agent."""
    return replace(
        scenario.made(seed),
        limits=LaunchLimits(spot=False, max_hours=2),
        weather=Weather(late_schedule_seconds=59, broken_timer=0.0 if timer else 1.0),
        setup_seconds=1000 * HOUR,
        interruption_hours=math.inf,
        trouble=0.0,
        user=User(),
    )


def _account(timeline: Any, scenario: Scenario, names: Any) -> Denying:
    return Denying(Compute(timeline, scenario.market, scenario.pools, names))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("off", PAIRS, ids="+".join)
def test_without_any_two_the_others_end_it_within_a_minute(off: tuple[Guard, Guard], seed: int) -> None:
    life = Guarded(seed, frozenset(off)).let_be()
    assert life.stopped is not None
    assert 0 <= life.stopped - life.deadline <= MINUTE
    assert life.cause == (BY_API if Guard.TIMER in off else OWN)


@pytest.mark.parametrize("alone", [Guard.TIMER, Guard.SCHEDULE, Guard.OVERDUE])
def test_each_that_is_exact_to_the_minute_does_alone(alone: Guard) -> None:
    life = Guarded(1, frozenset(Guard) - {alone}).let_be()
    assert life.stopped is not None
    assert 0 <= life.stopped - life.deadline <= MINUTE


def test_the_sweep_alone_does_within_its_hour() -> None:
    """So that these tests would see an instance that lives on."""
    life = Guarded(1, frozenset(Guard) - {Guard.SWEEP}).let_be()
    assert life.stopped is not None
    assert MINUTE < life.stopped - life.deadline <= HOUR


def test_without_any_it_lives_on() -> None:
    assert Guarded(1, frozenset(Guard)).let_be().stopped is None


def test_there_are_six_pairs() -> None:
    assert len(PAIRS) == 6
