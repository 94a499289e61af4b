"""What the watchdog does about each event. Every event about a run comes down to the same look at it: `look_after`.

Whoever writes an attempt's claim first has the right to start it; everything else may be done twice without harm. So an event that comes
twice, late, out of order or never costs at most a look, or the time until the next one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from botocore.exceptions import ClientError

from llmlab import contract, money, timers
from llmlab.contract import Attempt, ContractError, Marker, Metric, RunKeys
from llmlab.watchdog import alarm, ending, machines, prices, schedules, starting, superseding, telling
from llmlab.watchdog.decide import Decision, Mark, Resume, Wait, decide
from llmlab.watchdog.events import Changed, Deadline, Event, Sweep, Wake, Warned
from llmlab.watchdog.guard import Guard
from llmlab.watchdog.machines import Machine
from llmlab.watchdog.sight import Sight, see
from llmlab.watchdog.tools import Tools

ENDING = {"shutting-down", "terminated"}
RUNNING = "running"
ROUNDS = 3
"""How often a run is judged anew after something was done about it, before that is left to the next look."""
OVER_A_SWEEP = 5
"""How many runs that are over a sweep looks at."""
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
        sight = self._sight(event.run)
        for machine in sight.live if sight else machines.find(self.ec2, self.names, run=event.run):
            if machine.attempt == event.attempt and machine.live:
                if sight:
                    ending.end_it(self, sight, machine, "its deadline has come", contract.EndReason.TIMED_OUT)
                else:
                    ending.terminate(self, machine, "its deadline has come")
                gone[machine.id] = self.now
        self.look_after(event.run, gone)

    def warned(self, machine: Machine) -> None:
        """AWS has announced an interruption. The agent hears it too, and saves."""
        sight = self._sight(machine.run)
        self.log("warned", run=machine.run, attempt=machine.attempt, instance=machine.id, why="the agent saves")
        if sight is not None:
            telling.warn(self, sight, machine)

    def _sight(self, run: str) -> Sight | None:
        """What is known of a run, None also when its documents are not readable."""
        try:
            return see(self, run)
        except ContractError as error:
            self.log("unreadable", run=run, why=str(error))
            return None

    def sweep(self) -> None:
        """See to every run that is not over and to every instance, then say how many there are.

        Raises:
            Exception: the first that came of a run or an instance; the others were seen to.
        """
        guard = Guard(self.log)
        instances = machines.find(self.ec2, self.names)
        over = self.bucket.ended()
        runs = (self.bucket.runs() - over) | {machine.run for machine in instances if machine.run}
        for run in sorted(runs):
            known = False
            with guard.each(run=run):
                known = self._sweep_run(run, alive=any(machine.live for machine in instances if machine.run == run))
            if not known:
                self._end_strays([machine for machine in instances if machine.run == run], guard)
        self._end_strays([machine for machine in instances if not machine.run], guard)
        for run in self._some_of(sorted(over - runs)):
            with guard.each(run=run):
                if sight := self._sight(run):
                    superseding.remove(self, sight)
        alive = [machine for machine in machines.find(self.ec2, self.names) if machine.live]
        for machine in alive:
            with guard.each(run=machine.run, instance=machine.id):
                ending.mend_schedule(self, machine)
        oldest = max(((self.now - machine.launched).total_seconds() / 60 for machine in alive), default=0.0)
        if (
            instances
        ):  # a metric costs by the hours in which it is heard of; those just gone are in it, so that it falls to 0 before it is silent
            with guard.each():
                self.measure({Metric.ACTIVE_INSTANCES: len(alive), Metric.RUN_AGE_MINUTES: oldest, Metric.FAILED_RUNS: 0})
        self.log("swept", instances=len(alive), runs=len(runs))
        guard.end()

    def _some_of(self, over: Sequence[str]) -> Sequence[str]:
        """Some of the runs that are over, other ones each hour, for what nobody came to finish."""
        start = int(self.now.timestamp() // money.HOUR) * OVER_A_SWEEP % max(1, len(over))
        return [*over, *over][start : start + min(OVER_A_SWEEP, len(over))]

    def _sweep_run(self, run: str, *, alive: bool) -> bool:
        """Look after one run; False when nothing is known of it.

        Raises:
            ContractError: a document of it is not readable while an instance of it lives, so that people hear of it. Without one it is told
                by `status`, and no alarm would ever end.
        """
        try:
            return self._look_after(run, NOBODY)
        except ContractError as error:
            if alive:
                raise
            self.log("unreadable", run=run, why=str(error))
            return False

    def _end_strays(self, strays: Iterable[Machine], guard: Guard) -> None:
        """Instances of which nothing readable is written have their deadline all the same, by their tag and by their claim."""
        for machine in strays:
            with guard.each(run=machine.run, instance=machine.id):
                if machine.live and self.now.timestamp() >= min(machine.deadline(self.max_hours), self._claimed_deadline(machine)):
                    ending.terminate(self, machine, "its deadline has come")

    def _claimed_deadline(self, machine: Machine) -> float:
        """What the claim of an instance's attempt says, for ever where there is none that is readable."""
        try:
            claim = self.bucket.load(Attempt, RunKeys(machine.run).attempt(machine.attempt))
        except (ContractError, ClientError):
            claim = None
        return float(claim.deadline) if claim else math.inf

    # ------------------------------------------------------------ one run

    def look_after(self, run: str, gone: Mapping[str, datetime] = NOBODY) -> bool:
        """Do everything that is due about a run, and set its alarm clock for what will be; False when nothing is known of it.

        `gone` are instances of which an event said since when they end, which is newer than what EC2 may describe, and exact.
        """
        try:
            return self._look_after(run, gone)
        except ContractError as error:
            self.log("unreadable", run=run, why=str(error))
            return False

    def _look_after(self, run: str, gone: Mapping[str, datetime]) -> bool:
        """See `look_after`.

        Raises:
            ContractError: a document of it is not readable.
        """
        sight = see(self, run, gone)
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
        superseding.remove(self, sight)
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
        """Put a run that is over among those that ended. Last of all: no sweep looks at it again, and people have to be told first.

        A resume may have claimed the next attempt since this look, have taken the listing away already, and have set the alarm that was
        deleted here. What it claims a moment after this is asked, it takes from the list when its instance has started.
        """
        if not sight.records.over or not sight.records.marker:
            return
        if self._next_claim(sight):
            self._overtaken(sight)
            alarm.set_for(self, sight.run, self.now.timestamp())
            return
        ended = RunKeys(sight.run).ended(sight.records.marker.reason)
        if not self.bucket.keys(ended):
            self.bucket.touch(ended)

    def _overtaken(self, sight: Sight) -> None:
        self.log("wait", run=sight.run, attempt=sight.newest.number + 1, why="it has been claimed meanwhile")

    def _next_claim(self, sight: Sight) -> Attempt | None:
        """The claim of the attempt after the newest that was seen."""
        return self.bucket.load(Attempt, RunKeys(sight.run).attempt(sight.newest.number + 1))

    def mark(self, sight: Sight, decision: Mark) -> None:
        """Write the last word about a run, unless the agent was quicker."""
        records, newest, run = sight.records, sight.newest, sight.run
        keys = RunKeys(run)
        if not starting.write_end(self, decision.end):
            return
        if self._next_claim(sight):
            self._overtaken(sight)
            return
        marker = Marker(
            run, decision.reason, contract.build_timestamp(self.now), newest.number, decision.detail,
            step=decision.end.step, hours=newest.hours_before + decision.end.hours, cost=newest.cost_before + decision.end.cost,
            hint_code=decision.end.hint_code, hint_values=decision.end.hint_values,
        )  # fmt: skip
        if records.marker is not None:  # of an earlier attempt, which was resumed
            self.bucket.write(keys.failure, marker)
        elif self.bucket.load(Marker, keys.success) or not self.bucket.write_once(keys.failure, marker):
            self.log("wait", run=run, attempt=newest.number, why="its marker has come meanwhile")
            return
        self.log("marked", run=run, attempt=newest.number, reason=decision.reason, why=decision.detail)
