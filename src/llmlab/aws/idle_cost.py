"""The monthly cost of a lab in which nothing runs: every resource that AWS shows, times its price.

The resources are those of `leftovers`, which looks every kind up by tag or name; what one of them uses, its class says (`idle_cost`). The
watchdog's calls, of every hour and of every minute, are counted too.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from llmlab.aws import leftovers, rates
from llmlab.aws.leftovers import LeftoverOfKind
from llmlab.aws.owned import AwsResource, Leftover
from llmlab.aws.rates import Rate, Uses
from llmlab.aws.session import Aws
from llmlab.lifecycle.billing import CENT, dollars


@dataclass(frozen=True)
class ResourceCost:
    """The monthly cost of one resource in US dollars: after what is left of the account's free tier, and without a free tier."""

    kind: str
    name: str
    monthly: float
    without_free_tier: float


@dataclass(frozen=True)
class StandingCosts:
    """Of all things that are there, dearest first; those that cost nothing are in it too. Every price is approximate."""

    items: tuple[ResourceCost, ...]

    @property
    def monthly(self) -> float:
        return sum(item.monthly for item in self.items)

    @property
    def without_free_tier(self) -> float:
        return sum(item.without_free_tier for item in self.items)


def read(aws: Aws, resources: Sequence[type[AwsResource]], now: datetime) -> StandingCosts:
    """The monthly costs of a lab that may have resources of these classes."""
    idle = [(kind, leftover) for kind, leftover in leftovers.find_with_kinds(aws, resources) if kind is not leftovers.INSTANCES]
    with ThreadPoolExecutor(8) as pool:
        used = list(pool.map(lambda resource: _used(aws, resource, now), idle))
    return price(used, _used_by_others(aws))


def of(aws: Aws, resources: Iterable[LeftoverOfKind], now: datetime) -> StandingCosts:
    """The monthly costs of some resources, each with the whole free tier to itself."""
    return StandingCosts(tuple(item for resource in resources for item in price([_used(aws, resource, now)]).items))


def _used(aws: Aws, resource: LeftoverOfKind, now: datetime) -> tuple[Leftover, Uses]:
    kind, leftover = resource
    return leftover, list(kind.idle_cost(aws, leftover, now))


def words(costs: StandingCosts) -> str:
    """The costs in one sentence: the sum, and what most of it is where the free tier is used up."""
    named = [f"{cost.kind} {dollars(cost.without_free_tier)}" for cost in _by_kind(costs) if cost.without_free_tier >= CENT]
    full = f", {dollars(costs.without_free_tier)} where the account's free tier is used up: {', '.join(named)}" if named else ""
    return f"about {dollars(costs.monthly)} a month while nothing runs{full}"


def _by_kind(costs: StandingCosts) -> list[ResourceCost]:
    sums: dict[str, ResourceCost] = {}
    for cost in costs.items:
        before = sums.get(cost.kind, ResourceCost(cost.kind, "", 0.0, 0.0))
        sums[cost.kind] = ResourceCost(cost.kind, "", before.monthly + cost.monthly, before.without_free_tier + cost.without_free_tier)
    return sorted(sums.values(), key=lambda cost: -cost.without_free_tier)


def price(resources: Iterable[tuple[Leftover, Uses]], used: Mapping[Rate, float] | None = None) -> StandingCosts:
    """The costs of resources: the free tier, less what others have `used` of it, goes to those that come first."""
    taken = dict(used or {})
    items = []
    for leftover, uses in resources:
        monthly = full = 0.0
        for amount, rate in uses:
            free = min(amount, max(0.0, rate.free - taken.get(rate, 0.0)))
            taken[rate] = taken.get(rate, 0.0) + amount
            monthly += (amount - free) * rate.dollars
            full += amount * rate.dollars
        items.append(ResourceCost(leftover.kind, leftover.id, monthly, full))
    return StandingCosts(tuple(sorted(items, key=lambda item: (-item.without_free_tier, item.kind, item.name))))


def _used_by_others(aws: Aws) -> dict[Rate, float]:
    """Dashboards and alarms of the account that are not this lab's; what else it uses is not known."""
    client = aws.client("cloudwatch")
    dashboards = [
        dashboard["DashboardName"] for page in client.get_paginator("list_dashboards").paginate() for dashboard in page["DashboardEntries"]
    ]
    alarms = [alarm["AlarmName"] for page in client.get_paginator("describe_alarms").paginate() for alarm in page["MetricAlarms"]]
    return {
        rates.DASHBOARD: float(sum(name != aws.names.dashboard for name in dashboards)),
        rates.ALARM: float(sum(not name.startswith(f"{aws.lab}-") for name in alarms)),
    }
