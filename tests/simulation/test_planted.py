"""Three bugs, each put into the real code in place of one component, are each caught by the invariant that is about it."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.agent.job import Job, Say
from llmlab.agent.prepare import prepare
from llmlab.agent.s3_store import Store
from llmlab.contract import Complete
from llmlab.lifecycle.run_documents import RunDocuments
from llmlab.watchdog.reconcile import Watchdog
from tests.simulation import invariants, scenario
from tests.simulation.callers import Client
from tests.simulation.scenario import Scenario
from tests.simulation.weather import InstanceFault, Strike
from tests.simulation.world import Parts, World

SEEDS = range(12)


class Careless(RunDocuments):
    """Everybody who wants to be first is."""

    def write_once(self, key: str, document: Any) -> bool:
        super().write_once(key, document)
        return True


class Tokenless(Client):
    """Every launch is a launch of its own."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._service, client._call)
        self.count = 0

    def create_fleet(self, **request: Any) -> Any:
        self.count += 1
        token = f"{request['ClientToken']}-{id(self)}-{self.count}"
        return self._call("ec2", "create_fleet", {**request, "ClientToken": token})


def restarts_twice(**tools: Any) -> Watchdog:
    """A watchdog that neither respects a claim nor gives its launches a token."""
    bucket: RunDocuments = tools["bucket"]
    return Watchdog(
        **{**tools, "bucket": Careless(bucket.client, bucket.bucket, bucket.clock), "fleet_client": Tokenless(tools["fleet_client"])}
    )


class Forgetful(Client):
    """A Scheduler that nobody has told of a deadline."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._service, client._call)

    def create_schedule(self, **_: Any) -> dict[str, Any]:
        return {}

    update_schedule = create_schedule


def forgets_deadlines(**tools: Any) -> Watchdog:
    """A watchdog that makes no schedule for what it starts, and no alarm."""
    return Watchdog(**{**tools, "scheduler": Forgetful(tools["scheduler"])})


def takes_half_a_checkpoint(job: Job, data: Store, outputs: Store, say: Say) -> int:
    """An agent that takes the newest folder of a checkpoint, whole or not."""
    step = prepare(job, data, outputs, say)
    prefix = job.keys.checkpoints
    newest = max((contract.parse_checkpoint_name(key.removeprefix(prefix).split("/")[0]) or 0 for key in outputs.keys(prefix)), default=0)
    if newest > step:
        folder = Path(job.folder.checkpoints) / contract.checkpoint_name(newest)
        for key in outputs.keys(job.keys.checkpoint(newest)):
            outputs.fetch(key, "", folder / key.rpartition("/")[2])
        (folder / contract.COMPLETE).write_text(contract.dump(Complete(newest, ())), encoding="utf-8")
    return newest


class Freezing(Scenario):
    """Every second instance freezes, its own timer with it, so that the schedule is what ends it."""

    def fate(self, attempt: int) -> InstanceFault:
        return InstanceFault(Strike.FROZEN, 1200.0) if attempt % 2 == 0 else InstanceFault(Strike.NO_NOTICE, 1200.0)


def freezing(of: Scenario) -> Scenario:
    return Freezing(**{one.name: getattr(of, one.name) for one in fields(of)})


def hard_weather(of: Scenario) -> Scenario:
    """Every event comes twice and the function's calls take their time."""
    return replace(of, weather=replace(of.weather, repeated_event=1.0, call_seconds=2.0, slow_event_seconds=2.0))


def unchanged(of: Scenario) -> Scenario:
    return of


PLANTED: Mapping[str, tuple[Parts, Any, set[str]]] = {
    "double restart": (Parts(watchdog=restarts_twice), hard_weather, {"one_live_instance", "one_instance_an_attempt"}),
    "forgotten deadline": (Parts(watchdog=forgets_deadlines), freezing, {"deadline_holds"}),
    "half checkpoint": (Parts(prepare=takes_half_a_checkpoint), unchanged, {"whole_checkpoint"}),
}


def caught(parts: Parts, change: Any) -> Iterator[str]:
    """Every invariant that a schedule of the seeds violates, once a schedule."""
    for seed in SEEDS:
        world = World(change(scenario.made(seed)), parts)
        world.play()
        yield from {one.invariant for one in invariants.check(world.after())}


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(bug: str) -> None:
    """Costs some seconds: a dozen schedules, with the bug and without."""
    parts, change, names = PLANTED[bug]
    assert not set(caught(Parts(), change)) & names
    with_bug = list(caught(parts, change))
    assert sum(name in names for name in with_bug) >= 2, with_bug
