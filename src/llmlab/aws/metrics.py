"""CloudWatch metrics of one run, as the agent sent them."""

from datetime import datetime

from llmlab.aws.session import Aws
from llmlab.contract import Metric


def series(aws: Aws, run: str, metric: Metric, start: datetime, end: datetime) -> list[tuple[datetime, float]]:
    """Minute averages of `metric` from `start` to `end`, oldest first; empty when nothing was sent."""
    statistic = {
        "Metric": {"Namespace": aws.names.metrics, "MetricName": metric, "Dimensions": [{"Name": "Run", "Value": run}]},
        "Period": 60,
        "Stat": "Average",
    }
    pages = (
        aws.client("cloudwatch")
        .get_paginator("get_metric_data")
        .paginate(MetricDataQueries=[{"Id": "m", "MetricStat": statistic}], StartTime=start, EndTime=end, ScanBy="TimestampAscending")
    )
    results = [result for page in pages for result in page["MetricDataResults"]]
    return [pair for result in results for pair in zip(result["Timestamps"], result["Values"], strict=True)]
