"""One-time schedules of EventBridge Scheduler: the deadline of an attempt, which fires whatever has become of everybody else.

They delete themselves after firing. https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-delete.html
"""

from collections.abc import Mapping
from typing import Any

from llmlab.aws.session import Aws, NotFound


def create(aws: Aws, request: Mapping[str, Any]) -> None:
    """Create one from the request that `llmlab.fleet` builds."""
    aws.client("scheduler").create_schedule(**request)


def update(aws: Aws, request: Mapping[str, Any]) -> None:
    """Give it another target. The request is whole: what it leaves out is reset."""
    aws.client("scheduler").update_schedule(**request)


def delete(aws: Aws, group: str, name: str) -> bool:
    """Delete one; False when there was none."""
    try:
        aws.client("scheduler").delete_schedule(GroupName=group, Name=name)
    except NotFound:
        return False
    return True
