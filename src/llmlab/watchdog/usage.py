"""How much of its hours and dollars a run has used while its instance lives, and when each limit is reached. Pure.

A spot price may rise at any time, though never above the on-demand price, which is the limit of a request that names none
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-requests.html). So the cost is checked again when the limit would be reached
at that price: more and more often towards the end, some ten times for a run of hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from llmlab.contract import Attempt, PricePoint, Spec
from llmlab.lifecycle import billing, pool_order
from llmlab.lifecycle.instances import Instance


@dataclass(frozen=True)
class UsageMeter:
    """Usage of a run at `at` over all attempts, in instance hours and US dollars; `hourly` is the price now, `highest` its maximum."""

    at: datetime
    hours: float
    cost: float
    hourly: float
    highest: float
    max_hours: float
    max_cost: float | None

    @property
    def money_ends(self) -> float | None:
        """When the instance must be terminated for its cost if the price stays, in seconds since 1970; None without a limit."""
        end = billing.spent_at(self.max_cost, self.cost, self.at, self.hourly)
        return None if end is None else end - billing.LAST_SECONDS

    @property
    def money_up(self) -> bool:
        return self.money_ends is not None and self.at.timestamp() >= self.money_ends

    @property
    def look_at_money(self) -> float | None:
        """When to check the cost again, in seconds since 1970; None without a limit."""
        soonest = billing.spent_at(self.max_cost, self.cost, self.at, self.highest)
        return soonest if soonest is None else soonest - billing.LAST_SECONDS

    @property
    def mostly_used(self) -> str:
        """The limit of which most is used, in words; "" while there is none."""
        if self.hours >= self.max_hours * billing.MOST_OF_IT:
            return f"{self.hours:.1f} of {self.max_hours:g} hours"
        if self.max_cost is not None and self.cost >= self.max_cost * billing.MOST_OF_IT:
            return f"{billing.dollars(self.cost)} of {billing.dollars(self.max_cost)}"
        return ""

    @property
    def mostly_used_at(self) -> float:
        """When `mostly_used` becomes true if the price stays, in seconds since 1970; a second late, so that it is true by then."""
        by_hours = self.at.timestamp() + max(0.0, self.max_hours * billing.MOST_OF_IT - self.hours) * billing.HOUR
        limit = None if self.max_cost is None else self.max_cost * billing.MOST_OF_IT
        by_cost = billing.spent_at(limit, self.cost, self.at, self.hourly)
        return (by_hours if by_cost is None else min(by_hours, by_cost)) + 1


def read(spec: Spec, attempt: Attempt, instance: Instance, history: Sequence[PricePoint], now: datetime) -> UsageMeter:
    """Compute the usage of an attempt's instance. `history` is its pool's spot prices, () on demand."""
    price = price_at_start(spec, attempt, instance)
    highest = pool_order.highest_price(spec.pools, instance.instance_type, instance.zone) if instance.spot else 0.0
    bill = billing.Bill(attempt, instance.launched, spec.charges, price, highest, tuple(history))
    return UsageMeter(
        at=now,
        hours=attempt.hours_before + bill.hours(now),
        cost=bill.total(now),
        hourly=bill.hourly(now),
        highest=max(bill.hourly(now), bill.most_hourly),
        max_hours=attempt.max_hours,
        max_cost=attempt.max_cost,
    )


def price_at_start(spec: Spec, attempt: Attempt, instance: Instance) -> float:
    """The price of an attempt's instance when it was launched, in US dollars an hour."""
    return pool_order.price_at_start(attempt, spec.pools, instance.instance_type, instance.zone, spot=instance.spot)
