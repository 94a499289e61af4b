"""When a run has to save and leave, and for what reason: its time or its money, an interruption, the user, a machine that does nothing."""

from dataclasses import dataclass
from datetime import datetime

from llmlab.contract import EndReason, parse_timestamp
from llmlab.lifecycle import billing
from llmlab.lifecycle.billing import Bill

LEAD_SECONDS = 300.0
"""How long before the end of its time or money the trainer is asked to save, at most; a tenth of what there was where that is less."""
SHORTEST_LEAD_SECONDS = 10.0
UPLOAD_SHARE = 0.4
"""Share of the lead, or of a short notice, that is kept for the upload after the trainer has left."""
NOTICE_SHARE_SECONDS = 25.0
"""Seconds of a spot notice's two minutes that are kept for the upload; where less was left when it was heard, `UPLOAD_SHARE` of that."""
GRACE_SECONDS = 600.0
"""How long the trainer may take to leave when the user's wish is the only trigger."""
STALLED_GRACE_SECONDS = 120.0
"""The same, of a trainer that has done nothing for many minutes: it hangs more likely than not, and the time is paid for."""
FAULT_GRACE_SECONDS = 60.0
"""The same, beside a GPU that is lost or has errors: another step may never come."""


@dataclass(frozen=True)
class Signals:
    """Signals of the instance, the user and the GPUs so far."""

    interruption: datetime | None = None
    """When AWS takes this spot instance back."""
    stopped: bool = False
    """The user asked for the end."""
    stalled: bool = False
    broken: bool = False
    """A GPU has failed."""


@dataclass(frozen=True)
class StopTrigger:
    """Reason to stop, and until when the trainer may take (`leave_by`) and the upload (`gone_by`), in seconds since 1970."""

    reason: EndReason
    leave_by: float
    gone_by: float


@dataclass(frozen=True)
class HardLimit:
    """The deadline or the moment at which the cost limit is reached, whichever is first: seconds since 1970."""

    reason: EndReason
    at: float
    lead: float
    """Seconds before it in which the trainer saves and the last upload is made."""

    @property
    def leave_by(self) -> float:
        return self.at - self.lead * UPLOAD_SHARE


def end_of(bill: Bill, deadline: int, now: datetime) -> HardLimit:
    """The nearer of the deadline and the moment at which the cost limit will have been reached.

    During the last upload nobody looks at prices any more, so that much of the money is counted at the highest. The watchdog ends an
    instance `money.LAST_SECONDS` before its money is gone, so that is its end for the agent too.
    """
    spent = bill.spent_at(now)
    if spent is not None and spent - billing.LAST_SECONDS < deadline:
        lead = _lead(bill.launched.timestamp(), spent)
        cautious = bill.spent_at(now, blind_seconds=lead * UPLOAD_SHARE) or spent
        return HardLimit(EndReason.COST_REACHED, cautious - billing.LAST_SECONDS, lead)
    return HardLimit(EndReason.TIMED_OUT, deadline, _lead(parse_timestamp(bill.attempt.claimed).timestamp(), deadline))


def _lead(since: float, end: float) -> float:
    return min(LEAD_SECONDS, max(SHORTEST_LEAD_SECONDS, (end - since) / 10))


def active_triggers(bill: Bill, deadline: int, now: datetime, signals: Signals) -> list[StopTrigger]:
    """Active stop triggers, the nearest end first.

    While prices stay the same, `leave_by` never comes earlier from one look to the next, so keeping the first trigger keeps its shares.
    """
    active = []
    moment = now.timestamp()
    end = end_of(bill, deadline, now)
    if signals.interruption is not None:
        gone = min(signals.interruption.timestamp(), end.at)
        upload = min(NOTICE_SHARE_SECONDS, max(0.0, gone - moment) * UPLOAD_SHARE)
        active.append(StopTrigger(EndReason.SPOT_INTERRUPTED, gone - upload, gone))
    if moment >= end.at - end.lead:
        active.append(StopTrigger(end.reason, end.leave_by, end.at))
    for wish, reason, grace in (
        (signals.stopped, EndReason.STOPPED_BY_USER, GRACE_SECONDS),
        (signals.stalled, EndReason.STALLED, STALLED_GRACE_SECONDS),
        (signals.broken, EndReason.HARDWARE_FAILED, FAULT_GRACE_SECONDS),
    ):
        if wish:
            active.append(StopTrigger(reason, min(moment + grace, end.leave_by), end.at - end.lead * UPLOAD_SHARE / 2))
    return sorted(active, key=lambda trigger: trigger.leave_by)
