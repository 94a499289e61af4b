"""Which pools the next attempt requests an instance from, and when it retries after no pool had capacity. Pure.

The only memory of failures is the attempts' ends in the bucket.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Pool, Spec
from llmlab.lifecycle import billing, pool_order

PAUSE_MINUTES = (1, 2, 4, 8, 16, 30)
"""Pauses between one request for capacity and the next; the last one repeats."""
EXCLUDED_MINUTES = 30
"""How long a pool whose instance failed is tried only after all other pools."""
LEAST_HOURS = 0.05
"""With fewer hours left, by time or by money, an attempt would end before it has trained and saved."""
FAILED_BY_POOL = {EndReason.SPOT_INTERRUPTED, EndReason.INSTANCE_LOST, EndReason.HARDWARE_FAILED, EndReason.NO_CAPACITY}

Prices = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Ask:
    """The pools of one CreateFleet request, all about equally good."""

    pools: tuple[Pool, ...]
    spot: bool


def asks(
    spec: Spec, attempts: Sequence[Attempt], ends: Sequence[AttemptEnd], prices: Prices, left: float | None, now: datetime
) -> tuple[Ask, ...]:
    """The CreateFleet requests to make, best first; pools that have just failed come last.

    `ends` are in order, `prices` are current spot prices by (type, zone), `left` is the rest of the cost limit in US dollars: pools that
    would use it up before anything is gained are left out.
    """
    pools = pool_order.reprice(spec.pools, prices)
    failed = _failed(attempts, ends, now)
    requests = []
    for spot in markets(spec, attempts, ends, now):
        can = [pool for pool in pools if _pays(spec, pool, left, spot=spot)]
        good = [pool for pool in can if (pool.instance_type, pool.zone) not in failed]
        last = [pool for pool in can if pool not in good]
        beside = billing.beside(spec.charges)
        requests += [Ask(tier, spot) for some in (good, last) for tier in pool_order.tiers(some, spec.preferred, spot=spot, beside=beside)]
    return tuple(requests)


def _pays(spec: Spec, pool: Pool, left: float | None, *, spot: bool) -> bool:
    price = pool_order.price(pool, spot=spot)
    return price is not None and (left is None or left >= billing.hourly(spec.charges, price) * LEAST_HOURS)


def _failed(attempts: Sequence[Attempt], ends: Sequence[AttemptEnd], now: datetime) -> set[tuple[str, str]]:
    """The pools whose instance failed within the last half hour, by (type, zone)."""
    recent = {end.number for end in ends if end.reason in FAILED_BY_POOL and now - _ended(end) < timedelta(minutes=EXCLUDED_MINUTES)}
    return {(attempt.instance_type, attempt.zone) for attempt in attempts if attempt.number in recent and attempt.instance}


def markets(spec: Spec, attempts: Sequence[Attempt], ends: Sequence[AttemptEnd], now: datetime) -> tuple[bool, ...]:
    """The markets to request from, in order, True for spot. A run that has moved to on-demand stays there."""
    held = next((attempt for attempt in reversed(attempts) if attempt.instance), attempts[-1])
    if not held.spot:
        return (False,)
    if not spec.fallback_on_demand:
        return (True,)
    if sum(end.reason is EndReason.SPOT_INTERRUPTED for end in ends) >= spec.fallback_interruptions:
        return (False, True)
    waiting = outage(ends)
    if waiting and now - _ended(waiting[0]) >= timedelta(minutes=spec.fallback_minutes):
        return (True, False)
    return (True,) if spec.fallback_minutes > 0 else (True, False)


# ---------------------------------------------------------------- waiting


def outage(ends: Sequence[AttemptEnd]) -> tuple[AttemptEnd, ...]:
    """The failed requests for capacity since the last instance, in order."""
    tries: list[AttemptEnd] = []
    for end in reversed(ends):
        if end.reason is not EndReason.NO_CAPACITY:
            break
        tries.insert(0, end)
    return tuple(tries)


def next_try(spec: Spec, waiting: Sequence[AttemptEnd], attempts: Sequence[Attempt]) -> datetime:
    """When to request capacity again: after a pause, when on-demand becomes allowed, or when the run is given up, whichever is first."""
    pause = PAUSE_MINUTES[min(len(waiting), len(PAUSE_MINUTES)) - 1]
    moments = [_ended(waiting[-1]) + timedelta(minutes=pause), given_up_at(spec, waiting)]
    falls = _ended(waiting[0]) + timedelta(minutes=spec.fallback_minutes)
    if spec.fallback_on_demand and attempts[-1].spot and falls > _ended(waiting[-1]):
        moments.append(falls)
    return min(moments)


def given_up_at(spec: Spec, waiting: Sequence[AttemptEnd]) -> datetime:
    return _ended(waiting[0]) + timedelta(hours=spec.wait_hours)


def _ended(end: AttemptEnd) -> datetime:
    return contract.parse_timestamp(end.ended)
