"""The one-time schedules of a run: the deadline of each attempt, and an alarm clock.

Pure, standard library only: requests to EventBridge Scheduler to hand to boto3 as keyword arguments, the same from `launch` and the
watchdog.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from llmlab.contract import Names
from llmlab.money import HOUR

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
    """What the alarm clock of a run hands to the watchdog: look after it."""
    return {"wake": {"run": run}}


def wake_request(names: Names, *, run: str, moment: float, role: str) -> dict[str, Any]:
    """The run's alarm clock, one at a time: the watchdog is called at `moment` (seconds since 1970) for what is due then.

    That may be a try for capacity, most of a ceiling, or the end of the money. For create_schedule and update_schedule alike.
    """
    target = {"Arn": names.arn("lambda", f"function:{names.watchdog}"), "RoleArn": role, "Input": json.dumps(wake_event(run))}
    return _schedule(names, wake_name(run), f"looks after run {run}", moment, target)


def deadline_event(run: str, attempt: int) -> dict[str, Any]:
    """What the schedule hands to the watchdog."""
    return {"deadline": {"run": run, "attempt": attempt}}


def create_schedule_request(names: Names, *, run: str, attempt: int, deadline: int, role: str) -> dict[str, Any]:
    """The one-time schedule as it is made before the instance: it calls the watchdog, which finds the instance by its tags.

    `role` is the scheduler role's ARN.
    """
    watchdog = names.arn("lambda", f"function:{names.watchdog}")
    target = {"Arn": watchdog, "RoleArn": role, "Input": json.dumps(deadline_event(run, attempt))}
    return _schedule(names, schedule_name(run, attempt), f"ends attempt {attempt} of run {run}", deadline, target)


def aim_schedule_request(names: Names, *, run: str, attempt: int, deadline: int, role: str, instance: str) -> dict[str, Any]:
    """The same schedule once the instance is known: it terminates it without any code of ours."""
    target = {"Arn": TERMINATE, "RoleArn": role, "Input": json.dumps({"InstanceIds": [instance]})}
    return _schedule(names, schedule_name(run, attempt), f"ends attempt {attempt} of run {run}", deadline, target)


def delete_schedule_request(names: Names, *, run: str, attempt: int) -> dict[str, Any]:
    return {"GroupName": names.schedule_group, "Name": schedule_name(run, attempt)}


def schedule_moment(expression: str) -> datetime:
    """When a one-time schedule goes off, by its `ScheduleExpression`."""
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
