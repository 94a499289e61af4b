"""The snapshot of a run: its documents, its instances as EC2 describes them, prices, and the time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, PricePoint, RunKeys
from llmlab.lifecycle import billing, create_fleet, instances
from llmlab.lifecycle.create_fleet import VISIBLE_SECONDS
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import WATCHDOG, Records
from llmlab.watchdog import usage
from llmlab.watchdog.dependencies import Tools
from llmlab.watchdog.usage import UsageMeter

ENDING = "shutting-down"


@dataclass(frozen=True)
class RunSnapshot:
    """A run with at least one attempt, at the time `now`. `history` is the spot prices of the newest attempt's pool."""

    records: Records
    machines: tuple[Instance, ...]
    now: datetime
    history: tuple[PricePoint, ...] = ()

    @property
    def run(self) -> str:
        return self.records.spec.run

    @property
    def newest(self) -> Attempt:
        return self.records.attempts[-1]

    @property
    def end(self) -> AttemptEnd | None:
        """The end of the newest attempt, None while it has none."""
        return self.records.ends.get(self.newest.number)

    @property
    def live(self) -> tuple[Instance, ...]:
        return tuple(instance for instance in self.machines if instance.alive)

    @property
    def mine(self) -> Instance | None:
        """The newest attempt's instance: the one that its claim names, else one with its tag, a live one before others."""
        candidates = [instance for instance in self.machines if instance.attempt == self.newest.number]
        return min(candidates, key=lambda instance: (instance.id != self.newest.instance, not instance.alive), default=None)

    def deadline(self, instance: Instance, default_hours: float) -> float:
        """When an instance must be terminated, in seconds since 1970: by its tag, and never later than its attempt's claim says."""
        claimed = [float(attempt.deadline) for attempt in self.records.attempts if attempt.number == instance.attempt]
        return min([instance.deadline(default_hours), *claimed])

    @property
    def meter(self) -> UsageMeter | None:
        """The usage of the newest attempt's instance while it lives, else None."""
        if self.mine is None or not self.mine.alive:
            return None
        return usage.read(self.records.spec, self.newest, self.mine, self.history, self.now)


def load_snapshot(tools: Tools, run: str, gone: Mapping[str, datetime] = MappingProxyType({})) -> RunSnapshot | None:
    """Load the snapshot of a run; None when it has no spec or no attempt.

    `gone` maps the ids of instances that are known to end to the time, though EC2 may not show it yet.

    Raises:
        ContractError: a document of the run is not readable.
    """
    if not contract.RUN_ID.fullmatch(run):
        return None
    machines = tuple(  # before the documents, so that all that an ended instance has written is seen
        _ended(instance, gone.get(instance.id)) for instance in instances.find(tools.ec2, tools.names, run=run)
    )
    records = tools.bucket.records(run)
    if records is None or not records.attempts:
        return None
    snapshot = RunSnapshot(records, machines, tools.now)
    if snapshot.mine and (snapshot.mine.alive or snapshot.end is None):
        snapshot = replace(snapshot, history=tools.spot_history(snapshot.mine))
    return _with_its_instance(tools, snapshot)


def _ended(instance: Instance, at: datetime | None) -> Instance:
    """An instance, ended at `at` where an event said so: EC2 may still show it as running, and gives a time only for API terminations."""
    return instance if at is None else replace(instance, state=ENDING if instance.alive else instance.state, ended=instance.ended or at)


def _with_its_instance(tools: Tools, snapshot: RunSnapshot) -> RunSnapshot:
    """Complete the newest claim with the instance that carries its tag, where the starter died before writing it.

    A start from the command line is given time to write it itself.
    """
    newest, mine = snapshot.newest, snapshot.mine
    if newest.instance or mine is None or snapshot.end is not None:
        return snapshot
    if newest.by != WATCHDOG and (snapshot.now - mine.launched).total_seconds() < VISIBLE_SECONDS:
        return snapshot
    known = usage.price_at_start(snapshot.records.spec, newest, mine)
    completed = replace(
        newest, instance=mine.id, instance_type=mine.instance_type, zone=mine.zone, spot=mine.spot,
        price=billing.price_now(snapshot.history, mine.launched, known), launched=contract.build_timestamp(mine.launched),
        gpus=create_fleet.gpus_of(snapshot.records.spec.pools, mine.instance_type),
    )  # fmt: skip
    tools.bucket.write(RunKeys(newest.run).attempt(newest.number), completed)
    tools.log("found", run=newest.run, attempt=newest.number, instance=mine.id, why="its start was cut short before this was written")
    return replace(snapshot, records=replace(snapshot.records, attempts=(*snapshot.records.attempts[:-1], completed)))
