"""One-time schedules of EventBridge Scheduler: the deadline of each attempt, and the follow-up of each run."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from llmlab.contract import Attempt
from llmlab.lifecycle import schedule_requests
from llmlab.watchdog.dependencies import Tools

EXISTS = "ConflictException"
MISSING = "ResourceNotFoundException"


def create(tools: Tools, request: Mapping[str, Any]) -> bool:
    """Create a schedule; False when one of that name exists."""
    try:
        tools.scheduler.create_schedule(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != EXISTS:
            raise
        return False
    return True


def replace(tools: Tools, request: Mapping[str, Any]) -> None:
    """Change the time or target of the schedule of that name, or create it where it is gone."""
    try:
        tools.scheduler.update_schedule(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != MISSING:
            raise
        create(tools, request)


def read(tools: Tools, name: str) -> Mapping[str, Any] | None:
    """The schedule of that name as GetSchedule returns it, None when it does not exist."""
    try:
        schedule: Mapping[str, Any] = tools.scheduler.get_schedule(GroupName=tools.names.schedule_group, Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != MISSING:
            raise
        return None
    return schedule


def delete(tools: Tools, name: str) -> None:
    """Delete a schedule if it exists. An error is logged and ignored: firing it does no harm."""
    try:
        tools.scheduler.delete_schedule(GroupName=tools.names.schedule_group, Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != MISSING:
            tools.log("not deleted", schedule=name, why=str(error))


def delete_deadline(tools: Tools, attempt: Attempt) -> None:
    delete(tools, schedule_requests.schedule_name(attempt.run, attempt.number))
