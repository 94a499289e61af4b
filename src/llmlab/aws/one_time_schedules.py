"""One-time schedules of EventBridge Scheduler: an attempt's deadline, which fires even if the agent and the watchdog are down.

So is the wake-up call of a run.

They delete themselves after firing. https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-delete.html
"""

from collections.abc import Mapping
from typing import Any

from llmlab.aws.patience import patiently
from llmlab.aws.session import AlreadyExists, Aws, NotFound
from llmlab.clock import Clock
from llmlab.errors import Refused

ROLE_UNKNOWN = ("must allow AWS EventBridge Scheduler to assume the role",)
"""Words of Scheduler's error about a role that IAM made seconds ago.
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency"""


def create(aws: Aws, request: Mapping[str, Any], clock: Clock) -> None:
    """Create a schedule from a request of `lifecycle.schedule_requests`. Right after a bootstrap Scheduler may not know its role yet.

    Raises:
        Refused: the lab has no schedule group, so it was torn down.
    """
    try:
        patiently(
            lambda: aws.client("scheduler").create_schedule(**request),
            clock,
            passing=ROLE_UNKNOWN,
            awaited="Scheduler seeing its new role",
            hint="llmlab doctor",
        )
    except NotFound as error:
        raise Refused(f"the lab {aws.lab} in {aws.region} was torn down, and only its results are there", "llmlab bootstrap") from error


def update(aws: Aws, request: Mapping[str, Any]) -> None:
    """Replace a schedule. The request is whole: what it leaves out is reset."""
    aws.client("scheduler").update_schedule(**request)


def put(aws: Aws, request: Mapping[str, Any], clock: Clock) -> None:
    """Create a schedule, or give the one of that name this time and target."""
    try:
        create(aws, request, clock)
    except AlreadyExists:
        update(aws, request)


def delete(aws: Aws, group: str, name: str) -> bool:
    """Delete a schedule; False when there was none."""
    try:
        aws.client("scheduler").delete_schedule(GroupName=group, Name=name)
    except NotFound:
        return False
    return True
