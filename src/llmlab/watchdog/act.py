"""What the watchdog does about each event. Every event about a run comes down to the same look at it: `look_after`.

Whoever writes an attempt's claim first has the right to start it; everything else may be done twice without harm. So an event that comes
twice, late, out of order or never costs at most a look, or the time until the next one.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from botocore.exceptions import ClientError

from llmlab import contract, timers
from llmlab.contract import Attempt, ContractError, Marker, Metric, RunKeys
from llmlab.watchdog import alarm, ending, machines, prices, schedules, starting, telling
from llmlab.watchdog.decide import Decision, Mark, Resume, Wait, decide
from llmlab.watchdog.events import Changed, Deadline, Event, Sweep, Wake, Warned
from llmlab.watchdog.machines import Machine
from llmlab.watchdog.sight import Sight, see
from llmlab.watchdog.tools import Tools

ENDING = {"shutting-down", "terminated"}
RUNNING = "running"
ROUNDS = 3
"""How often a run is judged anew after something was done about it, before that is left to the next look."""
NOBODY: Mapping[str, datetime] = MappingProxyType({})


class Watchdog(Tools):
    """See `wake`, then `look_after`."""

    def wake(self, event: Event) -> None:
        """Do what an event asks for."""
        if isinstance(event, Sweep):
            self.sweep()
        elif isinstance(event, Deadline):
            self.deadline(event)
        elif isinstance(event, Wake):
            self.look_after(event.run)
        elif isinstance(event, Changed) and event.state in {*ENDING, RUNNING}:
            for machine in machines.find(self.ec2, self.names, instance=event.instance):
                self.look_after(machine.run, {machine.id: event.at or self.now} if event.state in ENDING else NOBODY)
        elif isinstance(event, Warned):
            for machine in machines.find(self.ec2, self.names, instance=event.instance):
                self.warned(machine)
        else:
            self.log("ignored", why=str(event))

    def deadline(self, event: Deadline) -> None:
        """The schedule went off before it was aimed at the instance: end that attempt's instance, and no other."""
        gone = {}
        sight = see(self, event.run)
        for machine in sight.live if sight else ():
            if sight and machine.attempt == event.attempt:
                ending.end_it(self, sight, machine, "its deadline has come", contract.EndReason.TIMED_OUT)
                gone[machine.id] = self.now
        self.look_after(event.run, gone)

    def warned(self, machine: Machine) -> None:
        """AWS has announced an interruption. The agent hears it too, and saves."""
        sight = see(self, machine.run)
        self.log("warned", run=machine.run, attempt=machine.attempt, instance=machine.id, why="the agent saves")
        if sight is not None:
            telling.warn(self, sight, machine)

    def sweep(self) -> None:
        """See to every run that is not over and to every instance, then say how many there are.

        Raises:
            ClientError: of the first run that could not be looked after; the others were.
        """
        found = machines.find(self.ec2, self.names)
        runs = (self.bucket.runs() - self.bucket.ended()) | {machine.run for machine in found if machine.run}
        failed: list[ClientError] = []
        for machine in found:
            if machine.live and self.now.timestamp() >= machine.deadline(self.max_hours) and machine.run not in runs:
                ending.terminate(self, machine, "its deadline has come")
        for run in sorted(runs):
            try:
                if not self.look_after(run):
                    self._end_strays(run, found)
            except ClientError as error:
                self.log("failed", run=run, why=str(error))
                failed.append(error)
        alive = [machine for machine in machines.find(self.ec2, self.names) if machine.live]
        for machine in alive:
            ending.mend_schedule(self, machine)
        oldest = max(((self.now - machine.launched).total_seconds() / 60 for machine in alive), default=0.0)
        if (
            found
        ):  # a metric costs by the hours in which it is heard of; those just gone are in it, so that it falls to 0 before it is silent
            self.measure({Metric.ACTIVE_INSTANCES: len(alive), Metric.RUN_AGE_MINUTES: oldest, Metric.FAILED_RUNS: 0})
        self.log("swept", instances=len(alive), runs=len(runs))
        if failed:
            raise failed[0]

    def _end_strays(self, run: str, found: list[Machine]) -> None:
        """Instances of a run of which nothing readable is written have their deadline all the same."""
        for machine in found:
            if machine.run == run and machine.live and self.now.timestamp() >= machine.deadline(self.max_hours):
                ending.terminate(self, machine, "its deadline has come")

    # ------------------------------------------------------------ one run

    def look_after(self, run: str, gone: Mapping[str, datetime] = NOBODY) -> bool:
        """Do everything that is due about a run, and set its alarm clock for what will be; False when nothing is known of it.

        `gone` are instances of which an event said since when they end, which is newer than what EC2 may describe, and exact.
        """
        try:
            sight = see(self, run, gone)
        except ContractError as error:
            self.log("unreadable", run=run, why=str(error))
            return False
        if sight is None:
            self.log("ignored", run=run, why="no such run is written")
            return False
        if ended := ending.end_what_must(self, sight):
            gone = {**dict.fromkeys(ended, self.now), **gone}
            sight = see(self, run, gone) or sight
        decision: Decision = self._judge(sight)
        for _ in range(ROUNDS):
            if isinstance(decision, Wait):
                break
            self._act(sight, decision)
            sight = see(self, run, gone) or sight
            decision = self._judge(sight)
        until = decision.until if isinstance(decision, Wait) else self.now
        if isinstance(decision, Wait):
            self.log("wait", run=run, attempt=sight.newest.number, why=decision.why)
        self._set_alarm(sight, alarm.next_look(sight, until, self.max_hours))
        if telling.tell(self, sight):
            self._list(sight)
        else:
            alarm.set_for(self, run, self.now.timestamp())  # should the other call die before it has told
        return True

    def _judge(self, sight: Sight) -> Decision:
        if sight.records.over or sight.live:
            return decide(sight, 0, {})
        return decide(sight, self.bucket.checkpoint(sight.run), prices.now(self, sight.records.spec.pools, self.now))

    def _act(self, sight: Sight, decision: Mark | Resume) -> None:
        if isinstance(decision, Mark):
            self.mark(sight, decision)
        else:
            starting.start(self, sight, decision)

    def _set_alarm(self, sight: Sight, moment: float | None) -> None:
        """The alarm for a run that goes on; a run that is over has neither alarm nor deadline any more."""
        if moment is not None:
            alarm.set_for(self, sight.run, moment)
        elif sight.records.over and sight.records.marker:
            schedules.delete(self, timers.wake_name(sight.run))
            for attempt in sight.records.attempts:  # not of the newest alone: who claimed the one after it may have died before this
                if attempt.deadline > self.now.timestamp():
                    schedules.delete_deadline(self, attempt)

    def _list(self, sight: Sight) -> None:
        """Put a run that is over among those that ended. Last of all: no sweep looks at it again, and people have to be told first."""
        if sight.records.over and sight.records.marker:
            ended = RunKeys(sight.run).ended(sight.records.marker.reason)
            if not self.bucket.keys(ended):
                self.bucket.touch(ended)

    def mark(self, sight: Sight, decision: Mark) -> None:
        """Write the last word about a run, unless the agent was quicker."""
        records, newest, run = sight.records, sight.newest, sight.run
        keys = RunKeys(run)
        if not starting.write_end(self, decision.end):
            return
        if self.bucket.load(Attempt, keys.attempt(newest.number + 1)):
            self.log("wait", run=run, attempt=newest.number + 1, why="it has been claimed meanwhile")
            return
        marker = Marker(
            run, decision.reason, contract.build_timestamp(self.now), newest.number, decision.detail,
            step=decision.end.step, hours=newest.hours_before + decision.end.hours, cost=newest.cost_before + decision.end.cost,
        )  # fmt: skip
        if records.marker is not None:  # of an earlier attempt, which was resumed
            self.bucket.write(keys.failure, marker)
        elif self.bucket.load(Marker, keys.success) or not self.bucket.write_once(keys.failure, marker):
            self.log("wait", run=run, attempt=newest.number, why="its marker has come meanwhile")
            return
        self.log("marked", run=run, attempt=newest.number, reason=decision.reason, why=decision.detail)
