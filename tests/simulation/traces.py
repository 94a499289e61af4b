"""Spot traces of a schedule: the price of each pool at each moment, and the times when it has no capacity.

They are generated from a seed, or read from a list. Generated ones have the shape of AWS's own histories: a spot price is a third to a half
of the on-demand price and moves a few percent every few hours, rarely by a half; a pool has capacity for some hours, then none for a while.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-instances-history.html
"""

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmlab.sandbox.catalogue import on_demand_price
from tests.simulation.dice import SeededRandom

HOUR = 3600.0


@dataclass(frozen=True)
class Trace:
    """The prices and capacity of one pool. Moments in seconds since 1970.

    `prices` are (moment, US dollars an hour from then on), in order, the first at or before the beginning; `closed` are (from, to) without
    spot capacity and `closed_on_demand` without on-demand capacity, in order and disjoint.
    """

    instance_type: str
    zone: str
    on_demand: float
    prices: tuple[tuple[float, float], ...]
    closed: tuple[tuple[float, float], ...] = ()
    closed_on_demand: tuple[tuple[float, float], ...] = ()

    def price(self, moment: float, *, spot: bool) -> float:
        """The price at a moment, in US dollars an hour."""
        return self.prices[self._index(moment)][1] if spot else self.on_demand

    def point(self, moment: float) -> tuple[float, float]:
        """The spot price in force at a moment, as (valid since, US dollars an hour)."""
        return self.prices[self._index(moment)]

    def _index(self, moment: float) -> int:
        return max(0, bisect.bisect_right(self.prices, (moment, float("inf"))) - 1)

    def open(self, moment: float, *, spot: bool) -> bool:
        return _gap(self.closed if spot else self.closed_on_demand, moment) is None

    def closes(self, moment: float) -> float | None:
        """The moment when spot capacity runs out next, None when never."""
        return next((begin for begin, _ in self.closed if begin > moment), None)

    def dollars(self, start: float, end: float, *, spot: bool) -> float:
        """The cost in US dollars of an instance from `start` to `end`, summed over the changes of its price."""
        if not spot:
            return self.on_demand * (end - start) / HOUR
        cuts = [start, *(moment for moment, _ in self.prices if start < moment < end), end]
        return sum(self.price(begin, spot=True) * (stop - begin) / HOUR for begin, stop in itertools.pairwise(cuts))


def _gap(gaps: Sequence[tuple[float, float]], moment: float) -> tuple[float, float] | None:
    index = bisect.bisect_right(gaps, (moment, float("inf"))) - 1
    return gaps[index] if index >= 0 and gaps[index][0] <= moment < gaps[index][1] else None


@dataclass(frozen=True)
class SpotTraces:
    """The traces of all pools, by (instance type, zone)."""

    traces: Mapping[tuple[str, str], Trace]

    def trace(self, instance_type: str, zone: str) -> Trace:
        return self.traces[instance_type, zone]

    def dearest(self, start: float, end: float) -> float:
        """The highest price of any pool, spot or on-demand, from `start` to `end`, in US dollars an hour."""
        spot = [price for trace in self.traces.values() for moment, price in [trace.point(start), *trace.prices] if moment <= end]
        return max([*spot, *(trace.on_demand for trace in self.traces.values())])


def from_list(items: Iterable[Mapping[str, Any]], begin: float) -> SpotTraces:
    """Spot traces from plain data: `type`, `zone`, `on_demand`, `prices` and `closed` with hours after `begin` as moments."""

    def gaps(item: Mapping[str, Any], name: str) -> tuple[tuple[float, float], ...]:
        return tuple((begin + first * HOUR, begin + last * HOUR) for first, last in item.get(name, ()))

    return SpotTraces(
        {
            (item["type"], item["zone"]): Trace(
                item["type"], item["zone"], float(item["on_demand"]),
                tuple((begin + hours * HOUR, float(price)) for hours, price in item["prices"]),
                gaps(item, "closed"), gaps(item, "closed_on_demand"),
            )
            for item in items
        }
    )  # fmt: skip


def made(
    dice: SeededRandom, pools: Iterable[tuple[str, str]], begin: float, hours: float, *, up_hours: float = 9.0, out_hours: float = 2.0
) -> SpotTraces:
    """Spot traces from a seed. `up_hours` and `out_hours` are the mean times that a pool has capacity, and then has none."""
    end = begin + hours * HOUR
    return SpotTraces({pool: _made(dice, *pool, begin, end, up_hours, out_hours) for pool in pools})


def _made(dice: SeededRandom, instance_type: str, zone: str, begin: float, end: float, up_hours: float, out_hours: float) -> Trace:
    listed = on_demand_price(instance_type, zone[:-1])
    assert listed is not None, f"{instance_type} has no list price"
    name = f"{instance_type}/{zone}"
    share = dice.between(0.30, 0.55, name, "share")
    prices, moment = [(begin - 48 * HOUR, round(listed * share, 4))], begin - 48 * HOUR
    while moment < end:
        moment += dice.between(1, 12, name, "step", moment) * HOUR
        rise = dice.between(1.3, 2.0, name, "rise", moment) if dice.happens(0.04, name, "rises", moment) else 1.0
        share = (
            min(1.0, max(0.25, share * dice.between(0.94, 1.065, name, "move", moment) * rise)) if rise > 1 or share < 0.6 else share * 0.8
        )
        prices.append((float(int(moment)), round(listed * share, 4)))
    closed: list[tuple[float, float]] = []
    moment = begin - dice.between(0, up_hours, name, "phase") * HOUR
    while moment < end:
        first = moment + dice.wait(up_hours, name, "up", moment) * HOUR
        moment = first + max(0.1, dice.wait(out_hours, name, "out", moment)) * HOUR
        closed.append((first, moment))
    rare = dice.between(0, hours_of(begin, end), name, "rare") * HOUR + begin
    on_demand = ((rare, rare + HOUR),) if dice.happens(0.15, name, "rarely") else ()
    return Trace(instance_type, zone, listed, tuple(prices), tuple(closed), on_demand)


def hours_of(begin: float, end: float) -> float:
    return (end - begin) / HOUR
