"""Spot prices from EC2. Without an answer the watchdog uses the prices recorded at the launch."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from llmlab.contract import Pool, PricePoint
from llmlab.lifecycle import pool_order
from llmlab.watchdog.dependencies import Tools
from llmlab.watchdog.run_instances import LabInstance


def history(tools: Tools, instance: LabInstance) -> tuple[PricePoint, ...]:
    """Spot prices of an instance's pool since its launch: the price in force then, and each change; () on demand or without an answer."""
    if not instance.spot:
        return ()
    return pool_order.read_spot_prices(
        _ask(tools, pool_order.spot_prices_request([instance.instance_type], instance.launched, zone=instance.zone))
    )


def now(tools: Tools, pools: Iterable[Pool], moment: datetime) -> dict[tuple[str, str], float]:
    """Spot prices in force at `moment` by (type, zone), US dollars an hour; {} without an answer."""
    types = sorted({pool.instance_type for pool in pools if pool.spot_price is not None})
    items = _ask(tools, pool_order.spot_prices_request(types, moment)) if types else []
    newest = sorted(items, key=lambda item: item["Timestamp"])
    return {(item["InstanceType"], item["AvailabilityZone"]): float(item["SpotPrice"]) for item in newest}


def _ask(tools: Tools, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of the price history, [] without an answer of EC2."""
    try:
        pages = tools.ec2.get_paginator("describe_spot_price_history").paginate(**request)
        return [item for page in pages for item in page["SpotPriceHistory"]]
    except (ClientError, BotoCoreError) as error:
        tools.log("no prices", why=str(error))
        return []
