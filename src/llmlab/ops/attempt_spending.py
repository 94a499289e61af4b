"""The cost of each attempt of a run, by part: the one account behind `status`, `cost` and `report`.

An attempt that has ended cost what its end says, which the agent or the watchdog summed from the prices of its pool as they changed. A
live one cost what its heartbeat says, and since then the price it was launched at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from llmlab.contract import Attempt, AttemptEnd, Charge, EndReason, Heartbeat, Marker, parse_timestamp
from llmlab.lifecycle import billing


@dataclass(frozen=True)
class AttemptCost:
    """One attempt's part of a span of time, in hours and US dollars. `price` is that of an hour when it was launched.

    `cost` is the sum of `parts` (the instance, then each charge). `free`: AWS took the instance back within its first hour.
    """

    number: int
    instance_type: str
    zone: str
    spot: bool
    price: float
    hours: float
    parts: dict[str, float]
    cost: float
    running: bool = False
    free: bool = False


@dataclass(frozen=True)
class Account:
    """The documents about a run's attempts, in any order. `heartbeat` is that of the newest attempt, if there is one."""

    charges: Sequence[Charge]
    attempts: Sequence[Attempt]
    ends: Mapping[int, AttemptEnd]
    marker: Marker | None = None
    heartbeat: Heartbeat | None = None


def by_attempt(account: Account, now: datetime, since: datetime | None = None, until: datetime | None = None) -> tuple[AttemptCost, ...]:
    """The cost of each attempt that had an instance between `since` and `until`; of all of its time without them.

    Of an attempt that lies across a limit the share of its time counts, whatever the price was then.
    """
    started = sorted((attempt for attempt in account.attempts if attempt.launched), key=lambda attempt: attempt.number)
    costs = []
    for index, attempt in enumerate(started):
        launched = parse_timestamp(attempt.launched)
        following = started[index + 1] if index + 1 < len(started) else None
        gone = _gone(account, attempt, following, now)
        begin, stop = max(since or launched, launched), min(until or gone, gone)
        if stop < begin or (stop == begin and gone > launched):
            continue
        share = billing.attempt_hours(begin, stop) / billing.attempt_hours(launched, gone) if gone > launched else 1.0
        end = account.ends.get(attempt.number)
        whole = _parts(account, attempt, end, launched, gone)
        hours = end.hours if end and end.hours else billing.attempt_hours(launched, gone)
        parts = {what: dollars * share for what, dollars in whole.items()}
        costs.append(
            AttemptCost(
                number=attempt.number,
                instance_type=attempt.instance_type,
                zone=attempt.zone,
                spot=attempt.spot,
                price=attempt.price,
                hours=hours * share,
                parts=parts,
                cost=billing.total(parts),
                running=end is None and gone == now,
                free=_is_interrupted(attempt, end) and hours < billing.FREE_HOURS,
            )
        )
    return tuple(costs)


def _gone(account: Account, attempt: Attempt, following: Attempt | None, now: datetime) -> datetime:
    """When an attempt's instance ended: at its end, before the next attempt, with the run, at its deadline, or not yet (`now`)."""
    limits = [now, datetime.fromtimestamp(attempt.deadline, UTC)]
    if attempt.number in account.ends:
        limits.append(parse_timestamp(account.ends[attempt.number].ended))
    elif following is not None:
        limits.append(parse_timestamp(following.launched))
    elif account.marker is not None and account.marker.attempts >= attempt.number:
        limits.append(parse_timestamp(account.marker.ended))
    return min(limits)


def _parts(account: Account, attempt: Attempt, end: AttemptEnd | None, launched: datetime, gone: datetime) -> dict[str, float]:
    """The cost of an attempt's whole time in US dollars, by part."""
    if end is not None and end.costs:
        return dict(end.costs)
    if end is not None and end.cost:
        return {billing.INSTANCE: end.cost}
    parts = billing.attempt_costs(account.charges, launched, gone, attempt.price, interrupted=_is_interrupted(attempt, end))
    beat = account.heartbeat
    heard = parse_timestamp(beat.at) if end is None and beat and beat.attempt == attempt.number else None
    if beat is not None and heard is not None and launched < heard <= gone and beat.cost > attempt.cost_before:
        charges = billing.total(parts) - parts[billing.INSTANCE]
        until_heard = (
            beat.cost - attempt.cost_before - charges * billing.attempt_hours(launched, heard) / billing.attempt_hours(launched, gone)
        )
        parts[billing.INSTANCE] = max(0.0, until_heard) + attempt.price * billing.attempt_hours(heard, gone)
    return parts


def _is_interrupted(attempt: Attempt, end: AttemptEnd | None) -> bool:
    return end is not None and attempt.spot and end.reason is EndReason.SPOT_INTERRUPTED
