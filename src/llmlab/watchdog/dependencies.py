"""The watchdog's dependencies: boto3 clients, names, clock and log, passed in by the caller."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.clock import Clock
from llmlab.contract import Metric, Names
from llmlab.watchdog.records import RunStore
from llmlab.watchdog.webhook_delivery import Webhook

Log = Callable[..., None]


@dataclass(frozen=True)
class Tools:
    """Dependencies of one call. `fleet_client` is an EC2 client without retries, because a pool without capacity answers 500 each time."""

    names: Names
    bucket: RunStore
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

    def measure(self, values: dict[Metric, float]) -> None:
        """Publish CloudWatch metrics in the lab's namespace."""
        data = [{"MetricName": str(name), "Value": float(value), "Timestamp": self.now} for name, value in values.items()]
        self.cloudwatch.put_metric_data(Namespace=self.names.metrics, MetricData=data)
