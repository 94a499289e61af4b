"""The watchdog's dependencies: boto3 clients, names, clock and log, passed in by the caller."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from llmlab.clock import Clock
from llmlab.contract import Attempt, Metric, Names, Pool, PricePoint
from llmlab.lifecycle import one_time_schedules, spot_prices
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import RunDocuments
from llmlab.watchdog.webhook_delivery import Webhook

T = TypeVar("T")
Log = Callable[..., None]


@dataclass(frozen=True)
class Tools:
    """Dependencies of one call. `fleet_client` is an EC2 client without retries, because a pool without capacity answers 500 each time."""

    names: Names
    bucket: RunDocuments
    ec2: Any
    fleet_client: Any
    scheduler: Any
    sns: Any
    cloudwatch: Any
    topic: str
    scheduler_role: str
    max_hours: float
    clock: Clock
    log: Log
    webhook: Webhook | None = None
    """Receives notices in addition to the topic; None without a webhook, as in most tests."""

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def spot_history(self, instance: Instance) -> tuple[PricePoint, ...]:
        """Spot prices of an instance's pool, that in force at its launch first; () on demand or without an answer of EC2."""
        if not instance.spot:
            return ()
        return self._prices(lambda: spot_prices.history(self.ec2, instance.instance_type, instance.zone, instance.launched), ())

    def spot_prices(self, pools: Iterable[Pool]) -> dict[tuple[str, str], float]:
        """Spot prices in force now by (type, zone), US dollars an hour; {} without an answer, where those of the launch count."""
        types = sorted({pool.instance_type for pool in pools if pool.spot_price is not None})
        return self._prices(lambda: spot_prices.current(self.ec2, types, self.now), {}) if types else {}

    def _prices(self, call: Callable[[], T], otherwise: T) -> T:
        try:
            return call()
        except (ClientError, BotoCoreError) as error:
            self.log("no prices", why=str(error))
            return otherwise

    def delete_schedule(self, name: str) -> None:
        """Delete a one-time schedule if it exists. An error is logged and ignored: firing it does no harm."""
        try:
            one_time_schedules.delete(self.scheduler, self.names, name)
        except ClientError as error:
            self.log("not deleted", schedule=name, why=str(error))

    def delete_deadline(self, attempt: Attempt) -> None:
        """Delete the schedule of an attempt's deadline if it exists."""
        self.delete_schedule(one_time_schedules.schedule_name(attempt.run, attempt.number))

    def measure(self, values: dict[Metric, float]) -> None:
        """Publish CloudWatch metrics in the lab's namespace."""
        data = [{"MetricName": str(name), "Value": float(value), "Timestamp": self.now} for name, value in values.items()]
        self.cloudwatch.put_metric_data(Namespace=self.names.metrics, MetricData=data)
