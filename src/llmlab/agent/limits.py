"""When a run has to save and leave, and for what reason: an interruption, the user, the deadline or the cost."""

from dataclasses import dataclass
from datetime import datetime

from llmlab import money
from llmlab.contract import Attempt, EndReason, parse_timestamp

LEAD_SECONDS = 300.0
"""How long before the hard deadline the trainer is asked to save, at most; a tenth of the attempt where that is less."""
SHORTEST_LEAD_SECONDS = 10.0
UPLOAD_SHARE = 0.4
"""Of the lead, or of a short notice, what is kept for the upload after the trainer has left."""
NOTICE_SHARE_SECONDS = 25.0
"""Of the two minutes of a spot notice, what is kept for the upload; where less was left when it was heard, `UPLOAD_SHARE` of that."""
GRACE_SECONDS = 600.0
"""How long the trainer may take to leave when nothing but a wish of the user presses."""


@dataclass(frozen=True)
class Pressure:
    """Why to leave, and until when the trainer may take (`leave_by`) and the upload (`gone_by`), in seconds since 1970."""

    reason: EndReason
    leave_by: float
    gone_by: float


def hours_so_far(attempt: Attempt, now: datetime) -> float:
    """Hours of this attempt alone."""
    return money.attempt_hours(parse_timestamp(attempt.launched or attempt.claimed), now)


def cost_so_far(attempt: Attempt, price: float, now: datetime) -> float:
    """US dollars over all attempts."""
    return attempt.cost_before + price * hours_so_far(attempt, now)


def lead_seconds(attempt: Attempt, deadline: int) -> float:
    length = deadline - parse_timestamp(attempt.claimed).timestamp()
    return min(LEAD_SECONDS, max(SHORTEST_LEAD_SECONDS, length / 10))


def pressures(
    attempt: Attempt, deadline: int, price: float, now: datetime, *, interruption: datetime | None, stopped: bool
) -> list[Pressure]:
    """Everything that presses now, the nearest end first.

    A `leave_by` never comes earlier from one look to the next, so who keeps the first one keeps the shares as they were then.
    """
    found = []
    moment = now.timestamp()
    lead = lead_seconds(attempt, deadline)
    if interruption is not None:
        gone = min(interruption.timestamp(), float(deadline))
        upload = min(NOTICE_SHARE_SECONDS, max(0.0, gone - moment) * UPLOAD_SHARE)
        found.append(Pressure(EndReason.SPOT_INTERRUPTED, gone - upload, gone))
    if moment >= deadline - lead:
        found.append(Pressure(EndReason.TIMED_OUT, deadline - lead * UPLOAD_SHARE, deadline))
    gone = deadline - lead * UPLOAD_SHARE / 2
    leave = min(moment + GRACE_SECONDS, deadline - lead * UPLOAD_SHARE)
    if stopped:
        found.append(Pressure(EndReason.STOPPED_BY_USER, leave, gone))
    if attempt.max_cost is not None and cost_so_far(attempt, price, now) >= attempt.max_cost:
        found.append(Pressure(EndReason.COST_REACHED, leave, gone))
    return sorted(found, key=lambda pressure: pressure.leave_by)
