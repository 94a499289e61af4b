"""Terminating instances that must not run any longer."""

from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from llmlab import contract
from llmlab.contract import AttemptEnd, EndReason, RunKeys
from llmlab.lifecycle import billing, one_time_schedules
from llmlab.lifecycle.instances import Instance
from llmlab.watchdog import usage
from llmlab.watchdog.dependencies import Tools
from llmlab.watchdog.run_snapshot import RunSnapshot

AFTERMATH_SECONDS = 900
"""How long an instance may run after its attempt has ended, to power off by itself."""
SOON_SECONDS = 60
"""Nearer than this no schedule is made: EventBridge Scheduler is exact to the minute."""


def must_end(snapshot: RunSnapshot, instance: Instance, default_hours: float) -> tuple[str, EndReason | None] | None:
    """Reason to terminate a live instance, and the end reason to record for its attempt (or None); None to keep the instance. Pure.

    `default_hours` is how long an instance without a deadline tag may live.
    """
    if snapshot.now.timestamp() >= snapshot.deadline(instance, default_hours):
        return "its deadline has come", EndReason.TIMED_OUT
    newest, end = snapshot.newest, snapshot.records.ends.get(instance.attempt)
    if instance.attempt < newest.number:
        return f"attempt {newest.number} has taken over", None
    if end is not None and end.reason is EndReason.NO_CAPACITY:
        return "its attempt was given up before it came", None
    if instance.attempt != newest.number:
        return None
    if newest.instance and instance.id != newest.instance:
        return f"{newest.instance} is the instance of its attempt", None
    if usage.read(snapshot.records.spec, newest, instance, snapshot.history, snapshot.now).money_up:
        return "the cost limit is reached", EndReason.COST_REACHED
    kept = instance.keep and snapshot.records.over  # not while another attempt is to follow, which a live instance would block
    if end is not None and not kept and (snapshot.now - _ended(end)).total_seconds() > AFTERMATH_SECONDS:
        return "its run is over and it did not switch itself off", None
    return None


def _ended(end: AttemptEnd) -> datetime:
    return contract.parse_timestamp(end.ended)


def end_what_must(tools: Tools, snapshot: RunSnapshot) -> frozenset[str]:
    """Terminate every instance of a run for which `must_end` gives a reason; returns their ids."""
    gone = set()
    for instance in snapshot.live:
        if must := must_end(snapshot, instance, tools.max_hours):
            end_it(tools, snapshot, instance, *must)
            gone.add(instance.id)
    return frozenset(gone)


def end_it(tools: Tools, snapshot: RunSnapshot, instance: Instance, why: str, reason: EndReason | None) -> None:
    """Terminate an instance; where its attempt has no end yet, write that first, because EC2 only records an API call as the reason."""
    newest = snapshot.newest
    if reason is not None and newest.number == instance.attempt and snapshot.end is None:
        price = usage.price_at_start(snapshot.records.spec, newest, instance)
        costs = billing.attempt_costs(snapshot.records.spec.charges, instance.launched, snapshot.now, price, snapshot.history)
        end = AttemptEnd(
            instance.run, newest.number, reason, contract.build_timestamp(snapshot.now), f"{why}, the trainer had not left",
            tools.bucket.checkpoint(instance.run), billing.attempt_hours(instance.launched, snapshot.now), billing.total(costs), costs,
        )  # fmt: skip
        tools.bucket.write_once(RunKeys(instance.run).attempt_end(newest.number), end)
    terminate(tools, instance, why)


def terminate(tools: Tools, instance: Instance, why: str) -> None:
    tools.ec2.terminate_instances(InstanceIds=[instance.id])
    tools.log("terminated", run=instance.run, attempt=instance.attempt, instance=instance.id, why=why)


def mend_schedule(tools: Tools, instance: Instance) -> None:
    """Ensure that a live instance's deadline schedule exists and targets it, so that it ends even when the watchdog does not run."""
    deadline = int(instance.deadline(tools.max_hours))
    if deadline - tools.now.timestamp() < SOON_SECONDS:
        return
    name = instance.run if contract.RUN_ID.fullmatch(instance.run) else instance.id
    request: dict[str, Any] = one_time_schedules.aim_schedule_request(
        tools.names, run=name, attempt=instance.attempt, deadline=deadline, role=tools.scheduler_role, instance=instance.id
    )
    try:
        if one_time_schedules.create(tools.scheduler, request):
            why = "its one-time schedule was missing"
        elif _target(tools, request["Name"]) not in {None, request["Target"]["Input"]}:
            one_time_schedules.put(tools.scheduler, request)
            why = "its one-time schedule was not aimed at it: its start was cut short"
        else:
            return
    except ClientError as error:
        tools.log("unscheduled", run=instance.run, instance=instance.id, why=str(error))
    else:
        tools.log("scheduled", run=instance.run, attempt=instance.attempt, instance=instance.id, why=why)


def _target(tools: Tools, name: str) -> str | None:
    """The input of a schedule's target, None where there is no such schedule."""
    schedule = one_time_schedules.read(tools.scheduler, tools.names, name)
    return schedule["Target"].get("Input", "") if schedule else None
