"""What an hour costs, in US dollars: spot from its history, on demand from the Pricing API, and a shipped table when that does not answer.

Every price says whether it is approximate. A type of which nobody knows a price has none, rather than a made-up one.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.session import Aws, AwsError

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

ENDPOINTS = {"ap": "ap-south-1", "eu": "eu-central-1"}
"""The Pricing API answers in three regions only; us-east-1 for everybody else."""


@dataclass(frozen=True)
class Price:
    """US dollars an hour."""

    dollars: float
    approximate: bool = False


def on_demand(aws: Aws, types: Iterable[str]) -> dict[str, Price]:
    """The on-demand price of each type in this region; a type without a known price is left out."""
    types = list(types)
    if not types:
        return {}
    with ThreadPoolExecutor(min(8, len(types))) as pool:
        asked = dict(zip(types, pool.map(lambda one: _ask(aws, one), types), strict=True))
    found = {name: Price(dollars) for name, dollars in asked.items() if dollars}
    return found | {name: Price(APPROXIMATE[name], approximate=True) for name in types if name not in found and name in APPROXIMATE}


def _ask(aws: Aws, instance_type: str) -> float | None:
    """What the Pricing API says, or None when it does not answer, which costs accuracy but stops no launch."""
    wanted = {
        "instanceType": instance_type, "regionCode": aws.region, "operatingSystem": "Linux",
        "preInstalledSw": "NA", "tenancy": "Shared", "capacitystatus": "Used",
    }  # fmt: skip
    try:
        pricing = aws.client("pricing", region=ENDPOINTS.get(aws.region.partition("-")[0], "us-east-1"), attempts=2)
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
        return parse(pricing.get_products(ServiceCode="AmazonEC2", Filters=filters)["PriceList"])
    except AwsError:
        return None


def parse(products: Iterable[str | dict[str, Any]]) -> float | None:
    """The hourly price in a `PriceList`, whose entries are JSON texts; None when none of them has one."""
    for product in products:
        facts: dict[str, Any] = json.loads(product) if isinstance(product, str) else product
        for term in facts.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term.get("priceDimensions", {}).values():
                dollars = float(dimension.get("pricePerUnit", {}).get("USD", 0))
                if dollars > 0:
                    return dollars
    return None


def spot(aws: Aws, types: Iterable[str], now: datetime) -> dict[tuple[str, str], float]:
    """The spot price now, by (type, zone). With the start and end of the history set to now, AWS answers the price in force."""
    prices: dict[tuple[str, str], tuple[datetime, float]] = {}
    pages = aws.ec2.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(types),  # type: ignore[arg-type]
        ProductDescriptions=["Linux/UNIX"],
        StartTime=now,
    )
    for page in pages:
        for item in page["SpotPriceHistory"]:
            key = (str(item["InstanceType"]), item["AvailabilityZone"])
            if key not in prices or prices[key][0] < item["Timestamp"]:
                prices[key] = (item["Timestamp"], float(item["SpotPrice"]))
    return {key: dollars for key, (_, dollars) in prices.items()}
