"""List prices of GPU instances, for the sandbox's Pricing API and spot market.

On-demand, Linux, US dollars an hour in us-east-1, from the public EC2 price list as it stood in 2026; other regions by a factor.
Types that are offered but not listed here (g7) have no product and no spot price: their cost is unknown.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

ON_DEMAND = {
    "g4dn.xlarge": 0.526, "g4dn.2xlarge": 0.752, "g4dn.4xlarge": 1.204, "g4dn.8xlarge": 2.176, "g4dn.12xlarge": 3.912,
    "g4dn.16xlarge": 4.352, "g4dn.metal": 7.824,
    "g5.xlarge": 1.006, "g5.2xlarge": 1.212, "g5.4xlarge": 1.624, "g5.8xlarge": 2.448, "g5.12xlarge": 5.672, "g5.16xlarge": 4.096,
    "g5.24xlarge": 8.144, "g5.48xlarge": 16.288,
    "g6.xlarge": 0.8048, "g6.2xlarge": 0.9776, "g6.4xlarge": 1.3232, "g6.8xlarge": 2.0144, "g6.12xlarge": 4.6016,
    "g6.16xlarge": 3.3968, "g6.24xlarge": 6.6752, "g6.48xlarge": 13.3504, "gr6.4xlarge": 1.5392, "gr6.8xlarge": 2.4464,
    "g6e.xlarge": 1.861, "g6e.2xlarge": 2.24208, "g6e.4xlarge": 3.00424, "g6e.8xlarge": 4.52856, "g6e.12xlarge": 10.49264,
    "g6e.16xlarge": 7.57719, "g6e.24xlarge": 15.06559, "g6e.48xlarge": 30.13118,
    "g7e.2xlarge": 3.36312, "g7e.4xlarge": 4.00424, "g7e.8xlarge": 5.26752, "g7e.12xlarge": 8.28612, "g7e.24xlarge": 16.57224,
    "g7e.48xlarge": 33.14448,
    "p4d.24xlarge": 21.957642, "p4de.24xlarge": 27.447053, "p5.4xlarge": 6.88, "p5.48xlarge": 55.04, "p5en.48xlarge": 63.296,
    "p6-b200.48xlarge": 113.9328,
}  # fmt: skip
FACTORS = {
    "us-east-1": 1.0,
    "us-east-2": 1.0,
    "us-west-2": 1.0,
    "us-west-1": 1.2,
    "eu-west-1": 1.11,
    "eu-north-1": 1.06,
    "eu-central-1": 1.25,
}
OTHER_FACTOR = 1.22
GP3_MONTH = 0.08
"""US dollars for a gigabyte-month of gp3 in us-east-1."""
THROUGHPUT_MONTH = 40.96
"""US dollars for a month of one GiB/s of gp3 in us-east-1."""
ADDRESS_HOUR = 0.005
"""US dollars for an hour of a public IPv4 address, in any region."""
SPOT_STEP = timedelta(hours=6)
MARKET: list[Callable[[str, str, datetime], tuple[datetime, float] | None]] = []
"""When set, answers `spot_price` in place of the sandbox's own price curve."""


def on_demand_price(instance_type: str, region: str) -> float | None:
    """The on-demand price in US dollars an hour, or None for a type without a product."""
    price = ON_DEMAND.get(instance_type)
    return None if price is None else round(price * factor(region), 5)


def factor(region: str) -> float:
    """The region's price relative to us-east-1."""
    return FACTORS.get(region, OTHER_FACTOR)


def spot_price(instance_type: str, zone: str, moment: datetime) -> tuple[datetime, float] | None:
    """The spot price of a pool at a moment, as (valid since, US dollars an hour): 30 to 55 % of on-demand, moving every six hours.

    None for a type without a list price.
    """
    if MARKET:
        return MARKET[-1](instance_type, zone, moment)
    listed = on_demand_price(instance_type, zone[:-1])
    if listed is None:
        return None
    step = int(moment.timestamp() // SPOT_STEP.total_seconds())
    pool = int(hashlib.sha256(f"{instance_type}/{zone}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    move = int(hashlib.sha256(f"{instance_type}/{zone}/{step}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    since = datetime.fromtimestamp(step * SPOT_STEP.total_seconds(), UTC)
    return since, round(listed * (0.30 + 0.22 * pool + 0.03 * move), 4)
