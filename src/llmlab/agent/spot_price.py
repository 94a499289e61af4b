"""Spot prices of the pool this machine came from."""

from datetime import datetime
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from llmlab.agent.s3_store import StoreError
from llmlab.contract import PricePoint
from llmlab.lifecycle import spot_prices


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
            return spot_prices.history(self.client, instance_type, zone, since)
        except (ClientError, BotoCoreError) as error:
            raise StoreError(f"no spot prices of {instance_type} in {zone}, the last one known counts: {error}") from error
