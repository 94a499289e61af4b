"""What AWS itself says about money: Cost Explorer by service, its forecast, and the lab's budget. All of it is about a day behind."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from llmlab.aws.session import Aws
from llmlab.contract import Tag

HOME = "us-east-1"
"""Cost Explorer and Budgets answer here for every region."""


@dataclass(frozen=True)
class Budget:
    """US dollars of this month. `forecast` is None until AWS has enough history."""

    name: str
    limit: float
    spent: float
    forecast: float | None


def by_service(aws: Aws, first: date, last: date) -> dict[str, float]:
    """US dollars per AWS service of what is tagged as this lab's project, `last` included, dearest first."""
    answer = aws.client("ce", region=HOME).get_cost_and_usage(
        TimePeriod={"Start": first.isoformat(), "End": (last + timedelta(days=1)).isoformat()},
        Granularity="MONTHLY",
        Metrics=["UnblendedCost"],
        Filter=_ours(aws),
        GroupBy=[{"Type": "DIMENSION", "Key": "SERVICE"}],
    )
    totals: dict[str, float] = {}
    for period in answer["ResultsByTime"]:
        for group in period.get("Groups", []):
            name = group["Keys"][0]
            totals[name] = totals.get(name, 0.0) + float(group["Metrics"]["UnblendedCost"]["Amount"])
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def forecast(aws: Aws, first: date, end: date) -> float:
    """US dollars that AWS expects from `first` (today or later) up to `end`, which is not included."""
    answer = aws.client("ce", region=HOME).get_cost_forecast(
        TimePeriod={"Start": first.isoformat(), "End": end.isoformat()},
        Granularity="MONTHLY",
        Metric="UNBLENDED_COST",
        Filter=_ours(aws),
    )
    return float(answer["Total"]["Amount"])


def budget(aws: Aws) -> Budget:
    """The lab's monthly budget.

    Raises:
        NotFound: there is none.
    """
    found = aws.client("budgets", region=HOME).describe_budget(AccountId=aws.account, BudgetName=aws.names.budget)["Budget"]
    spend: dict[str, Any] = found.get("CalculatedSpend", {})
    expected = spend.get("ForecastedSpend")
    return Budget(
        name=found["BudgetName"],
        limit=float(found["BudgetLimit"]["Amount"]),
        spent=float(spend.get("ActualSpend", {}).get("Amount", 0)),
        forecast=float(expected["Amount"]) if expected else None,
    )


def _ours(aws: Aws) -> dict[str, Any]:
    tags = aws.names.tags
    return {"And": [{"Tags": {"Key": key, "Values": [tags[key]]}} for key in (Tag.PROJECT, Tag.LAB)]}
