"""Spot prices from EC2: AWS charges a spot instance the price in force at each time, and any price as it changes.

`ec2` is boto3's EC2 client. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/how-spot-instances-work.html
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from llmlab.contract import PricePoint, build_timestamp

Place = tuple[str, str]
"""An instance type and a zone."""


def history(ec2: Any, instance_type: str, zone: str, since: datetime) -> tuple[PricePoint, ...]:
    """The spot prices of one pool, oldest first: the price in force at `since`, and each change after it."""
    items = _describe(ec2, [instance_type], since, zone)
    return tuple(
        sorted((PricePoint(build_timestamp(item["Timestamp"]), float(item["SpotPrice"])) for item in items), key=lambda point: point.at)
    )


def since(ec2: Any, instance_types: Iterable[str], moment: datetime) -> dict[Place, list[float]]:
    """The spot prices of every pool of these types in force at `moment` and after it, oldest first, in US dollars an hour."""
    prices: dict[Place, list[float]] = {}
    for item in sorted(_describe(ec2, instance_types, moment), key=lambda item: item["Timestamp"]):
        prices.setdefault((str(item["InstanceType"]), str(item["AvailabilityZone"])), []).append(float(item["SpotPrice"]))
    return prices


def current(ec2: Any, instance_types: Iterable[str], moment: datetime) -> dict[Place, float]:
    """The spot price of every pool of these types in force at `moment`, US dollars an hour."""
    return {place: prices[-1] for place, prices in since(ec2, instance_types, moment).items()}


def _describe(ec2: Any, instance_types: Iterable[str], start: datetime, zone: str = "") -> list[Mapping[str, Any]]:
    """Every price in force at `start` or later.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html
    """
    where = {"AvailabilityZone": zone} if zone else {}
    pages = ec2.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(instance_types), ProductDescriptions=["Linux/UNIX"], StartTime=start, **where
    )
    return [item for page in pages for item in page["SpotPriceHistory"]]
