"""The CloudWatch dashboard of the lab's runs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from llmlab.aws import rates
from llmlab.aws.owned import AwsResource, Leftover
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import PROJECT, LogStream, Metric, Names
from llmlab.infra.resource import Properties

WIDTH, HEIGHT = 12, 6
LABEL = "${PROP('Dim.Run')}"
"""Labels each line of a search with its run. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/graph-dynamic-labels.html"""


@dataclass(frozen=True, kw_only=True)
class Dashboard(AwsResource):
    """A dashboard of loss, speed, GPU and cost of each run, found by search, so that a new run appears by itself."""

    kind = "dashboard"

    @property
    def name(self) -> str:
        return self.names.dashboard

    @property
    def client(self) -> Any:
        return self.aws.client("cloudwatch")

    def desired(self) -> Properties:
        return {"widgets": body(self.names)["widgets"]}

    def read(self) -> Properties | None:
        try:
            return {"widgets": json.loads(self.client.get_dashboard(DashboardName=self.name)["DashboardBody"]).get("widgets")}
        except NotFound:
            return None

    def ours(self) -> bool:
        return mark(self.names) in json.dumps((self.read() or {}).get("widgets", ""))

    def tags(self) -> Mapping[str, str]:
        return self.names.tags if self.ours() else {}

    def create(self) -> None:
        """Create or replace the dashboard. CloudWatch refuses a wrong body, and accepts one that it only warns of.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html
        """
        self.client.put_dashboard(DashboardName=self.name, DashboardBody=json.dumps(body(self.names)))

    def update(self, differs: Properties) -> None:
        self.create()

    def delete(self) -> None:
        self.client.delete_dashboards(DashboardNames=[self.name])

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client, name = aws.client("cloudwatch"), aws.names.dashboard
        for entry in every(client, "list_dashboards", "DashboardEntries", DashboardNamePrefix=name):
            if entry["DashboardName"] == name and mark(aws.names) in client.get_dashboard(DashboardName=name)["DashboardBody"]:
                yield Leftover(cls.kind, name)

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ((1.0, rates.DASHBOARD),)

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """The dashboard, and the one of `retired.py`, which has the lab's bare name."""
        dashboards = [f"arn:aws:cloudwatch::{names.account}:dashboard/{name}" for name in (names.dashboard, names.lab)]
        return [
            allow_anywhere("List", "cloudwatch:ListDashboards"),
            allow("KeepDashboard", actions("cloudwatch", "DeleteDashboards", "GetDashboard", "PutDashboard"), dashboards),
        ]


def mark(names: Names) -> str:
    """A dashboard carries no tags: this mark in its first widget says whose it is."""
    return f"Project={PROJECT} Lab={names.lab}"


def body(names: Names) -> dict[str, Any]:
    """The dashboard's body for these names; asks AWS nothing."""
    logs = ", ".join(f"[{stream}]({logs_address(names, stream)})" for stream in LogStream)
    text = f"# Lab {names.lab}\nEach line is a run. `llmlab status` tells the same in words. Logs: {logs}. {mark(names)}"
    graphs = [
        ("Loss", [Metric.LOSS], "Average"),
        ("Tokens per second", [Metric.TOKENS_PER_SECOND], "Average"),
        ("GPU use (%)", [Metric.GPU_PERCENT], "Average"),
        ("GPU memory (GiB)", [Metric.GPU_MEMORY_GIB], "Maximum"),
        ("Cost of each run ($)", [Metric.COST], "Maximum"),
        ("Steps", [Metric.STEP], "Maximum"),
    ]
    widgets: list[dict[str, Any]] = [_widget("text", 0, 0, 24, 2, {"markdown": text})]
    for index, (title, metrics, statistic) in enumerate(graphs):
        searches = [
            [{"expression": _by_run(names, metric, statistic), "id": f"m{number}", "label": LABEL}] for number, metric in enumerate(metrics)
        ]
        widgets.append(_graph(names, index, title, searches))
    widgets.append(_graph(names, len(graphs), "Instances, and their age", _lab(names), yAxis=AXES))
    return {"widgets": widgets}


AXES = {"left": {"label": "count", "showUnits": False, "min": 0}, "right": {"label": "minutes", "showUnits": False, "min": 0}}
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html"""


def _lab(names: Names) -> list[Any]:
    """The lab's metrics: counts on the left axis, minutes on the right one, as they would flatten the counts."""
    return [
        [names.metrics, Metric.ACTIVE_INSTANCES.value, {"label": "instances"}],
        [names.metrics, Metric.FAILED_RUNS.value, {"label": "runs that failed"}],
        [names.metrics, Metric.RUN_AGE_MINUTES.value, {"label": "age of the oldest instance", "yAxis": "right"}],
    ]


def logs_address(names: Names, stream: LogStream) -> str:
    """The console's page of a log group, whose name it has encoded twice, and with $ for %."""
    group = quote(quote(names.log_group(stream), safe=""), safe="").replace("%", "$")
    return f"https://{names.region}.console.aws.amazon.com/cloudwatch/home?region={names.region}#logsV2:log-groups/log-group/{group}"


def _by_run(names: Names, metric: Metric, statistic: str) -> str:
    return f"""SEARCH('{{"{names.metrics}","Run"}} MetricName="{metric.value}"', '{statistic}', 60)"""


def _graph(names: Names, index: int, title: str, metrics: list[Any], **more: Any) -> dict[str, Any]:
    properties = {"title": title, "region": names.region, "view": "timeSeries", "stacked": False, "period": 60, "metrics": metrics, **more}
    return _widget("metric", WIDTH * (index % 2), 2 + HEIGHT * (index // 2), WIDTH, HEIGHT, properties)


def _widget(kind: str, x: int, y: int, width: int, height: int, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": dict(properties)}
