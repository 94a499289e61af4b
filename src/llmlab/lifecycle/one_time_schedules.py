"""One-time schedules of EventBridge Scheduler: the deadline of each attempt, and the follow-up of the run.

A deadline fires even when the agent and the watchdog are down. Schedules delete themselves after they have fired.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-delete.html

`scheduler` is boto3's client; requests are its keyword arguments.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from llmlab.contract import Names
from llmlab.lifecycle.billing import HOUR
from llmlab.lifecycle.error_codes import error_code

EXISTS = "ConflictException"
MISSING = "ResourceNotFoundException"
TERMINATE = "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
"""The universal target: the one-time schedule calls EC2 itself, without any code of ours.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html"""

AT = "at(%Y-%m-%dT%H:%M:%S)"
"""The expression of a one-time schedule. https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"""


def schedule_name(run: str, attempt: int) -> str:
    return f"{run}-{attempt}"


def wake_name(run: str) -> str:
    return f"{run}-wake"


def wake_event(run: str) -> dict[str, Any]:
    """The event that the follow-up schedule of a run sends to the watchdog: reconcile the run."""
    return {"wake": {"run": run}}


def wake_request(names: Names, *, run: str, moment: float, role: str) -> dict[str, Any]:
    """The run's follow-up schedule, one at a time: it calls the watchdog at `moment` (seconds since 1970).

    That may be for a request for capacity, for a notice about a limit, or for the cost limit. For create_schedule and update_schedule.
    """
    target = {"Arn": names.arn("lambda", f"function:{names.watchdog}"), "RoleArn": role, "Input": json.dumps(wake_event(run))}
    return _schedule(names, wake_name(run), f"looks after run {run}", moment, target)


def deadline_event(run: str, attempt: int) -> dict[str, Any]:
    """The event that a deadline schedule sends to the watchdog before it is aimed at an instance."""
    return {"deadline": {"run": run, "attempt": attempt}}


def create_schedule_request(names: Names, *, run: str, attempt: int, deadline: int, role: str) -> dict[str, Any]:
    """The deadline schedule as created before the instance: it calls the watchdog, which finds the instance by its tags.

    `role` is the scheduler role's ARN.
    """
    watchdog = names.arn("lambda", f"function:{names.watchdog}")
    target = {"Arn": watchdog, "RoleArn": role, "Input": json.dumps(deadline_event(run, attempt))}
    return _schedule(names, schedule_name(run, attempt), f"ends attempt {attempt} of run {run}", deadline, target)


def aim_schedule_request(names: Names, *, run: str, attempt: int, deadline: int, role: str, instance: str) -> dict[str, Any]:
    """The deadline schedule once the instance is known: EventBridge Scheduler terminates that instance without any code of ours."""
    target = {"Arn": TERMINATE, "RoleArn": role, "Input": json.dumps({"InstanceIds": [instance]})}
    return _schedule(names, schedule_name(run, attempt), f"ends attempt {attempt} of run {run}", deadline, target)


def schedule_moment(expression: str) -> datetime:
    """When a one-time schedule fires, parsed from its `ScheduleExpression`."""
    return datetime.strptime(expression, AT).replace(tzinfo=UTC)


def _schedule(names: Names, name: str, words: str, moment: float, target: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "GroupName": names.schedule_group,
        "Name": name,
        "Description": words,
        "ScheduleExpression": datetime.fromtimestamp(moment, UTC).strftime(AT),
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "State": "ENABLED",
        "Target": {**target, "RetryPolicy": {"MaximumEventAgeInSeconds": HOUR, "MaximumRetryAttempts": 20}},
    }


# ---------------------------------------------------------------- calls


def create(scheduler: Any, request: Mapping[str, Any]) -> bool:
    """Create a schedule; False when one of that name exists."""
    try:
        scheduler.create_schedule(**request)
    except Exception as error:
        if error_code(error) != EXISTS:
            raise
        return False
    return True


def update(scheduler: Any, request: Mapping[str, Any]) -> bool:
    """Replace a schedule; False when none of that name exists. The request is whole: what it leaves out is reset."""
    try:
        scheduler.update_schedule(**request)
    except Exception as error:
        if error_code(error) != MISSING:
            raise
        return False
    return True


def put(scheduler: Any, request: Mapping[str, Any]) -> None:
    """Give the schedule of that name this time and target, or create it where it does not exist."""
    if not update(scheduler, request):
        create(scheduler, request)


def read(scheduler: Any, names: Names, name: str) -> Mapping[str, Any] | None:
    """The schedule of that name as GetSchedule returns it, None when it does not exist."""
    try:
        schedule: Mapping[str, Any] = scheduler.get_schedule(GroupName=names.schedule_group, Name=name)
    except Exception as error:
        if error_code(error) != MISSING:
            raise
        return None
    return schedule


def delete(scheduler: Any, names: Names, name: str) -> bool:
    """Delete a schedule; False when there was none."""
    try:
        scheduler.delete_schedule(GroupName=names.schedule_group, Name=name)
    except Exception as error:
        if error_code(error) != MISSING:
            raise
        return False
    return True
