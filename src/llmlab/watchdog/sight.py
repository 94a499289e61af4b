"""Everything that is known about a run at one look: what is written, what EC2 says, prices, and the time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from llmlab import contract, fleet, money
from llmlab.contract import Attempt, AttemptEnd, PricePoint, RunKeys
from llmlab.fleet import VISIBLE_SECONDS
from llmlab.watchdog import ceilings, machines, prices
from llmlab.watchdog.ceilings import Meter
from llmlab.watchdog.machines import Machine
from llmlab.watchdog.records import WATCHDOG, Records
from llmlab.watchdog.tools import Tools

ENDING = "shutting-down"


@dataclass(frozen=True)
class Sight:
    """A run with at least one attempt. `history` is of the spot price of the newest attempt's pool."""

    records: Records
    machines: tuple[Machine, ...]
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
        """Of the newest attempt."""
        return self.records.ends.get(self.newest.number)

    @property
    def live(self) -> tuple[Machine, ...]:
        return tuple(machine for machine in self.machines if machine.live)

    @property
    def mine(self) -> Machine | None:
        """The newest attempt's instance: the one it names, else one with its tag, a living one before others."""
        candidates = [machine for machine in self.machines if machine.attempt == self.newest.number]
        return min(candidates, key=lambda machine: (machine.id != self.newest.instance, not machine.live), default=None)

    def deadline(self, machine: Machine, default_hours: float) -> float:
        """When an instance must be gone, in seconds since 1970: by its tag, and never later than its attempt's claim says."""
        claimed = [float(attempt.deadline) for attempt in self.records.attempts if attempt.number == machine.attempt]
        return min([machine.deadline(default_hours), *claimed])

    @property
    def meter(self) -> Meter | None:
        """Of the newest attempt's instance while it lives."""
        if self.mine is None or not self.mine.live:
            return None
        return ceilings.read(self.records.spec, self.newest, self.mine, self.history, self.now)


def see(tools: Tools, run: str, gone: Mapping[str, datetime] = MappingProxyType({})) -> Sight | None:
    """Look at a run; None when nothing is written of it.

    `gone` are instances that are known to end, and since when, though EC2 may not say so yet.

    Raises:
        ContractError: a document of it is not readable.
    """
    if not contract.RUN_ID.fullmatch(run):
        return None
    instances = tuple(  # before the documents: what an instance that is gone has written is there, then
        _ended(machine, gone.get(machine.id)) for machine in machines.find(tools.ec2, tools.names, run=run)
    )
    records = tools.bucket.records(run)
    if records is None or not records.attempts:
        return None
    sight = Sight(records, instances, tools.now)
    if sight.mine and (sight.mine.live or sight.end is None):
        sight = replace(sight, history=prices.history(tools, sight.mine))
    return _with_its_instance(tools, sight)


def _ended(machine: Machine, at: datetime | None) -> Machine:
    """An instance as an event told of it: EC2 may still call it running, and names the moment only of what was terminated by a call."""
    return machine if at is None else replace(machine, state=ENDING if machine.live else machine.state, ended=machine.ended or at)


def _with_its_instance(tools: Tools, sight: Sight) -> Sight:
    """The attempt's claim with the instance that carries its tag, where who started it did not come to write that down.

    A start by hand is given its time for it.
    """
    newest, mine = sight.newest, sight.mine
    if newest.instance or mine is None or sight.end is not None:
        return sight
    if newest.by != WATCHDOG and (sight.now - mine.launched).total_seconds() < VISIBLE_SECONDS:
        return sight
    known = ceilings.price_at_start(sight.records.spec, newest, mine)
    completed = replace(
        newest, instance=mine.id, instance_type=mine.instance_type, zone=mine.zone, spot=mine.spot,
        price=money.price_now(sight.history, mine.launched, known), launched=contract.build_timestamp(mine.launched),
        gpus=fleet.gpus_of(sight.records.spec.pools, mine.instance_type),
    )  # fmt: skip
    tools.bucket.write(RunKeys(newest.run).attempt(newest.number), completed)
    tools.log("found", run=newest.run, attempt=newest.number, instance=mine.id, why="its start was cut short before this was written")
    return replace(sight, records=replace(sight.records, attempts=(*sight.records.attempts[:-1], completed)))
