"""What the watchdog works with: clients, names, the clock and the log, handed in from outside."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.clock import Clock
from llmlab.contract import Metric, Names
from llmlab.watchdog.posting import Webhook
from llmlab.watchdog.records import RunStore

Log = Callable[..., None]


@dataclass(frozen=True)
class Tools:
    """boto3's clients. `fleet_client` is an EC2 client without retries: a pool without capacity answers 500, again and again."""

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
    """Where notices go besides the topic; None where nobody listens, as in most tests."""

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def measure(self, values: dict[Metric, float]) -> None:
        """Put numbers into the lab's namespace."""
        data = [{"MetricName": str(name), "Value": float(value), "Timestamp": self.now} for name, value in values.items()]
        self.cloudwatch.put_metric_data(Namespace=self.names.metrics, MetricData=data)
