"""Numbers of a run from CloudWatch, which keeps them ever coarser."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmlab.aws import metrics
from llmlab.aws.session import AwsError
from llmlab.contract import Metric, Names
from tests.simulation.callers import SimulatedAws

NOW = datetime(2026, 11, 23, tzinfo=UTC)
NAMES = Names("lab", "123456789012", "us-east-1")


class CloudWatch:
    """Two pages of one point each, for a period that is kept since the start of the question; none for a finer one."""

    def __init__(self, status: str = "Complete") -> None:
        self.status = status

    def call(self, _service: str, method: str, asked: Mapping[str, Any]) -> Any:
        assert method == "get_metric_data"
        age, period = NOW - asked["StartTime"], asked["MetricDataQueries"][0]["MetricStat"]["Period"]
        kept = 60 if age < timedelta(days=15) else 300 if age < timedelta(days=63) else 3600
        points = [asked["StartTime"] + timedelta(seconds=period * number) for number in (0, 1)] if period % kept == 0 else []
        result = {"Id": "m", "StatusCode": self.status}
        if "NextToken" not in asked:
            result["StatusCode"] = "PartialData"
            return {"MetricDataResults": [{**result, "Timestamps": points[:1], "Values": [50.0] * len(points[:1])}], "NextToken": "1"}
        return {"MetricDataResults": [{**result, "Timestamps": points[1:], "Values": [90.0] * len(points[1:])}]}


def gpu(cloudwatch: CloudWatch, age: timedelta) -> list[float]:
    aws = SimulatedAws(NAMES, cloudwatch)  # type: ignore[arg-type]
    start = NOW - age
    return [value for _, value in metrics.series(aws, "r", Metric.GPU_PERCENT, start, start + timedelta(hours=5), NOW)]


@pytest.mark.parametrize("days", [0.1, 14.9, 15, 16, 62.9, 63, 64, 400])
def test_a_run_of_any_age_has_its_numbers(days: float) -> None:
    assert gpu(CloudWatch(), timedelta(days=days)) == [50.0, 90.0]


@pytest.mark.parametrize("status", ["InternalError", "Forbidden"])
def test_an_answer_that_is_none_is_told(status: str) -> None:
    with pytest.raises(AwsError, match=f"CloudWatch does not tell GpuPercent of run r: {status}"):
        gpu(CloudWatch(status), timedelta(days=1))
