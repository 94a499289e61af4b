"""Event handling of the watchdog. Every event about a run leads to the same reconciliation of that run: `look_after`.

Whoever writes an attempt's claim first has the right to start it; everything else may be done twice without harm. So an event that comes
twice, late, out of order or never costs at most one reconciliation, or the time until the next one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from botocore.exceptions import ClientError

from llmlab import contract
from llmlab.contract import Attempt, ContractError, Marker, Metric, RunKeys
from llmlab.lifecycle import billing, finish_run, instances, one_time_schedules
from llmlab.lifecycle.instances import Instance
from llmlab.watchdog import checkpoint_retention, followup, notifications, start_attempt, termination
from llmlab.watchdog.dependencies import Tools
from llmlab.watchdog.events import Changed, Deadline, Event, Sweep, Wake, Warned
from llmlab.watchdog.guard import Guard
from llmlab.watchdog.policy import Decision, Mark, Resume, Wait, decide
from llmlab.watchdog.run_snapshot import RunSnapshot, load_snapshot

ENDING = {"shutting-down", "terminated"}
RUNNING = "running"
ROUNDS = 3
"""How often a run is judged again within one call after something was done about it; the rest is left to the next call."""
OVER_A_SWEEP = 5
"""How many finished runs one sweep checks."""
NOBODY: Mapping[str, datetime] = MappingProxyType({})


class Watchdog(Tools):
    """Handles one event at a time: `wake` is the entry, `look_after` reconciles one run."""

    def wake(self, event: Event) -> None:
        """Handle one event."""
        if isinstance(event, Sweep):
            self.sweep()
        elif isinstance(event, Deadline):
            self.deadline(event)
        elif isinstance(event, Wake):
            self.look_after(event.run)
        elif isinstance(event, Changed) and event.state in {*ENDING, RUNNING}:
            for instance in instances.find(self.ec2, self.names, instance=event.instance):
                self.look_after(instance.run, {instance.id: event.at or self.now} if event.state in ENDING else NOBODY)
        elif isinstance(event, Warned):
            for instance in instances.find(self.ec2, self.names, instance=event.instance):
                self.warned(instance)
        else:
            self.log("ignored", why=str(event))

    def deadline(self, event: Deadline) -> None:
        """Terminate the instance of the attempt whose deadline schedule fired before it was aimed at an instance, and no other."""
        gone = {}
        snapshot = self._snapshot(event.run)
        for instance in snapshot.live if snapshot else instances.find(self.ec2, self.names, run=event.run):
            if instance.attempt == event.attempt and instance.alive:
                if snapshot:
                    termination.end_it(self, snapshot, instance, "its deadline has come", contract.EndReason.TIMED_OUT)
                else:
                    termination.terminate(self, instance, "its deadline has come")
                gone[instance.id] = self.now
        self.look_after(event.run, gone)

    def warned(self, instance: Instance) -> None:
        """Notify about a spot interruption that AWS has announced. The agent gets the same warning and saves by itself."""
        snapshot = self._snapshot(instance.run)
        self.log("warned", run=instance.run, attempt=instance.attempt, instance=instance.id, why="the agent saves")
        if snapshot is not None:
            notifications.notify_interruption(self, snapshot, instance)

    def _snapshot(self, run: str) -> RunSnapshot | None:
        """The snapshot of a run; None when it has no spec or its documents are not readable."""
        try:
            return load_snapshot(self, run)
        except ContractError as error:
            self.log("unreadable", run=run, why=str(error))
            return None

    def sweep(self) -> None:
        """Reconcile every unfinished run and every instance of the lab, then publish how many instances live.

        Raises:
            Exception: the first error of a run or an instance; all others were reconciled.
        """
        guard = Guard(self.log)
        every = instances.find(self.ec2, self.names)
        over = self.bucket.over()
        runs = ({*self.bucket.runs()} - over) | {instance.run for instance in every if instance.run}
        for run in sorted(runs):
            known = False
            with guard.each(run=run):
                known = self._sweep_run(run, alive=any(instance.alive for instance in every if instance.run == run))
            if not known:
                self._end_strays([instance for instance in every if instance.run == run], guard)
        self._end_strays([instance for instance in every if not instance.run], guard)
        for run in self._some_of(sorted(over - runs)):
            with guard.each(run=run):
                if snapshot := self._snapshot(run):
                    checkpoint_retention.remove(self, snapshot)
        alive = [instance for instance in instances.find(self.ec2, self.names) if instance.alive]
        for instance in alive:
            with guard.each(run=instance.run, instance=instance.id):
                termination.mend_schedule(self, instance)
        oldest = max(((self.now - instance.launched).total_seconds() / 60 for instance in alive), default=0.0)
        if every:  # a metric costs by the hours in which it is heard of; those just gone are in it, so that it falls to 0 first
            with guard.each():
                self.measure({Metric.ACTIVE_INSTANCES: len(alive), Metric.RUN_AGE_MINUTES: oldest, Metric.FAILED_RUNS: 0})
        self.log("swept", instances=len(alive), runs=len(runs))
        guard.end()

    def _some_of(self, over: Sequence[str]) -> Sequence[str]:
        """A few of the finished runs, others each hour, to complete cleanup that an earlier call did not get to."""
        start = int(self.now.timestamp() // billing.HOUR) * OVER_A_SWEEP % max(1, len(over))
        return [*over, *over][start : start + min(OVER_A_SWEEP, len(over))]

    def _sweep_run(self, run: str, *, alive: bool) -> bool:
        """Reconcile one run; False when its documents do not exist or are not readable.

        Raises:
            ContractError: a document is not readable while an instance of the run lives, so that the alarm on errors notifies people.
                Without an instance `status` shows it, and the alarm would never end.
        """
        try:
            return self._look_after(run, NOBODY)
        except ContractError as error:
            if alive:
                raise
            self.log("unreadable", run=run, why=str(error))
            return False

    def _end_strays(self, strays: Iterable[Instance], guard: Guard) -> None:
        """Terminate overdue instances even when their run's documents cannot be read: the tag and the claim name the deadline."""
        for instance in strays:
            with guard.each(run=instance.run, instance=instance.id):
                if instance.alive and self.now.timestamp() >= min(instance.deadline(self.max_hours), self._claimed_deadline(instance)):
                    termination.terminate(self, instance, "its deadline has come")

    def _claimed_deadline(self, instance: Instance) -> float:
        """The deadline in the claim of an instance's attempt, in seconds since 1970; infinity where no claim is readable."""
        try:
            claim = self.bucket.load(Attempt, RunKeys(instance.run).attempt(instance.attempt))
        except (ContractError, ClientError):
            claim = None
        return float(claim.deadline) if claim else math.inf

    # ------------------------------------------------------------ one run

    def look_after(self, run: str, gone: Mapping[str, datetime] = NOBODY) -> bool:
        """Reconcile a run and schedule its next follow-up; False when its documents do not exist or are not readable.

        `gone` maps instance ids to the time an event gave for their end, which is exact and newer than what EC2 may describe.
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
        snapshot = load_snapshot(self, run, gone)
        if snapshot is None:
            self.log("ignored", run=run, why="no such run is written")
            return False
        if ended := termination.end_what_must(self, snapshot):
            gone = {**dict.fromkeys(ended, self.now), **gone}
            snapshot = load_snapshot(self, run, gone) or snapshot
        decision: Decision = self._judge(snapshot)
        for _ in range(ROUNDS):
            if isinstance(decision, Wait):
                break
            self._act(snapshot, decision)
            snapshot = load_snapshot(self, run, gone) or snapshot
            decision = self._judge(snapshot)
        until = decision.until if isinstance(decision, Wait) else self.now
        if isinstance(decision, Wait):
            self.log("wait", run=run, attempt=snapshot.newest.number, why=decision.why)
        self._set_alarm(snapshot, followup.next_look(snapshot, until, self.max_hours))
        if notifications.notify(self, snapshot):
            self._list(snapshot)
        else:
            followup.set_for(self, run, self.now.timestamp())  # in case the other call dies before it has sent its messages
        checkpoint_retention.remove(self, snapshot)
        return True

    def _judge(self, snapshot: RunSnapshot) -> Decision:
        if snapshot.records.over or snapshot.live:
            return decide(snapshot, 0, {})
        return decide(snapshot, self.bucket.checkpoint(snapshot.run), self.spot_prices(snapshot.records.spec.pools))

    def _act(self, snapshot: RunSnapshot, decision: Mark | Resume) -> None:
        if isinstance(decision, Mark):
            self.mark(snapshot, decision)
        else:
            start_attempt.start(self, snapshot, decision)

    def _set_alarm(self, snapshot: RunSnapshot, moment: float | None) -> None:
        """Schedule the follow-up of a run that goes on; delete the follow-up and the deadlines of a finished run."""
        if moment is not None:
            followup.set_for(self, snapshot.run, moment)
        elif snapshot.records.over and snapshot.records.marker:
            self.delete_schedule(one_time_schedules.wake_name(snapshot.run))
            for attempt in snapshot.records.attempts:  # not of the newest alone: who claimed the one after it may have died before this
                if attempt.deadline > self.now.timestamp():
                    self.delete_deadline(attempt)

    def _list(self, snapshot: RunSnapshot) -> None:
        """Write a finished run's key under `ended/`. Done last: no sweep checks the run again, and its messages must be sent first.

        A resume may have claimed the next attempt since the snapshot, have deleted that key already, and have set the schedule that was
        deleted here. A claim written a moment after this check deletes the key when its instance has started.
        """
        if not snapshot.records.over or not snapshot.records.marker:
            return
        if self._next_claim(snapshot):
            self._overtaken(snapshot)
            followup.set_for(self, snapshot.run, self.now.timestamp())
            return
        ended = RunKeys(snapshot.run).ended(snapshot.records.marker.reason)
        if not self.bucket.keys(ended):
            self.bucket.touch(ended)

    def _overtaken(self, snapshot: RunSnapshot) -> None:
        self.log("wait", run=snapshot.run, attempt=snapshot.newest.number + 1, why="it has been claimed meanwhile")

    def _next_claim(self, snapshot: RunSnapshot) -> Attempt | None:
        """The claim of the attempt that follows the newest one of the snapshot, None without one."""
        return self.bucket.load(Attempt, RunKeys(snapshot.run).attempt(snapshot.newest.number + 1))

    def mark(self, snapshot: RunSnapshot, decision: Mark) -> None:
        """Write the FAILURE marker of a run, unless the agent has written a marker first."""
        records, newest, run = snapshot.records, snapshot.newest, snapshot.run
        keys = RunKeys(run)
        if not start_attempt.write_end(self, decision.end):
            return
        if self._next_claim(snapshot):
            self._overtaken(snapshot)
            return
        end = replace(
            decision.end, number=newest.number, reason=decision.reason, detail=decision.detail, ended=contract.build_timestamp(self.now)
        )
        marker = finish_run.marker_of(end, hours_before=newest.hours_before, cost_before=newest.cost_before)
        if records.marker is not None:  # of an earlier attempt, which was resumed
            self.bucket.write(keys.failure, marker)
        elif self.bucket.load(Marker, keys.success) or not self.bucket.write_once(keys.failure, marker):
            self.log("wait", run=run, attempt=newest.number, why="its marker has come meanwhile")
            return
        self.log("marked", run=run, attempt=newest.number, reason=decision.reason, why=decision.detail)
