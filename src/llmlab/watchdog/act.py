"""What the watchdog does about each event: end instances, mark runs, start them again, tell people.

Whoever writes an attempt's claim first has the right to start it; everything else may be done twice without harm.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from llmlab import contract, fleet, money
from llmlab.clock import Clock
from llmlab.contract import Attempt, AttemptEnd, EndReason, Marker, Metric, Names, Notice, RunKeys, RunState
from llmlab.fleet import Answer, PoolError
from llmlab.watchdog import machines
from llmlab.watchdog.decide import Mark, Resume, Wait, decide
from llmlab.watchdog.events import Changed, Deadline, Event, Sweep, Warned
from llmlab.watchdog.machines import Machine
from llmlab.watchdog.records import Bucket, Records

AFTERMATH_SECONDS = 900
"""How long an instance may live on after its run has ended, for its own power-off."""
COST_MARGIN = 1.1
"""The agent stops a run at its cost limit; past this share of it the agent has failed, and the instance is ended."""
SOON_SECONDS = 60
"""Too near for a schedule, which is exact to the minute."""
ENDING = {"shutting-down", "terminated"}

Log = Callable[..., None]


@dataclass(frozen=True)
class Watchdog:
    """What it works with. `fleet_client` is an EC2 client without retries: a pool without capacity answers 500, again and again."""

    names: Names
    bucket: Bucket
    ec2: Any
    fleet_client: Any
    scheduler: Any
    sns: Any
    cloudwatch: Any
    topic: str
    scheduler_role: str
    max_hours: float
    clock: Clock
    log: Log

    def wake(self, event: Event) -> None:
        """Do what an event asks for."""
        if isinstance(event, Sweep):
            self.sweep()
        elif isinstance(event, Deadline):
            self.deadline(event)
        elif isinstance(event, Changed) and event.state in ENDING:
            for machine in machines.find(self.ec2, self.names, instance=event.instance):
                self.look_after(machine.run, seen=dataclasses.replace(machine, state=event.state))
        elif isinstance(event, Warned):
            for machine in machines.find(self.ec2, self.names, instance=event.instance):
                self.log("warned", run=machine.run, attempt=machine.attempt, instance=machine.id, why="the agent saves")
        else:
            self.log("ignored", why=str(event))

    # ------------------------------------------------------------ ending instances

    def deadline(self, event: Deadline) -> None:
        """The schedule went off before it knew the instance."""
        for machine in machines.find(self.ec2, self.names, run=event.run):
            if machine.live and machine.attempt == event.attempt:
                records = self.bucket.records(event.run)
                self.terminate(machine, "its deadline has come", records, EndReason.TIMED_OUT)

    def sweep(self) -> None:
        """End what must end, then see to every run that is not over, then say how many there are."""
        found = machines.find(self.ec2, self.names)
        records: dict[str, Records | None] = {}
        open_runs = (self.bucket.runs() - self.bucket.ended()) | {machine.run for machine in found if machine.run}
        for run in sorted(open_runs):
            try:
                records[run] = self.bucket.records(run)
            except contract.ContractError as error:
                self.log("unreadable", run=run, why=str(error))
        for machine in found:
            if machine.live and (must := self._must_end(machine, records.get(machine.run))):
                self.terminate(machine, must[0], records.get(machine.run), must[1])
            elif machine.live:
                self.mend_schedule(machine)
        for run in sorted(records):
            self.look_after(run)
        alive = [machine for machine in found if machine.live]
        oldest = max(((self.now - machine.launched).total_seconds() / 60 for machine in alive), default=0.0)
        self.measure({Metric.ACTIVE_INSTANCES: len(alive), Metric.RUN_AGE_MINUTES: oldest, Metric.FAILED_RUNS: 0})
        self.log("swept", instances=len(alive), runs=len(records))

    def mend_schedule(self, machine: Machine) -> None:
        """See to it that the one-time schedule of a living instance is there, so that its end never has to wait for the next sweep."""
        deadline = int(machine.deadline(self.max_hours))
        if deadline - self.now.timestamp() < SOON_SECONDS:
            return
        request = fleet.aim_schedule_request(
            self.names,
            run=machine.run or machine.id,
            attempt=machine.attempt,
            deadline=deadline,
            role=self.scheduler_role,
            instance=machine.id,
        )
        try:
            self.scheduler.create_schedule(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                self.log("unscheduled", run=machine.run, instance=machine.id, why=str(error))
            return
        self.log("scheduled", run=machine.run, attempt=machine.attempt, instance=machine.id, why="its one-time schedule was missing")

    def _must_end(self, machine: Machine, records: Records | None) -> tuple[str, EndReason | None] | None:
        """Why an instance has to go, and the reason that is for its attempt; None when it may stay."""
        if self.now.timestamp() >= machine.deadline(self.max_hours):
            return "its deadline has come", EndReason.TIMED_OUT
        if records is None or not records.attempts:
            return None
        newest = records.attempts[-1]
        if machine.attempt < newest.number:
            return f"attempt {newest.number} has taken over", None
        end = records.ends.get(machine.attempt)
        if end is not None:
            over = (self.now - contract.parse_timestamp(end.ended)).total_seconds() > AFTERMATH_SECONDS
            return ("its run is over and it did not switch itself off", None) if over and not machine.kept else None
        costs = money.attempt_costs(records.spec.charges, machine.launched, self.now, newest.price)
        spent = newest.cost_before + money.total(costs)
        if newest.max_cost is not None and spent > newest.max_cost * COST_MARGIN:
            return "its cost limit is passed", EndReason.COST_REACHED
        return None

    def terminate(self, machine: Machine, why: str, records: Records | None = None, reason: EndReason | None = None) -> None:
        """End an instance; and where its attempt has no end yet, say why, because EC2 will only say that somebody called."""
        newest = records.attempts[-1] if records and records.attempts else None
        if records and newest is not None and reason is not None and newest.number == machine.attempt:
            hours = money.attempt_hours(machine.launched, self.now)
            costs = money.attempt_costs(records.spec.charges, machine.launched, self.now, newest.price)
            step = self.bucket.checkpoint(machine.run)
            end = AttemptEnd(
                machine.run,
                newest.number,
                reason,
                contract.build_timestamp(self.now),
                f"{why}, the trainer had not left",
                step,
                hours,
                money.total(costs),
                costs,
            )
            self.bucket.write_once(RunKeys(machine.run).attempt_end(newest.number), end)
        self.ec2.terminate_instances(InstanceIds=[machine.id])
        self.log("terminated", run=machine.run, attempt=machine.attempt, instance=machine.id, why=why)

    # ------------------------------------------------------------ a run without an instance

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def look_after(self, run: str, seen: Machine | None = None) -> None:
        """See what became of a run, and go on with it. `seen` is an instance as an event told of it, newer than what EC2 may describe."""
        records = self.bucket.records(run) if contract.RUN_ID.fullmatch(run) else None
        if records is None or not records.attempts:
            self.log("ignored", run=run, why="no such run is written")
            return
        found = [seen if seen and machine.id == seen.id else machine for machine in machines.find(self.ec2, self.names, run=run)]
        waiting = records.over or any(machine.live for machine in found)
        decision = decide(records, found, 0 if waiting else self.bucket.checkpoint(run), self.now)
        if isinstance(decision, Wait):
            self.log("wait", run=run, attempt=records.attempts[-1].number, why=decision.why)
            if records.over and records.marker:
                self.tell(records.marker)
                if not any(machine.live for machine in found):
                    self.tidy(records)
        elif isinstance(decision, Mark):
            self.mark(records, decision)
        else:
            self.resume(records, decision)

    def mark(self, records: Records, decision: Mark) -> None:
        """Write the last word about a run, unless the agent was quicker."""
        keys, newest = RunKeys(records.spec.run), records.attempts[-1]
        self.bucket.write_once(keys.attempt_end(newest.number), decision.end)
        if self.bucket.load(Attempt, keys.attempt(newest.number + 1)):
            self.log("wait", run=records.spec.run, attempt=newest.number + 1, why="it has been claimed meanwhile")
            return
        marker = Marker(
            records.spec.run, decision.reason, contract.build_timestamp(self.now), newest.number, decision.detail,
            decision.reason.hint(records.spec.run), decision.end.step,
            hours=newest.hours_before + decision.end.hours, cost=newest.cost_before + decision.end.cost,
        )  # fmt: skip
        if records.marker is not None:  # of an earlier attempt, which was resumed
            self.bucket.write(keys.failure, marker)
        elif self.bucket.load(Marker, keys.success) or not self.bucket.write_once(keys.failure, marker):
            self.log("wait", run=records.spec.run, attempt=newest.number, why="its marker has come meanwhile")
            return
        self.bucket.touch(keys.ended(decision.reason))
        self.log("marked", run=records.spec.run, attempt=newest.number, reason=decision.reason, why=decision.detail)
        self.tidy(records)
        self.tell(marker)

    def tidy(self, records: Records) -> None:
        """The deadline schedule of a run that is over has nothing to do any more."""
        newest = records.attempts[-1]
        if newest.deadline > self.now.timestamp():
            self._unschedule(newest)

    def _unschedule(self, attempt: Attempt) -> None:
        try:
            self.scheduler.delete_schedule(**fleet.delete_schedule_request(self.names, run=attempt.run, attempt=attempt.number))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                self.log("unscheduled", run=attempt.run, attempt=attempt.number, why=str(error))

    def tell(self, marker: Marker) -> None:
        """Tell the topic that a run is over, once, and count it when it failed."""
        told = RunKeys(marker.run).told(marker.attempts, Notice.END)
        if self.bucket.keys(told):
            return
        detail = f": {marker.detail}" if marker.detail else ""
        lines = [
            f"Run {marker.run} {marker.reason.state} ({marker.reason}){detail}",
            f"Step {marker.step} of {marker.total_steps}, {marker.attempts} attempts, {marker.hours:.2f} hours, ${marker.cost:.2f}",
            f"hint: {marker.hint or marker.reason.hint(marker.run)}",
        ]
        self.sns.publish(
            TopicArn=self.topic, Subject=f"{self.names.lab}: run {marker.run} {marker.reason.state}"[:100], Message="\n".join(lines)
        )
        self.bucket.write_once(told, marker)
        if marker.reason.state is RunState.FAILED:
            self.measure({Metric.FAILED_RUNS: 1})
        self.log("told", run=marker.run, reason=marker.reason)

    def measure(self, values: dict[Metric, float]) -> None:
        data = [{"MetricName": str(name), "Value": float(value), "Timestamp": self.now} for name, value in values.items()]
        self.cloudwatch.put_metric_data(Namespace=self.names.metrics, MetricData=data)

    # ------------------------------------------------------------ another attempt

    def resume(self, records: Records, decision: Resume) -> None:
        """Claim the next attempt and start it. Who does not get the claim leaves it to who did."""
        keys, attempt = RunKeys(records.spec.run), decision.attempt
        self.bucket.write_once(keys.attempt_end(decision.end.number), decision.end)
        if not self.bucket.write_once(keys.attempt(attempt.number), attempt):
            self.log("wait", run=attempt.run, attempt=attempt.number, why="somebody else has claimed it")
            return
        self._unschedule(records.attempts[-1])
        schedule: dict[str, Any] = {
            "run": attempt.run,
            "attempt": attempt.number,
            "deadline": attempt.deadline,
            "role": self.scheduler_role,
        }
        try:
            self.scheduler.create_schedule(**fleet.create_schedule_request(self.names, **schedule))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise
        spot, answer = attempt.spot, self._ask(records, attempt, spot=attempt.spot)
        if answer.launched is None and spot and records.spec.fallback_on_demand:
            spot, answer = False, self._ask(records, attempt, spot=False)
        if answer.launched is None:
            self._unschedule(attempt)
            end = AttemptEnd(
                attempt.run, attempt.number, EndReason.NO_CAPACITY, contract.build_timestamp(self.now), answer.words, decision.end.step
            )
            self.bucket.write_once(keys.attempt_end(attempt.number), end)
            self.log("no instance", run=attempt.run, attempt=attempt.number, refusal=answer.refusal, why=answer.words)
            return
        got = answer.launched
        price = fleet.price_of(records.spec.pools, got.instance_type, got.zone, spot=spot)
        launched = dataclasses.replace(
            attempt, instance=got.instance, instance_type=got.instance_type, zone=got.zone, price=price, spot=spot,
            launched=contract.build_timestamp(self.now),
        )  # fmt: skip
        self.bucket.write(keys.attempt(attempt.number), launched)
        self.scheduler.update_schedule(**fleet.aim_schedule_request(self.names, **schedule, instance=got.instance))
        self.log(
            "resumed",
            run=attempt.run,
            attempt=attempt.number,
            instance=got.instance,
            type=got.instance_type,
            zone=got.zone,
            why=decision.end.reason,
        )

    def _ask(self, records: Records, attempt: Attempt, *, spot: bool) -> Answer:
        """One CreateFleet over the pools that the spec names."""
        spec = records.spec
        pools = fleet.order(spec.pools, spec.preferred, spot=spot)
        if not pools:
            return Answer(None, (PoolError("", "", "NoPrice", "no pool has a price of this kind"),))
        request = fleet.create_fleet_request(
            self.names, spec.launch_template, pools, run=spec.run, attempt=attempt.number, deadline=attempt.deadline,
            spot=spot, keep=not spec.auto_shutdown, image=spec.ami,
        )  # fmt: skip
        try:
            return fleet.read_create_fleet(self.fleet_client.create_fleet(**request), pools)
        except ClientError as error:
            answer = error.response["Error"]
            return Answer(None, (PoolError("", "", answer.get("Code", ""), answer.get("Message", "")),))
