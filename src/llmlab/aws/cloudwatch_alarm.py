"""CloudWatch alarms: on the metrics that the watchdog publishes, and on the watchdog's function itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from llmlab.aws import rates
from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws
from llmlab.aws.sns_topic import Topic
from llmlab.contract import Names
from llmlab.infra.resource import Properties

ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"
QUIET, ALARMING = "notBreaching", "breaching"
"""How an alarm treats missing data. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html"""


class AlarmSuffix(StrEnum):
    """How the name of each alarm of the lab ends. The operator may change these alone: another lab's name may begin like this one's."""

    MAX_RUNTIME = "max-runtime"
    FAILED_RUNS = "failed-runs"
    WATCHDOG_ERRORS = "watchdog-errors"
    WATCHDOG_SILENT = "watchdog-silent"


@dataclass(frozen=True, kw_only=True)
class Alarm(AwsResource):
    """A mail when a number of the lab, or of its function, stays beyond a threshold.

    `namespace` "" is the lab's own.
    """

    kind = "alarm"
    suffix: AlarmSuffix
    metric: str
    statistic: str
    threshold: float
    period_seconds: int
    says: str
    topic: Topic
    comparison: str = ABOVE
    periods: int = 1
    missing: str = QUIET
    namespace: str = ""
    dimensions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.names.lab}-{self.suffix}"

    @property
    def client(self) -> Any:
        return self.aws.client("cloudwatch")

    def desired(self) -> Properties:
        return {
            "metric": _metric(self.namespace or self.names.metrics, self.metric, self.dimensions),
            "condition": f"{self.statistic} {self.comparison} {self.threshold:g} in {self.periods} x {self.period_seconds} s",
            "missing data": self.missing,
            "tells": [self.topic.arn],
            "description": self.says,
        }

    def read(self) -> Properties | None:
        alarm = self._find()
        if not alarm:
            return None
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", [])}
        condition = f"{alarm.get('Statistic')} {alarm.get('ComparisonOperator')} {alarm.get('Threshold', 0):g}"
        return {
            "metric": _metric(alarm.get("Namespace"), alarm.get("MetricName"), dimensions),
            "condition": f"{condition} in {alarm.get('EvaluationPeriods')} x {alarm.get('Period')} s",
            "missing data": alarm.get("TreatMissingData"),
            "tells": alarm.get("AlarmActions", []) if alarm.get("ActionsEnabled", True) else [],
            "description": alarm.get("AlarmDescription"),
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
            Namespace=self.namespace or self.names.metrics,
            MetricName=self.metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in self.dimensions.items()],
            Statistic=self.statistic,
            Period=self.period_seconds,
            EvaluationPeriods=self.periods,
            Threshold=self.threshold,
            ComparisonOperator=self.comparison,
            TreatMissingData=self.missing,
            Tags=to_list(self.names.tags),
        )

    def update(self, differs: Properties) -> None:
        self.create()

    def delete(self) -> None:
        self.client.delete_alarms(AlarmNames=[self.name])

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client = aws.client("cloudwatch")
        for alarm in every(client, "describe_alarms", "MetricAlarms", AlarmNamePrefix=f"{aws.lab}-"):
            yield from if_ours(aws, cls.kind, alarm["AlarmName"], client.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ((1.0, rates.ALARM),)

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        keep = actions("cloudwatch", "DeleteAlarms", "ListTagsForResource", "PutMetricAlarm", "TagResource")
        alarms = [names.arn("cloudwatch", f"alarm:{names.lab}-{suffix}") for suffix in AlarmSuffix]
        return [allow_anywhere("List", "cloudwatch:DescribeAlarms"), allow("KeepAlarms", keep, alarms)]


def _metric(namespace: str | None, name: str | None, dimensions: Mapping[str, str]) -> str:
    """A metric in words: "Lab Loss", or "AWS/Lambda Errors of x-watchdog"."""
    return f"{namespace} {name}" + (f" of {', '.join(dimensions.values())}" if dimensions else "")
