"""Prices of the pools that an instance may come from, and the order in which they are tried.

Pure, standard library only: `launch` on the user's machine and the watchdog in Lambda choose alike. A pool is an instance type in a zone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from llmlab.contract import Attempt, Pool

NEAR = 1.25
"""Pools whose cost for the same work is within this factor of the best one go into the same request."""


def order(pools: Iterable[Pool], preferred: Sequence[str], *, spot: bool, beside: float = 0.0) -> tuple[Pool, ...]:
    """Order the pools as they are tried: by the user's order of instance types, then by cost for the same work.

    Pools without a price in the wanted market are left out. `beside`: US dollars an hour of the charges that every instance has
    (`Spec.charges`), which favour the faster pool.
    """
    rank = {name: index for index, name in enumerate(preferred)}
    offered = [pool for pool in pools if price(pool, spot=spot) is not None]

    def place(pool: Pool) -> tuple[int, float, str]:
        return rank.get(pool.instance_type, len(rank)), per_work(pool, spot=spot, beside=beside), pool.zone

    return tuple(sorted(offered, key=place))


def tiers(pools: Iterable[Pool], preferred: Sequence[str], *, spot: bool, beside: float = 0.0) -> tuple[tuple[Pool, ...], ...]:
    """Group the pools into requests, the best group first.

    Within a request EC2 weighs capacity against price and knows nothing of speed or of the user's order, so a group holds only what is
    as good as its best pool (`NEAR`), and one instance type where the user gave an order.
    """
    groups: list[list[Pool]] = []
    for pool in order(pools, preferred, spot=spot, beside=beside):
        best = groups[-1][0] if groups else None
        near = best is not None and per_work(pool, spot=spot, beside=beside) <= per_work(best, spot=spot, beside=beside) * NEAR
        if groups and best and near and (not preferred or pool.instance_type == best.instance_type):
            groups[-1].append(pool)
        else:
            groups.append([pool])
    return tuple(map(tuple, groups))


def reprice(pools: Iterable[Pool], spot_prices: Mapping[tuple[str, str], float]) -> tuple[Pool, ...]:
    """The pools with current spot prices by (type, zone); a pool without one keeps its old price."""
    return tuple(
        replace(pool, spot_price=spot_prices.get((pool.instance_type, pool.zone), pool.spot_price)) if pool.spot_price is not None else pool
        for pool in pools
    )


def per_work(pool: Pool, *, spot: bool, beside: float = 0.0) -> float:
    """US dollars for the work that the slowest pool does in an hour; infinite if the pool has no price."""
    dollars = price(pool, spot=spot)
    return math.inf if dollars is None else (dollars + beside) / pool.speed


def price(pool: Pool, *, spot: bool) -> float | None:
    """The price of a pool in US dollars an hour, None where it is not offered in that market."""
    return pool.spot_price if spot else pool.on_demand_price


def price_of(pools: Iterable[Pool], instance_type: str, zone: str, *, spot: bool) -> float:
    """The price of the pool an instance came from, in US dollars an hour.

    The highest of its type elsewhere when the zone is not listed, 0.0 when nothing is known.
    """
    same_type = [pool for pool in pools if pool.instance_type == instance_type and price(pool, spot=spot) is not None]
    same_zone = [pool for pool in same_type if pool.zone == zone]
    return max((price(pool, spot=spot) or 0.0 for pool in same_zone or same_type), default=0.0)


def price_at_start(attempt: Attempt, pools: Iterable[Pool], instance_type: str, zone: str, *, spot: bool) -> float:
    """The price in the claim of an attempt, or that of its instance's pool while the claim has none; US dollars an hour."""
    return attempt.price or price_of(pools, instance_type, zone, spot=spot)


def highest_price(pools: Iterable[Pool], instance_type: str, zone: str) -> float:
    """The highest possible spot price: the on-demand price, which is the limit of a request that names none; 0.0 when unknown.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-requests.html
    """
    return price_of(pools, instance_type, zone, spot=False)
