"""Alarms on the watchdog's metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.aws.owned import AwsResource, from_list, to_list
from llmlab.aws.topic import Topic
from llmlab.contract import Metric
from llmlab.infra.resource import Properties


@dataclass(frozen=True, kw_only=True)
class Alarm(AwsResource):
    """Fires when `statistic` of `metric` over a period is above the threshold. No data means nothing runs, which is well."""

    kind = "alarm"
    suffix: str
    metric: Metric
    statistic: str
    above: float
    period_seconds: int
    says: str
    topic: Topic

    @property
    def name(self) -> str:
        return f"{self.names.lab}-{self.suffix}"

    @property
    def client(self) -> Any:
        return self.aws.client("cloudwatch")

    def desired(self) -> Properties:
        return {
            "metric": f"{self.names.metrics} {self.metric}",
            "condition": f"{self.statistic} GreaterThanThreshold {self.above:g} in 1 x {self.period_seconds} s",
            "missing data": "notBreaching",
            "tells": [self.topic.arn],
            "description": self.says,
        }

    def read(self) -> Properties | None:
        found = self._find()
        if not found:
            return None
        condition = f"{found.get('Statistic')} {found.get('ComparisonOperator')} {found.get('Threshold', 0):g}"
        return {
            "metric": f"{found.get('Namespace')} {found.get('MetricName')}",
            "condition": f"{condition} in {found.get('EvaluationPeriods')} x {found.get('Period')} s",
            "missing data": found.get("TreatMissingData"),
            "tells": found.get("AlarmActions", []) if found.get("ActionsEnabled", True) else [],
            "description": found.get("AlarmDescription"),
        }

    def _find(self) -> Mapping[str, Any] | None:
        alarms: list[Mapping[str, Any]] = self.client.describe_alarms(AlarmNames=[self.name])["MetricAlarms"]
        return alarms[0] if alarms else None

    def tags(self) -> Mapping[str, str]:
        return from_list(self.client.list_tags_for_resource(ResourceARN=self.names.arn("cloudwatch", f"alarm:{self.name}"))["Tags"])

    def create(self) -> None:
        """Create or change it.

        AWS ignores the tags of a call that changes one; but should somebody have just deleted it, that call creates an alarm, which without
        tags would be nobody's.
        """
        self.client.put_metric_alarm(
            AlarmName=self.name,
            AlarmDescription=self.says,
            ActionsEnabled=True,
            AlarmActions=[self.topic.arn],
            Namespace=self.names.metrics,
            MetricName=self.metric.value,
            Statistic=self.statistic,
            Period=self.period_seconds,
            EvaluationPeriods=1,
            Threshold=self.above,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
            Tags=to_list(self.names.tags),
        )

    def update(self, differs: Properties) -> None:
        self.create()

    def delete(self) -> None:
        self.client.delete_alarms(AlarmNames=[self.name])
