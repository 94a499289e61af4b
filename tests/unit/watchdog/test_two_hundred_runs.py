"""Two hundred runs that live at once: the sweep, the list and the teardown see to each."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from llmlab import contract
from llmlab.contract import RunKeys, RunState
from llmlab.ops import runs, teardown
from tests.simulation.callers import Caller, SimulatedAws
from tests.simulation.cloud import MemoryCloud
from tests.simulation.dice import SeededRandom
from tests.simulation.weather import Weather
from tests.unit.watchdog.lab import RUN, Lab

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


class Noting(MemoryCloud):
    """The account, by the way on which calls are noted."""

    def __init__(self, lab: Lab) -> None:
        vars(self).update(vars(lab.aws.cloud))
        self.lab = lab

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        return self.lab.aws._call(service, method, parameters)


def laptop(lab: Lab) -> SimulatedAws:
    return SimulatedAws(lab.aws.names, Caller("laptop", Noting(lab), SeededRandom(1), Weather(), Counter()))


def asked(lab: Lab) -> Counter[str]:
    """The calls since the account was busy, by their names."""
    return Counter(method for method, _ in lab.aws.calls)


def test_a_sweep_sees_to_each(busy: Lab) -> None:
    with pytest.raises(contract.ContractError):
        busy.wake({"sweep": True})
    looked = Counter(facts.get("run") for decision, facts in busy.logged if decision == "wait")
    assert all(looked[run] for run in NAMES)
    assert busy.logged[-1] == ("swept", {"instances": COUNT + 1, "runs": COUNT + 2})
    counted = asked(busy)
    assert COUNT < counted["describe_instances"] <= COUNT + 10, "each run is looked at by what EC2 says of it then"
    assert 5 * COUNT < sum(counted.values()) <= 15 * COUNT, counted


def test_what_has_ended_among_them_goes_on(busy: Lab) -> None:
    for run in NAMES[::10]:
        busy.kill(busy.read(contract.Attempt, RunKeys(run).attempt(1)))
    with pytest.raises(contract.ContractError):
        busy.wake({"sweep": True})
    assert all(busy.read(contract.Attempt, RunKeys(run).attempt(2)) for run in NAMES[::10])
    assert len(busy.live()) == COUNT + 1


def test_the_list_shows_each(busy: Lab) -> None:
    listed = runs.listing(laptop(busy), busy.clock.now())
    states = {one.run: one.state for one in listed.runs}
    assert {run for run, state in states.items() if state is RunState.STARTING} == set(NAMES)
    assert states["20261123-180000-zzzz"] is RunState.UNREADABLE
    assert (listed.total, listed.live) == (COUNT + 2, COUNT + 2)
    counted = asked(busy)
    assert counted["describe_instances"] == 1, "of all at once"
    assert COUNT < sum(counted.values()) <= 7 * COUNT, counted


def test_a_teardown_ends_each_and_says_so_in_its_last_word(busy: Lab) -> None:
    busy.clock.sleep(timedelta(minutes=10).total_seconds())
    aws, said = laptop(busy), list[str]()
    going_on = teardown.under_way(aws, busy.clock)
    assert {run.run for run in going_on} == {*NAMES, RUN}
    ended = teardown._end_instances(aws, busy.clock, said.append)
    assert len(ended) == COUNT + 1
    assert not busy.live()
    counted = asked(busy)
    assert (counted["terminate_instances"], counted["describe_instances"]) == (1, 5), "of all at once, and again until they are gone"
    assert COUNT < sum(counted.values()) <= 10 * COUNT, counted
    assert all(teardown._stop(aws, run, busy.clock) for run in NAMES)
    assert sum(asked(busy).values()) <= 21 * COUNT
    reasons = {busy.read(contract.Marker, RunKeys(run).failure).reason for run in NAMES}
    assert reasons == {contract.EndReason.STOPPED_BY_USER}
