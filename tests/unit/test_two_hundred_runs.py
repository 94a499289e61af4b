"""Two hundred runs that live at once: the sweep, the list and the teardown see to each."""

from collections import Counter
from datetime import timedelta

import pytest

from llmlab import contract
from llmlab.contract import RunKeys, RunState
from llmlab.ops import runs
from llmlab.ops.teardown import _end_instances
from llmlab.sandbox.simulation.callers import Caller, SimulatedAws
from llmlab.sandbox.simulation.dice import Dice
from llmlab.sandbox.simulation.weather import Weather

from .watchdog_lab import Lab

COUNT = 200
NAMES = [f"20261123-1{number // 60:01d}{number % 60:02d}00-{number:04d}" for number in range(COUNT)]


@pytest.fixture
def busy(lab: Lab) -> Lab:
    """Each with its claim and its instance, and one more that was never started; another cannot be read, and its instance has odd tags."""
    for run in NAMES:
        lab.launch(run=run)
    odd = lab.launch(run="20261123-180000-zzzz")
    lab.put(RunKeys(odd.run).failure, b"[[[[")
    lab.tag(odd, Deadline="\u00b2", Attempt="\u00b2")
    lab.aws.calls.clear()
    return lab


def laptop(lab: Lab, calls: Counter[str]) -> SimulatedAws:
    return SimulatedAws(lab.aws.names, Caller("laptop", lab.aws.cloud, Dice(1), Weather(), calls))


def test_a_sweep_sees_to_each(busy: Lab) -> None:
    with pytest.raises(contract.ContractError):
        busy.wake({"sweep": True})
    looked = Counter(facts.get("run") for decision, facts in busy.logged if decision == "wait")
    assert all(looked[run] for run in NAMES)
    assert busy.logged[-1] == ("swept", {"instances": COUNT + 1, "runs": COUNT + 2})
    asked = Counter(method for method, _ in busy.aws.calls)
    assert asked["describe_instances"] <= COUNT + 10
    assert sum(asked.values()) <= 30 * COUNT, asked


def test_what_has_ended_among_them_goes_on(busy: Lab) -> None:
    for run in NAMES[::10]:
        busy.kill(busy.read(contract.Attempt, RunKeys(run).attempt(1)))
    with pytest.raises(contract.ContractError):
        busy.wake({"sweep": True})
    assert all(busy.read(contract.Attempt, RunKeys(run).attempt(2)) for run in NAMES[::10])
    assert len(busy.live()) == COUNT + 1


def test_the_list_shows_each(busy: Lab) -> None:
    listed = runs.listing(laptop(busy, Counter()), busy.clock.now())
    states = {one.run: one.state for one in listed.runs}
    assert {run for run, state in states.items() if state is RunState.STARTING} == set(NAMES)
    assert states["20261123-180000-zzzz"] is RunState.UNREADABLE
    assert (listed.total, listed.live) == (COUNT + 2, COUNT + 2)
    asked = Counter(method for method, _ in busy.aws.calls)
    assert asked["describe_instances"] <= 1


def test_a_teardown_ends_each(busy: Lab) -> None:
    busy.clock.sleep(timedelta(minutes=10).total_seconds())
    said: list[str] = []
    ended = _end_instances(laptop(busy, Counter()), busy.clock, said.append)
    assert len(ended) == COUNT + 1
    assert not busy.live()
