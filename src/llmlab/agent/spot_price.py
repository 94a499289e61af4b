"""Spot prices of the pool this machine came from: AWS charges a spot instance the price in force at each time.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/how-spot-instances-work.html
"""

from datetime import datetime
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from llmlab.agent.object_store import StoreError
from llmlab.contract import PricePoint
from llmlab.lifecycle import pool_order


class SpotPrices(Protocol):
    """The spot prices that the agent reads."""

    def history(self, instance_type: str, zone: str, since: datetime) -> tuple[PricePoint, ...]:
        """The pool's spot prices: the one in force at `since`, and every change after it.

        Raises:
            StoreError: AWS does not tell.
        """
        ...


class Ec2SpotPrices:
    """DescribeSpotPriceHistory. `client` is boto3's EC2 client."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def history(self, instance_type: str, zone: str, since: datetime) -> tuple[PricePoint, ...]:
        try:
            pages = self.client.get_paginator("describe_spot_price_history").paginate(
                **pool_order.spot_prices_request([instance_type], since, zone=zone)
            )
            items = [item for page in pages for item in page["SpotPriceHistory"]]
        except (ClientError, BotoCoreError) as error:
            raise StoreError(f"no spot prices of {instance_type} in {zone}, the last one known counts: {error}") from error
        return pool_order.read_spot_prices(items)
