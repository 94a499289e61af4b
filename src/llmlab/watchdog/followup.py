"""The follow-up of a run: when it must be reconciled again, and the one-time schedule that triggers it.

A follow-up that is too early costs one call, one that is late costs money, so of two the earlier one is kept.
"""

import math
from datetime import datetime, timedelta

from llmlab import contract
from llmlab.contract import Notice
from llmlab.lifecycle import one_time_schedules
from llmlab.lifecycle.create_fleet import VISIBLE_SECONDS
from llmlab.watchdog.dependencies import Tools
from llmlab.watchdog.run_snapshot import RunSnapshot
from llmlab.watchdog.termination import AFTERMATH_SECONDS, SOON_SECONDS

BOOT_SECONDS = 120
"""When to check an instance again that is not running yet, in case EC2's state-change event is lost."""


def next_look(snapshot: RunSnapshot, until: datetime | None, default_hours: float) -> float | None:
    """When a run must be reconciled again, in seconds since 1970; None when nothing is due. Pure.

    `until` is when the decision to wait must be revisited. With an instance it is the earliest of its deadline, the end of its money,
    most of a ceiling, and the end of the time for its own power-off.
    """
    moments = [until.timestamp()] if until else []
    meter, mine, end = snapshot.meter, snapshot.mine, snapshot.end
    if meter is not None and mine is not None:
        moments.append(snapshot.deadline(mine, default_hours))
        if meter.look_at_money is not None:
            moments.append(meter.look_at_money)
        if end is not None and not mine.keep:
            moments.append(contract.parse_timestamp(end.ended).timestamp() + AFTERMATH_SECONDS + 1)
        if not snapshot.newest.instance:
            moments.append(mine.launched.timestamp() + VISIBLE_SECONDS + 1)
        if end is None and mine.state != "running":
            moments.append(snapshot.now.timestamp() + BOOT_SECONDS)
        if end is None and not meter.mostly_used and not any(notice is Notice.CEILING for _, notice in snapshot.records.notified):
            moments.append(meter.mostly_used_at)
    return min(moments, default=None)


def set_for(tools: Tools, run: str, moment: float) -> None:
    """Schedule a call of the watchdog for a run at `moment` (seconds since 1970) or sooner; in a minute if that is past or too near.

    Raises:
        ClientError: the schedule could not be written.
    """
    now = tools.now
    at = math.ceil(max(moment, now.timestamp() + SOON_SECONDS))
    request = one_time_schedules.wake_request(tools.names, run=run, moment=at, role=tools.scheduler_role)
    if one_time_schedules.create(tools.scheduler, request):
        return
    due = _due(tools, run)
    if due is not None and now + timedelta(seconds=1) < due <= datetime.fromtimestamp(at, due.tzinfo):
        return
    if due is not None and due <= now:  # it is going off, and EventBridge Scheduler is about to delete it
        tools.delete_schedule(one_time_schedules.wake_name(run))
    one_time_schedules.put(tools.scheduler, request)


def _due(tools: Tools, run: str) -> datetime | None:
    schedule = one_time_schedules.read(tools.scheduler, tools.names, one_time_schedules.wake_name(run))
    return one_time_schedules.schedule_moment(schedule["ScheduleExpression"]) if schedule else None
