"""One-time schedules: the deadline of each attempt, and the alarm clock of each run."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from llmlab import timers
from llmlab.contract import Attempt
from llmlab.watchdog.tools import Tools

EXISTS = "ConflictException"
MISSING = "ResourceNotFoundException"


def create(tools: Tools, request: Mapping[str, Any]) -> bool:
    """Create one; False when there is one of that name."""
    try:
        tools.scheduler.create_schedule(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != EXISTS:
            raise
        return False
    return True


def replace(tools: Tools, request: Mapping[str, Any]) -> None:
    """Give one of that name another moment or target, or create it where it is gone."""
    try:
        tools.scheduler.update_schedule(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != MISSING:
            raise
        create(tools, request)


def read(tools: Tools, name: str) -> Mapping[str, Any] | None:
    """What there is of that name."""
    try:
        schedule: Mapping[str, Any] = tools.scheduler.get_schedule(GroupName=tools.names.schedule_group, Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != MISSING:
            raise
        return None
    return schedule


def delete(tools: Tools, name: str) -> None:
    """Delete one, if it is there. One that cannot be deleted is told and left: what it does when it goes off does no harm."""
    try:
        tools.scheduler.delete_schedule(GroupName=tools.names.schedule_group, Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != MISSING:
            tools.log("not deleted", schedule=name, why=str(error))


def delete_deadline(tools: Tools, attempt: Attempt) -> None:
    delete(tools, timers.schedule_name(attempt.run, attempt.number))
