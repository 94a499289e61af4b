"""Random schedules on the real code: what must hold, holds; and so much has happened in them that this says something."""

import copy
import os

import pytest

from tests.simulation import __main__ as command, invariants, many
from tests.simulation.many import ScheduleSummary
from tests.simulation.weather import Strike
from tests.simulation.world import Parts

TWENTY = 20
BATCH = int(os.environ.get("LLMLAB_SCHEDULES") or 120)
"""How many schedules a run of all tests plays. 10,000 of them take `python -m tests.simulation --schedules 10000`."""


WEATHER = (
    "events lost", "events repeated", "schedules fired", "schedules lost", "throttled calls", "lost answers", "functions that died",
    "invocations side by side", "launches that broke off", "stopped by hand", "resumed by hand",
)  # fmt: skip


@pytest.fixture(scope="module")
def twenty() -> ScheduleSummary:
    return played(ScheduleSummary(), range(TWENTY))


@pytest.fixture(scope="module")
def batch(twenty: ScheduleSummary) -> ScheduleSummary:
    return played(copy.deepcopy(twenty), range(TWENTY, BATCH))


def played(summary: ScheduleSummary, seeds: range) -> ScheduleSummary:
    for one in many.play_all(seeds):
        summary.add(one)
    return summary


def test_nothing_is_violated_in_twenty(twenty: ScheduleSummary) -> None:
    assert twenty.violations == []
    assert (twenty.schedules, twenty.checks) == (TWENTY, TWENTY * len(invariants.ALL))
    assert twenty.attempts > TWENTY


@pytest.mark.slow  # some 30 s for 120 schedules
def test_nothing_is_violated(batch: ScheduleSummary) -> None:
    assert batch.violations == []
    assert batch.schedules == BATCH
    assert batch.checks == BATCH * len(invariants.ALL)


@pytest.mark.slow  # of the same 120 schedules
def test_enough_has_happened(batch: ScheduleSummary) -> None:
    """All kinds of strikes and of bad weather, and most ways for a run to end."""
    assert batch.attempts > 2 * BATCH
    assert set(map(str, Strike)) - set(batch.interruptions) <= {str(Strike.NONE)}
    for name in WEATHER:
        assert batch.seen[name] > 0, name
    assert {"completed", "timed_out", "cost_reached", "stopped_by_user", "stalled", "training_error"} <= set(batch.ends)


def test_a_seed_is_always_the_same_schedule() -> None:
    first, second = many.make(2, Parts()), many.make(2, Parts())
    assert first.play().text(0) == second.play().text(0)
    assert len(first.history.lines) > 20


def test_a_seed_is_told_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "4"]) == 0
    out = capsys.readouterr().out
    assert "attempt 1: " in out
    assert " told notice=end" in out


def test_many_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--schedules", "2", "--seed", "4"]) == 0
    assert '"schedules": 2' in capsys.readouterr().out
