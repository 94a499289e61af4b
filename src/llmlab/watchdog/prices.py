"""Spot prices as EC2 tells them. Without an answer the watchdog goes on with the prices that were noted at the launch."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from llmlab import contract
from llmlab.contract import Pool, PricePoint
from llmlab.watchdog.machines import Machine
from llmlab.watchdog.tools import Tools

LINUX = "Linux/UNIX"


def history(tools: Tools, machine: Machine) -> tuple[PricePoint, ...]:
    """What the pool of a spot instance cost since its launch: the price in force then, and each change; () when EC2 does not say."""
    if not machine.spot:
        return ()
    items = _ask(tools, InstanceTypes=[machine.instance_type], AvailabilityZone=machine.zone, StartTime=machine.launched)
    return tuple(sorted((_point(item) for item in items), key=lambda point: point.at))


def now(tools: Tools, pools: Iterable[Pool], moment: datetime) -> dict[tuple[str, str], float]:
    """The spot price in force by (type, zone); {} when EC2 does not say."""
    types = sorted({pool.instance_type for pool in pools if pool.spot_price is not None})
    items = _ask(tools, InstanceTypes=types, StartTime=moment) if types else []
    newest = sorted(items, key=lambda item: item["Timestamp"])
    return {(item["InstanceType"], item["AvailabilityZone"]): float(item["SpotPrice"]) for item in newest}


def _point(item: dict[str, Any]) -> PricePoint:
    return PricePoint(contract.build_timestamp(item["Timestamp"]), float(item["SpotPrice"]))


def _ask(tools: Tools, **filters: Any) -> list[dict[str, Any]]:
    """Entries of the history, which begins with the one in force at `StartTime`.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html
    """
    try:
        pages = tools.ec2.get_paginator("describe_spot_price_history").paginate(ProductDescriptions=[LINUX], **filters)
        return [item for page in pages for item in page["SpotPriceHistory"]]
    except (ClientError, BotoCoreError) as error:
        tools.log("no prices", why=str(error))
        return []
