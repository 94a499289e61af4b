"""Resources that earlier versions of llmlab made and this one does not: a plan shows them, and bootstrap removes them at its end.

Budgets and dashboards are global, and had no region in their names: where one lab name lives in two regions, both used the same.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws import rates
from llmlab.aws.budget import HOME
from llmlab.aws.dashboard import mark
from llmlab.aws.owned import AwsResource, Leftover, from_list, if_existing
from llmlab.aws.policies_documents import Policy
from llmlab.aws.rates import Uses
from llmlab.aws.schedule_group import ScheduleGroup
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties


@dataclass(frozen=True, kw_only=True)
class Retired(AwsResource):
    """A resource that is only looked for and deleted. `read` and `desired` differ in what goes."""

    def desired(self) -> Properties:
        return {}

    def create(self) -> None:
        raise NotImplementedError

    def update(self, differs: Properties) -> None:
        raise NotImplementedError

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return if_existing(cls(aws=aws))

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """None: what the operator may do with what stands in their place holds for them too."""
        return ()


@dataclass(frozen=True, kw_only=True)
class SweepSchedule(Retired):
    """The hourly sweep as a schedule, in the group and by the role of the deadlines; it is an event rule now."""

    kind = "schedule"

    @property
    def name(self) -> str:
        return f"{self.names.lab}-sweep"

    @property
    def _which(self) -> dict[str, str]:
        return {"GroupName": self.names.schedule_group, "Name": self.name}

    def read(self) -> Properties | None:
        try:
            self.aws.client("scheduler").get_schedule(**self._which)
        except NotFound:
            return None
        return {}

    def tags(self) -> Mapping[str, str]:
        return ScheduleGroup(aws=self.aws, clock=self.clock).tags()

    def delete(self) -> None:
        self.aws.client("scheduler").delete_schedule(**self._which)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        """None: a schedule goes with its group."""
        return ()


@dataclass(frozen=True, kw_only=True)
class SharedBudget(Retired):
    """The budget without a region in its name. The subscribers of its alerts say which regions use it: only the last one deletes it."""

    kind = "budget"

    @property
    def name(self) -> str:
        return f"{self.names.lab}-monthly"

    @property
    def client(self) -> Any:
        return self.aws.client("budgets", region=HOME)

    @property
    def _which(self) -> dict[str, str]:
        return {"AccountId": self.aws.account, "BudgetName": self.name}

    def read(self) -> Properties | None:
        try:
            self.client.describe_budget(**self._which)
        except NotFound:
            return None
        regions = {region for _, _, region in self._listeners()}
        return {"alerts in": sorted(regions)} if not regions or self.aws.region in regions else None

    def desired(self) -> Properties:
        return {"alerts in": sorted({region for _, _, region in self._listeners()} - {self.aws.region})}

    def _listeners(self) -> list[tuple[Mapping[str, Any], Mapping[str, Any], str]]:
        """Each alert with its subscriber and the subscriber's region, where that is the topic of a lab of this name."""
        try:
            alerts = self.client.describe_notifications_for_budget(**self._which).get("Notifications", [])
            subscriptions = [
                (alert, subscriber)
                for alert in alerts
                for subscriber in self.client.describe_subscribers_for_notification(**self._which, Notification=alert).get(
                    "Subscribers", []
                )
            ]
        except NotFound:
            return []
        topics = [
            (alert, subscriber, subscriber["Address"].split(":"))
            for alert, subscriber in subscriptions
            if subscriber["SubscriptionType"] == "SNS"
        ]
        return [(alert, subscriber, parts[3]) for alert, subscriber, parts in topics if parts[5:] == [self.names.topic]]

    def tags(self) -> Mapping[str, str]:
        arn = f"arn:aws:budgets::{self.aws.account}:budget/{self.name}"
        return from_list(self.client.list_tags_for_resource(ResourceARN=arn).get("ResourceTags", []))

    def delete(self) -> None:
        """Delete the budget, or only our alerts where a lab of this name in another region has its own."""
        listeners = self._listeners()
        if all(region == self.aws.region for _, _, region in listeners):
            self.client.delete_budget(**self._which)
            return
        for alert, subscriber, region in listeners:
            if region == self.aws.region:
                self.client.delete_subscriber(**self._which, Notification=alert, Subscriber=subscriber)


@dataclass(frozen=True, kw_only=True)
class SharedDashboard(Retired):
    """The dashboard without a region in its name: of the region whose graphs it shows, which is the one that made it last."""

    kind = "dashboard"

    @property
    def name(self) -> str:
        return self.names.lab

    @property
    def client(self) -> Any:
        return self.aws.client("cloudwatch")

    def read(self) -> Properties | None:
        body = self._body()
        return {} if body and _region(body) == self.aws.region else None

    def _body(self) -> str:
        try:
            return str(self.client.get_dashboard(DashboardName=self.name)["DashboardBody"])
        except NotFound:
            return ""

    def tags(self) -> Mapping[str, str]:
        return self.names.tags if mark(self.names) in self._body() else {}

    def delete(self) -> None:
        self.client.delete_dashboards(DashboardNames=[self.name])

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ((1.0, rates.DASHBOARD),)


def _region(body: str) -> str:
    """The region of a dashboard's first graph, "" where it has none."""
    try:
        graphs = [widget["properties"] for widget in json.loads(body)["widgets"] if widget.get("type") == "metric"]
        return str(graphs[0]["region"]) if graphs else ""
    except (ValueError, KeyError, TypeError):
        return ""


KINDS: tuple[type[Retired], ...] = (SweepSchedule, SharedBudget, SharedDashboard)
