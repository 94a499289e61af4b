"""Ending instances that have no right to live any more."""

from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from llmlab import contract, money, timers
from llmlab.contract import AttemptEnd, EndReason, RunKeys
from llmlab.watchdog import ceilings, schedules
from llmlab.watchdog.machines import Machine
from llmlab.watchdog.sight import Sight
from llmlab.watchdog.tools import Tools

AFTERMATH_SECONDS = 900
"""How long an instance may live on after its attempt has ended, for its own power-off."""
SOON_SECONDS = 60
"""Too near for a schedule, which is exact to the minute."""


def must_end(sight: Sight, machine: Machine, default_hours: float) -> tuple[str, EndReason | None] | None:
    """Why a living instance has to go, and the reason that is for its attempt; None when it may stay. Pure.

    `default_hours` is how long one without a deadline tag may live.
    """
    if sight.now.timestamp() >= sight.deadline(machine, default_hours):
        return "its deadline has come", EndReason.TIMED_OUT
    newest, end = sight.newest, sight.records.ends.get(machine.attempt)
    if machine.attempt < newest.number:
        return f"attempt {newest.number} has taken over", None
    if end is not None and end.reason is EndReason.NO_CAPACITY:
        return "its attempt was given up before it came", None
    if machine.attempt != newest.number:
        return None
    if newest.instance and machine.id != newest.instance:
        return f"{newest.instance} is the instance of its attempt", None
    if ceilings.read(sight.records.spec, newest, machine, sight.history, sight.now).money_up:
        return "the cost limit is reached", EndReason.COST_REACHED
    kept = machine.kept and sight.records.over  # not while another attempt is to follow, which it stands in the way of
    if end is not None and not kept and (sight.now - _ended(end)).total_seconds() > AFTERMATH_SECONDS:
        return "its run is over and it did not switch itself off", None
    return None


def _ended(end: AttemptEnd) -> datetime:
    return contract.parse_timestamp(end.ended)


def end_what_must(tools: Tools, sight: Sight) -> frozenset[str]:
    """End every instance of a run that must go; returns which."""
    gone = set()
    for machine in sight.live:
        if must := must_end(sight, machine, tools.max_hours):
            end_it(tools, sight, machine, *must)
            gone.add(machine.id)
    return frozenset(gone)


def end_it(tools: Tools, sight: Sight, machine: Machine, why: str, reason: EndReason | None) -> None:
    """End an instance; and where its attempt has no end yet, say why first, because EC2 will only say that somebody called."""
    newest = sight.newest
    if reason is not None and newest.number == machine.attempt and sight.end is None:
        price = ceilings.price_at_start(sight.records.spec, newest, machine)
        costs = money.attempt_costs(sight.records.spec.charges, machine.launched, sight.now, price, sight.history)
        end = AttemptEnd(
            machine.run, newest.number, reason, contract.build_timestamp(sight.now), f"{why}, the trainer had not left",
            tools.bucket.checkpoint(machine.run), money.attempt_hours(machine.launched, sight.now), money.total(costs), costs,
        )  # fmt: skip
        tools.bucket.write_once(RunKeys(machine.run).attempt_end(newest.number), end)
    terminate(tools, machine, why)


def terminate(tools: Tools, machine: Machine, why: str) -> None:
    tools.ec2.terminate_instances(InstanceIds=[machine.id])
    tools.log("terminated", run=machine.run, attempt=machine.attempt, instance=machine.id, why=why)


def mend_schedule(tools: Tools, machine: Machine) -> None:
    """See to it that the one-time schedule of a living instance is there and aimed at it: its end must never wait for ours."""
    deadline = int(machine.deadline(tools.max_hours))
    if deadline - tools.now.timestamp() < SOON_SECONDS:
        return
    name = machine.run if contract.RUN_ID.fullmatch(machine.run) else machine.id
    request: dict[str, Any] = timers.aim_schedule_request(
        tools.names, run=name, attempt=machine.attempt, deadline=deadline, role=tools.scheduler_role, instance=machine.id
    )
    try:
        if schedules.create(tools, request):
            why = "its one-time schedule was missing"
        elif (schedule := schedules.read(tools, request["Name"])) and schedule["Target"].get("Input") != request["Target"]["Input"]:
            schedules.replace(tools, request)
            why = "its one-time schedule was not aimed at it: its start was cut short"
        else:
            return
    except ClientError as error:
        tools.log("unscheduled", run=machine.run, instance=machine.id, why=str(error))
    else:
        tools.log("scheduled", run=machine.run, attempt=machine.attempt, instance=machine.id, why=why)
