"""Every invariant is tripped by what it is about, and by nothing in a run that went well."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from llmlab import contract
from llmlab.contract import ADAPTER, Attempt, AttemptEnd, EndReason, Marker, RunKeys
from tests.simulation import invariants, scenario
from tests.simulation.cloud import MemoryCloud
from tests.simulation.compute import Compute
from tests.simulation.history import History, Life
from tests.simulation.invariants import After
from tests.simulation.timeline import Timeline
from tests.simulation.trainer import PARTS, content
from tests.simulation.weather import Weather
from tests.simulation.world import NAMES

RUN = "20261102-080000-0001"
KEYS = RunKeys(RUN)
BUCKET = NAMES.outputs_bucket
BEGIN = scenario.BEGIN.timestamp()
AT = contract.build_timestamp(scenario.BEGIN)


@dataclass
class Case:
    """A run of one hour on one instance that completed, and everything that can be spoiled about it."""

    after: After
    life: Life
    cloud: MemoryCloud

    def write(self, key: str, document: Any) -> None:
        body = document if isinstance(document, bytes) else contract.dump(document).encode()
        self.cloud.storage.put_object(Bucket=BUCKET, Key=key, Body=body)

    @property
    def violated(self) -> set[str]:
        return {one.invariant for one in invariants.check(self.after)}


@pytest.fixture
def case() -> Case:
    made = replace(scenario.made(1), weather=Weather())
    steps = made.course.steps
    trace = next(iter(made.market.traces.values()))
    life = Life(
        "i-1", 1, trace, False, BEGIN, BEGIN + 7200, stopped=BEGIN + 3600, terminated=BEGIN + 3660, began_at=0, step=steps, safe=steps
    )
    cloud = MemoryCloud(Compute(Timeline(made.begin), made.market, made.pools, NAMES))
    cloud.control.published.append((f"lab: run {RUN} succeeded", ""))
    found = Case(After(made, History([life]), cloud, BUCKET, RUN), life, cloud)
    cost = life.dollars(invariants.CHARGED)
    found.write(
        KEYS.attempt(1), Attempt(RUN, 1, AT, int(BEGIN) + 7200, spot=False, by="launch", max_hours=2, max_cost=100.0, instance="i-1")
    )
    found.write(KEYS.attempt_end(1), AttemptEnd(RUN, 1, EndReason.COMPLETED, AT, hours=1.0, cost=cost))
    found.write(KEYS.success, Marker(RUN, EndReason.COMPLETED, AT, 1, step=steps))
    found.write(f"{KEYS.output}{ADAPTER}/{PARTS[0]}", content(PARTS[0], steps))
    return found


def another(case: Case, **changes: Any) -> None:
    case.after.history.lives.append(replace(case.life, instance="i-2", **changes))


def claim(case: Case, **changes: Any) -> None:
    case.write(KEYS.attempt(1), replace(case.after.attempts[0], **changes))


def ended(case: Case, **changes: Any) -> None:
    end = case.after.end(1)
    assert end is not None
    case.write(KEYS.attempt_end(1), replace(end, **changes))


SPOILED: dict[str, Callable[[Case], object]] = {
    "one_live_instance": lambda case: case.after.history.together.append(("i-1", "i-2")),
    "one_instance_an_attempt": another,
    "claimed": lambda case: another(case, attempt=2),
    "deadline_holds": lambda case: setattr(case.life, "deadline", BEGIN + 3600 - 61),
    "hours_hold": lambda case: claim(case, max_hours=0.9),
    "ceiling_holds": lambda case: claim(case, max_cost=0.1),
    "ends_or_resumable": lambda case: case.cloud.storage.delete_object(Bucket=BUCKET, Key=KEYS.success),
    "whole_checkpoint": lambda case: setattr(case.life, "whole", False),
    "newest_checkpoint": lambda case: another(case, began_at=case.life.safe - 1),
    "needed_checkpoints_stay": lambda case: case.after.history.saved.add(10),
    "work_lost": lambda case: setattr(case.life, "safe", 0),
    "nothing_left": lambda case: setattr(case.life, "terminated", None),
    "told": lambda case: case.cloud.control.published.clear(),
    "cost_agrees": lambda case: ended(case, cost=0.0),
    "finished_right": lambda case: case.write(f"{KEYS.output}{ADAPTER}/{PARTS[0]}", content(PARTS[0], 1)),
}


def test_a_run_that_went_well_violates_none(case: Case) -> None:
    assert case.violated == set()


def test_every_invariant_has_its_case() -> None:
    assert set(SPOILED) == {one.__name__ for one in invariants.ALL}


@pytest.mark.parametrize("name", SPOILED)
def test_it_is_tripped_by_what_it_is_about(case: Case, name: str) -> None:
    SPOILED[name](case)
    assert name in case.violated


def test_too_many_checkpoints_are_seen(case: Case) -> None:
    for step in range(1, case.after.scenario.keep + 3):
        case.write(f"{KEYS.checkpoint(step)}{PARTS[0]}", content(PARTS[0], step))
    assert case.violated == set()
    case.write(f"{KEYS.checkpoint(100)}{PARTS[0]}", b"")
    assert case.violated == {"needed_checkpoints_stay"}


def test_a_schedule_that_is_left_over_is_seen(case: Case) -> None:
    case.cloud.control.one_time["left"] = {"ScheduleExpression": "at(2026-11-25T10:00:00)", "Target": {"Arn": "a", "Input": "{}"}}
    assert case.violated == {"nothing_left"}


def test_an_end_that_is_told_twice_for_no_reason_is_seen(case: Case) -> None:
    case.cloud.control.published *= 2
    assert case.violated == {"told"}
    case.after.history.seen["functions that failed"] += 1
    assert case.violated == set()
