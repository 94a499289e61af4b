"""How much of its hours and dollars a run has used while an instance is at it, and when each ceiling comes. Pure.

A spot price may rise at any time, though never above the on-demand price, which is the limit of a request that names none
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-requests.html). So the end of the money is looked at again when it would have
come at that price: sooner and sooner towards the end, some ten times for a run of hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from llmlab import money, pricing
from llmlab.contract import Attempt, PricePoint, Spec
from llmlab.watchdog.machines import LabInstance


@dataclass(frozen=True)
class UsageMeter:
    """What is used at the moment `at`, over all attempts: instance hours and US dollars; and what an hour costs, now and at most."""

    at: datetime
    hours: float
    cost: float
    hourly: float
    highest: float
    max_hours: float
    max_cost: float | None

    @property
    def money_ends(self) -> float | None:
        """When the instance has to go for its cost, in seconds since 1970, if the price stays; None without a limit."""
        end = money.spent_at(self.max_cost, self.cost, self.at, self.hourly)
        return None if end is None else end - money.LAST_SECONDS

    @property
    def money_up(self) -> bool:
        return self.money_ends is not None and self.at.timestamp() >= self.money_ends

    @property
    def look_at_money(self) -> float | None:
        """When to look at the cost again."""
        soonest = money.spent_at(self.max_cost, self.cost, self.at, self.highest)
        return soonest if soonest is None else soonest - money.LAST_SECONDS

    @property
    def mostly_used(self) -> str:
        """Which ceiling most of is used of, in words; "" while none is."""
        if self.hours >= self.max_hours * money.MOST_OF_IT:
            return f"{self.hours:.1f} of {self.max_hours:g} hours"
        if self.max_cost is not None and self.cost >= self.max_cost * money.MOST_OF_IT:
            return f"{money.dollars(self.cost)} of {money.dollars(self.max_cost)}"
        return ""

    @property
    def mostly_used_at(self) -> float:
        """When that will be, in seconds since 1970; a second later, so that it is true by then."""
        by_hours = self.at.timestamp() + max(0.0, self.max_hours * money.MOST_OF_IT - self.hours) * money.HOUR
        limit = None if self.max_cost is None else self.max_cost * money.MOST_OF_IT
        by_cost = money.spent_at(limit, self.cost, self.at, self.hourly)
        return (by_hours if by_cost is None else min(by_hours, by_cost)) + 1


def read(spec: Spec, attempt: Attempt, instance: LabInstance, history: Sequence[PricePoint], now: datetime) -> UsageMeter:
    """The meter of an attempt's instance. `history` is of its pool's spot price, () on demand."""
    price = price_at_start(spec, attempt, instance)
    highest = pricing.highest_price(spec.pools, instance.instance_type, instance.zone) if instance.spot else 0.0
    bill = money.Bill(attempt, instance.launched, spec.charges, price, highest, tuple(history))
    return UsageMeter(
        at=now,
        hours=attempt.hours_before + bill.hours(now),
        cost=bill.total(now),
        hourly=bill.hourly(now),
        highest=max(bill.hourly(now), bill.most_hourly),
        max_hours=attempt.max_hours,
        max_cost=attempt.max_cost,
    )


def price_at_start(spec: Spec, attempt: Attempt, instance: LabInstance) -> float:
    """What an hour of an attempt's instance cost when it was launched, in US dollars."""
    return pricing.price_at_start(attempt, spec.pools, instance.instance_type, instance.zone, spot=instance.spot)
