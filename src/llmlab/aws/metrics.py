"""CloudWatch metrics of one run, as the agent sent them."""

from datetime import datetime, timedelta

from llmlab.aws.session import Aws, AwsError
from llmlab.contract import Metric

PERIODS = ((timedelta(days=15), 60), (timedelta(days=63), 300))
"""(age of the first minute, seconds): up to that age CloudWatch keeps averages of so many seconds, of an hour after that. A finer query is
answered with nothing.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html"""
FAILED = {"InternalError", "Forbidden"}
"""The status codes of a failed result, inside a 200.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataResult.html"""


def series(aws: Aws, run: str, metric: Metric, start: datetime, end: datetime, now: datetime) -> list[tuple[datetime, float]]:
    """Averages of `metric` from `start` to `end`, oldest first, by the minute or as fine as they are kept; empty when nothing was sent.

    Raises:
        AwsError: CloudWatch has not answered all of it.
    """
    statistic = {
        "Metric": {"Namespace": aws.names.metrics, "MetricName": metric, "Dimensions": [{"Name": "Run", "Value": run}]},
        "Period": next((seconds for age, seconds in PERIODS if now - start < age), 3600),
        "Stat": "Average",
    }
    pages = (
        aws.client("cloudwatch")
        .get_paginator("get_metric_data")
        .paginate(MetricDataQueries=[{"Id": "m", "MetricStat": statistic}], StartTime=start, EndTime=end, ScanBy="TimestampAscending")
    )
    results = [result for page in pages for result in page["MetricDataResults"]]
    for result in results:
        if result.get("StatusCode") in FAILED:
            words = f"CloudWatch does not tell {metric} of run {run}: {result['StatusCode']}"
            raise AwsError(words, "llmlab doctor", code=result["StatusCode"], operation="cloudwatch:GetMetricData")
    return [pair for result in results for pair in zip(result["Timestamps"], result["Values"], strict=True)]
