"""One-time schedules from the laptop, right after a bootstrap too, when EventBridge Scheduler may not know its role yet."""

from collections.abc import Mapping
from typing import Any

from llmlab.aws.patience import patiently
from llmlab.aws.session import Aws, NotFound
from llmlab.clock import Clock
from llmlab.errors import Refused
from llmlab.lifecycle import one_time_schedules

ROLE_UNKNOWN = ("must allow AWS EventBridge Scheduler to assume the role",)
"""Words of Scheduler's error about a role that IAM made seconds ago.
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency"""


def put(aws: Aws, request: Mapping[str, Any], clock: Clock) -> None:
    """Create a schedule from a request of `lifecycle.one_time_schedules`, or give the one of that name this time and target.

    Raises:
        Refused: the lab has no schedule group, so it was torn down.
    """
    scheduler = aws.client("scheduler")
    try:
        created = patiently(
            lambda: one_time_schedules.create(scheduler, request),
            clock,
            passing=ROLE_UNKNOWN,
            awaited="Scheduler seeing its new role",
            hint="llmlab doctor",
        )
    except NotFound as error:
        raise Refused(f"the lab {aws.lab} in {aws.region} was torn down, and only its results are there", "llmlab bootstrap") from error
    if not created:
        one_time_schedules.update(scheduler, request)
