"""Hourly prices of instances, in US dollars: spot from its history, on demand from the Pricing API, or else from a shipped table.

Every price says whether it is approximate. A type of which nobody knows a price has none, rather than a made-up one.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from llmlab.aws import price_list
from llmlab.aws.session import Aws, AwsError
from llmlab.lifecycle import spot_prices

APPROXIMATE = {
    "g4dn.xlarge": 0.526, "g4dn.2xlarge": 0.752, "g4dn.4xlarge": 1.204, "g4dn.8xlarge": 2.176, "g4dn.12xlarge": 3.912,
    "g4dn.16xlarge": 4.352, "g4dn.metal": 7.824,
    "g5.xlarge": 1.006, "g5.2xlarge": 1.212, "g5.4xlarge": 1.624, "g5.8xlarge": 2.448, "g5.12xlarge": 5.672, "g5.16xlarge": 4.096,
    "g5.24xlarge": 8.144, "g5.48xlarge": 16.288,
    "g6.xlarge": 0.805, "g6.2xlarge": 0.978, "g6.4xlarge": 1.323, "g6.8xlarge": 2.014, "g6.12xlarge": 4.602, "g6.16xlarge": 3.397,
    "g6.24xlarge": 6.675, "g6.48xlarge": 13.35, "gr6.4xlarge": 1.539, "gr6.8xlarge": 2.446,
    "g6e.xlarge": 1.861, "g6e.2xlarge": 2.242, "g6e.4xlarge": 3.004, "g6e.8xlarge": 4.529, "g6e.12xlarge": 10.493, "g6e.16xlarge": 7.577,
    "g6e.24xlarge": 15.066, "g6e.48xlarge": 30.131,
    "p4d.24xlarge": 21.96, "p4de.24xlarge": 27.45, "p5.4xlarge": 6.88, "p5.48xlarge": 55.04, "p5en.48xlarge": 63.3,
    "p6-b200.48xlarge": 113.93,
}  # fmt: skip
"""Linux on demand in us-east-1 as last noted; other regions differ by up to a third."""

LINUX = {"operatingSystem": "Linux", "preInstalledSw": "NA", "tenancy": "Shared", "capacitystatus": "Used"}
MANY = 8
"""Above so many types, one query asks for every GPU instance of the region."""


@dataclass(frozen=True)
class Price:
    """US dollars an hour."""

    dollars: float
    approximate: bool = False


@dataclass(frozen=True)
class SpotPrice:
    """US dollars an hour of one pool: in force now, and the lowest and the highest of the days that were asked for."""

    now: float
    low: float
    high: float


def on_demand(aws: Aws, types: Sequence[str]) -> tuple[dict[str, Price], str]:
    """The on-demand price of each type in this region, and why the Pricing API did not answer ("" when it did).

    What it does not list comes from the shipped table; a type in neither is left out.
    """
    silent, listed = "", dict[str, float]()
    try:
        listed = _listed(aws, types)
    except AwsError as error:
        silent = error.message
    prices = {name: Price(listed[name]) for name in types if name in listed}
    return prices | {
        name: Price(APPROXIMATE[name], approximate=True) for name in types if name not in listed and name in APPROXIMATE
    }, silent


def _listed(aws: Aws, types: Sequence[str]) -> dict[str, float]:
    """The prices of these types by the Pricing API: all at once where there are many, and each of the rest by name."""
    listed: dict[str, float] = {}
    if len(types) > MANY:
        for product in price_list.products(aws, "AmazonEC2", {**LINUX, "instanceFamily": "GPU instance"}):
            price = price_list.dollars([product])
            if price:
                listed[price_list.attribute(product, "instanceType")] = price
    rest = [name for name in types if name not in listed]
    with ThreadPoolExecutor(MANY) as pool:
        answers = pool.map(lambda name: price_list.dollars(price_list.products(aws, "AmazonEC2", {**LINUX, "instanceType": name})), rest)
        return listed | {name: price for name, price in zip(rest, answers, strict=True) if price}


def spot(aws: Aws, types: Sequence[str], now: datetime, *, days: float = 0) -> dict[tuple[str, str], SpotPrice]:
    """The spot price now and its spread over the last `days`, by (type, zone).

    With the history's start set to now, AWS answers the price in force; with an earlier one also every change since.
    """
    prices = spot_prices.since(aws.ec2, types, now - timedelta(days=days))
    return {place: SpotPrice(points[-1], min(points), max(points)) for place, points in prices.items()}
