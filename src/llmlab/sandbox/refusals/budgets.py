"""Refusals of AWS Budgets."""

from llmlab.sandbox.refusals.rule import Call, On, Rule

API = "https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/"


def _notifications(call: Call) -> list[object]:
    budget = call.backend("budgets").budgets[call.values["AccountId"]].get(call.values["BudgetName"])
    return list(budget.notifications) if budget else []


ROWS = (
    Rule(
        name="budget-without-notifications",
        operations=("budgets:DescribeNotificationsForBudget",),
        when="the budget has no notification",
        code="NotFoundException",
        message="Unable to get notifications - the budget has none.",
        source=f"{API}API_budgets_DescribeNotificationsForBudget.html",
        applies=lambda call: not _notifications(call),
        on=On.NAMED,
    ),
    Rule(
        name="notification-without-subscribers",
        operations=("budgets:DescribeSubscribersForNotification",),
        when="the notification has no subscriber",
        code="NotFoundException",
        message="Unable to get subscribers - the notification has none.",
        source=f"{API}API_budgets_DescribeSubscribersForNotification.html",
        applies=lambda call: not any(getattr(notification, "subscribers", None) for notification in _notifications(call)),
        on=On.NAMED,
    ),
    Rule(
        name="budgets-are-global",
        operations=("budgets:DescribeBudget", "budgets:CreateBudget"),
        when="a budget of this name was made by way of another region",
        code="",
        message="it is the same budget: an account has one list of them",
        source=f"{API}API_budgets_CreateBudget.html",
    ),
)
