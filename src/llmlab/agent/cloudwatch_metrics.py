"""How the run is doing: the heartbeat in S3 and the metrics in CloudWatch."""

from collections.abc import Mapping
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from llmlab import contract
from llmlab.agent.gpu import GpuUse
from llmlab.agent.s3_store import StoreError
from llmlab.contract import Heartbeat, Metric, Progress


class MetricsSink(Protocol):
    def publish(self, values: Mapping[Metric, float]) -> None: ...


class CloudWatchMetrics:
    """Metrics in the lab's namespace, with the run as their dimension. `client` is boto3's CloudWatch client."""

    def __init__(self, client: Any, namespace: str, run: str) -> None:
        self.client = client
        self.namespace = namespace
        self.run = run

    def publish(self, values: Mapping[Metric, float]) -> None:
        data = [
            {"MetricName": str(name), "Value": value, "Dimensions": [{"Name": str(contract.Tag.RUN), "Value": self.run}]}
            for name, value in values.items()
        ]
        try:
            self.client.put_metric_data(Namespace=self.namespace, MetricData=data)
        except (ClientError, BotoCoreError) as error:
            raise StoreError(f"no metrics in CloudWatch: {error}") from error


def metrics(progress: Progress | None, gpu: GpuUse | None, cost: float) -> dict[Metric, float]:
    """The metrics to publish now; unknown ones are left out."""
    known: dict[Metric, float | None] = {
        Metric.LOSS: progress.loss if progress else None,
        Metric.TOKENS_PER_SECOND: progress.tokens_per_second if progress else None,
        Metric.STEP: float(progress.step) if progress else None,
        Metric.GPU_PERCENT: gpu.percent if gpu else None,
        Metric.GPU_MEMORY_GIB: gpu.memory_gib if gpu else None,
        Metric.COST: cost,
    }
    return {name: value for name, value in known.items() if value is not None and value == value}  # noqa: PLR0124 - not NaN


def dump(heartbeat: Heartbeat) -> bytes:
    return contract.dump(heartbeat).encode()
