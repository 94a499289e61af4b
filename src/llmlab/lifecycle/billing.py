"""The cost of an attempt and the time that its limits leave: arithmetic over prices and times, standard library only.

The command line, the agent and the watchdog use the same formulas, so that the limit that `launch` shows is the one that ends a run. A spot
price holds from one change to the next; a disk and an address are paid for as long as the instance lives, whatever becomes of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmlab.contract import Attempt, Charge, PricePoint, parse_timestamp

HOUR = 3600
INSTANCE = "instance"
"""The key of the instance itself among the parts of a cost; the others are `Charge.what`."""
FREE_HOURS = 1.0
"""AWS charges nothing for a spot instance that it takes back within its first hour; its disk and its address it does.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html"""
MOST_OF_IT = 0.8
"""The share of a limit at which a notice is sent."""
LAST_SECONDS = 60.0
"""An instance is terminated this long before its cost limit is reached, because a schedule fires within the minute that it names; its agent
ends before that. https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"""


# ---------------------------------------------------------------- dollars


CENT = 0.01


def dollars(amount: float | None) -> str:
    """Format US dollars, the same everywhere: `$0.31`, `-$0.31`, under a cent `$0.0031`; "" for None."""
    if amount is None:
        return ""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    return f"{sign}${size:.4f}" if CENT / 100 <= size < CENT else f"{sign if size >= CENT / 2 else ''}${size:,.2f}"


def instance_cost(history: Sequence[PricePoint], start: datetime, end: datetime, price: float) -> float:
    """US dollars for an instance from `start` to `end`, each price of its pool for as long as it held.

    `history` in any order; `price` (dollars an hour) holds before its first point, and throughout when there is none.
    """
    total, since, current = 0.0, start, price
    for point in sorted(history, key=lambda point: point.at):
        at = parse_timestamp(point.at)
        if at >= end:
            break
        if at > since:
            total += current * attempt_hours(since, at)
            since = at
        current = point.dollars
    return total + current * attempt_hours(since, end)


def attempt_costs(
    charges: Iterable[Charge],
    start: datetime,
    end: datetime,
    price: float,
    history: Sequence[PricePoint] = (),
    *,
    interrupted: bool = False,
) -> dict[str, float]:
    """US dollars of an attempt by part: the instance first, then each charge. `interrupted`: AWS took the spot instance back."""
    hours = attempt_hours(start, end)
    free = interrupted and hours < FREE_HOURS
    return parts_of(charges, 0.0 if free else instance_cost(history, start, end, price), hours)


def parts_of(charges: Iterable[Charge], instance: float, hours: float) -> dict[str, float]:
    """US dollars by part: `instance` dollars for the instance, and each charge for `hours` hours."""
    return total_parts([{INSTANCE: instance}, *({charge.what: charge.hourly * hours} for charge in charges)])


def beside(charges: Iterable[Charge]) -> float:
    """US dollars an hour of the charges that every instance has, such as disk and address."""
    return sum(charge.hourly for charge in charges)


def hourly(charges: Iterable[Charge], price: float) -> float:
    """US dollars an hour of an instance at `price`, with its charges."""
    return price + beside(charges)


def price_now(history: Iterable[PricePoint], now: datetime, price: float) -> float:
    """The price in force at `now`: that of the newest earlier point, else `price`."""
    past = [point for point in history if parse_timestamp(point.at) <= now]
    return max(past, key=lambda point: point.at).dollars if past else price


def total(parts: Mapping[str, float]) -> float:
    return sum(parts.values())


def total_parts(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The parts of several attempts or runs, each kind summed."""
    parts: dict[str, float] = {}
    for cost in costs:
        for what, dollars in cost.items():
            parts[what] = parts.get(what, 0.0) + dollars
    return parts


# ---------------------------------------------------------------- limits


def hours_left(max_hours: float, hours_before: float) -> float:
    """The rest of `max_hours`, which counts instance hours over all attempts; never below 0."""
    return max(0.0, max_hours - hours_before)


def cost_left(max_cost: float | None, cost_before: float) -> float | None:
    """The rest of the cost limit in US dollars, None without a limit; never below 0."""
    return None if max_cost is None else max(0.0, max_cost - cost_before)


def deadline_of(now: datetime, hours: float) -> int:
    """The deadline of an attempt that starts now, in seconds since 1970."""
    return int(now.timestamp() + hours * HOUR)


def spent_at(limit: float | None, spent: float, now: datetime, per_hour: float) -> float | None:
    """When `limit` dollars are spent, given `spent` dollars now and `per_hour` from now on, in seconds since 1970; None if never."""
    if limit is None or per_hour <= 0:
        return None
    return now.timestamp() + max(0.0, limit - spent) / per_hour * HOUR


def attempt_hours(launched: datetime, ended: datetime) -> float:
    return max(0.0, (ended - launched).total_seconds() / HOUR)


# ---------------------------------------------------------------- both, of one attempt


@dataclass(frozen=True)
class Bill:
    """The cost of an attempt at any time, and the time at which its cost limit is reached.

    `price` was in force at the start, `history` are the later prices, `highest` is the maximum; US dollars an hour.
    """

    attempt: Attempt
    launched: datetime
    charges: tuple[Charge, ...]
    price: float
    highest: float
    history: tuple[PricePoint, ...] = ()

    def hours(self, now: datetime) -> float:
        """Instance hours of this attempt alone."""
        return attempt_hours(self.launched, now)

    def parts(self, now: datetime, *, interrupted: bool = False) -> dict[str, float]:
        """US dollars of this attempt alone, by part. `interrupted`: AWS has taken this spot instance back."""
        return attempt_costs(self.charges, self.launched, now, self.price, self.history, interrupted=interrupted)

    def total(self, now: datetime) -> float:
        """US dollars over all attempts."""
        return self.attempt.cost_before + total(self.parts(now))

    def hourly(self, now: datetime) -> float:
        """US dollars an hour at the current price, with the instance's charges."""
        return hourly(self.charges, price_now(self.history, now, self.price))

    def spent_at(self, now: datetime, *, blind_seconds: float = 0.0) -> float | None:
        """When the cost limit is reached, in seconds since 1970; None without a limit.

        Uses the current price, except for the last `blind_seconds`, which are charged at the highest price.
        """
        hourly = self.hourly(now)
        reserve = max(0.0, self.most_hourly - hourly) * blind_seconds / HOUR
        return spent_at(self.attempt.max_cost, self.total(now) + reserve, now, hourly)

    def is_near(self, now: datetime, seconds: float) -> bool:
        """Whether the cost limit could be reached within `seconds` if the price rose to the highest."""
        at = spent_at(self.attempt.max_cost, self.total(now), now, max(self.most_hourly, self.hourly(now)))
        return at is not None and at - now.timestamp() < seconds

    @property
    def most_hourly(self) -> float:
        return hourly(self.charges, self.highest)
