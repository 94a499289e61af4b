"""The monthly budget: an alarm on what the lab has cost, never a cap."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.aws.sns_topic import Topic
from llmlab.contract import PROJECT, Names, Tag
from llmlab.infra.resource import Properties

HOME = "us-east-1"
"""The region where the Budgets API is."""
FILTER = f"user:{Tag.PROJECT.value}${PROJECT}"
ALERTS = (80, 100)
"""Percent of the budget at which an alert is sent."""
COUNTED = {"IncludeCredit": False, "IncludeRefund": False}
"""Credits would hide what is spent."""


@dataclass(frozen=True, kw_only=True)
class Budget(AwsResource):
    """A monthly budget over the tag `Project`, which must be activated for cost allocation; `doctor` says whether it is."""

    kind = "budget"
    dollars: float
    topic: Topic

    @property
    def name(self) -> str:
        return self.names.budget

    @property
    def client(self) -> Any:
        return self.aws.client("budgets", region=HOME)

    @property
    def _which(self) -> dict[str, str]:
        return {"AccountId": self.aws.account, "BudgetName": self.name}

    def desired(self) -> Properties:
        return {
            "dollars a month": self.dollars,
            "counts": [FILTER],
            "credits and refunds": "not subtracted",
            **{f"alert at {percent} %": [self.topic.arn] for percent in ALERTS},
        }

    def read(self) -> Properties | None:
        try:
            budget = self.client.describe_budget(**self._which)["Budget"]
        except NotFound:
            return None
        notifications = self._notifications()
        types = budget.get("CostTypes", {})
        return {
            "dollars a month": float(budget["BudgetLimit"]["Amount"]) if budget.get("TimeUnit") == "MONTHLY" else None,
            "counts": budget.get("CostFilters", {}).get("TagKeyValue", []),
            "credits and refunds": "not subtracted"
            if all(types.get(key, True) is value for key, value in COUNTED.items())
            else "subtracted",
            **{f"alert at {percent} %": self._subscribers(percent, notifications) for percent in ALERTS},
        }

    def _subscribers(self, percent: int, notifications: list[Mapping[str, Any]]) -> list[str] | None:
        if not any(_same(notification, _notification(percent)) for notification in notifications):
            return None
        addresses = {subscriber["Address"] for subscriber in self._listeners(percent)}
        return [self.topic.arn] if self.topic.arn in addresses else []

    def _notifications(self) -> list[Mapping[str, Any]]:
        """A budget without alerts may be answered with an empty list or with NotFoundException: the API names both.

        https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_DescribeNotificationsForBudget.html
        """
        try:
            return list(self.client.describe_notifications_for_budget(**self._which).get("Notifications", []))
        except NotFound:
            return []

    def _listeners(self, percent: int) -> list[Mapping[str, Any]]:
        """The subscribers of the alert at `percent`; for none of them the API names the same two answers.

        https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_DescribeSubscribersForNotification.html
        """
        try:
            answer = self.client.describe_subscribers_for_notification(**self._which, Notification=_notification(percent))
        except NotFound:
            return []
        return list(answer.get("Subscribers", []))

    def tags(self) -> Mapping[str, str]:
        arn = f"arn:aws:budgets::{self.aws.account}:budget/{self.name}"
        return from_list(self.client.list_tags_for_resource(ResourceARN=arn).get("ResourceTags", []))

    def _budget(self) -> dict[str, Any]:
        return {
            "BudgetName": self.name,
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "BudgetLimit": {"Amount": f"{self.dollars:.2f}", "Unit": "USD"},
            "CostFilters": {"TagKeyValue": [FILTER]},
            "CostTypes": COUNTED,
        }

    def create(self) -> None:
        self.client.create_budget(AccountId=self.aws.account, Budget=self._budget(), ResourceTags=to_list(self.names.tags))

    def update(self, differs: Properties) -> None:
        if differs.keys() & {"dollars a month", "counts", "credits and refunds"}:
            self.client.update_budget(AccountId=self.aws.account, NewBudget=self._budget())
        missing = [percent for percent in ALERTS if f"alert at {percent} %" in differs]
        if not missing:
            return
        existing = self._notifications()
        subscriber = {"SubscriptionType": "SNS", "Address": self.topic.arn}
        for percent in missing:
            notification = _notification(percent)
            if any(_same(alert, notification) for alert in existing):
                self.client.create_subscriber(**self._which, Notification=notification, Subscriber=subscriber)
            else:
                self.client.create_notification(**self._which, Notification=notification, Subscribers=[subscriber])

    def delete(self) -> None:
        self.client.delete_budget(**self._which)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client, name = aws.client("budgets", region=HOME), aws.names.budget
        for budget in every(client, "describe_budgets", "Budgets", AccountId=aws.account):
            if budget["BudgetName"] == name:
                arn = f"arn:aws:budgets::{aws.account}:budget/{name}"
                yield from if_ours(aws, cls.kind, name, client.list_tags_for_resource(ResourceARN=arn).get("ResourceTags", []))

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()  # one that takes no action

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """The budget, and the one of `retired.py`, which has no region in its name."""
        budgets = [f"arn:aws:budgets::{names.account}:budget/{name}" for name in (names.budget, f"{names.lab}-monthly")]
        return [
            allow_anywhere("List", "budgets:ViewBudget"),
            allow("KeepBudget", actions("budgets", "ListTagsForResource", "ModifyBudget", "TagResource"), budgets),
        ]


def _notification(percent: int) -> dict[str, Any]:
    return {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": float(percent), "ThresholdType": "PERCENTAGE"}


def _same(answered: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether AWS's answer is the wanted notification. It may leave out the threshold type: percentage is the default."""
    return all(answered.get(key, "PERCENTAGE") == value for key, value in wanted.items())
