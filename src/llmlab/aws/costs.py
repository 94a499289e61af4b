"""AWS's own billing data: costs and forecast of Cost Explorer, and the lab's budget. All of it is about a day behind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from llmlab.aws.session import Aws
from llmlab.contract import Tag

HOME = "us-east-1"
"""Cost Explorer and Budgets answer here for every region."""


MACHINES = ("Amazon Elastic Compute Cloud - Compute", "EC2 - Other", "Amazon Virtual Private Cloud")
"""The services under which Cost Explorer files instances, their disks, and their public addresses."""
TAGS = (Tag.PROJECT, Tag.LAB, Tag.RUN)
"""The tags that Cost Explorer can filter and group our costs by, once they are activated for cost allocation.
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activating-tags.html"""
ACTIVE = "Active"
ACTIVATE = "aws ce update-cost-allocation-tags-status --region us-east-1 --cost-allocation-tags-status " + " ".join(
    f"TagKey={tag},Status=Active" for tag in TAGS
)


@dataclass(frozen=True)
class BudgetSpending:
    """US dollars of this month. `forecast` is None until AWS has enough history."""

    name: str
    limit: float
    spent: float
    forecast: float | None


def tag_states(aws: Aws) -> dict[Tag, str]:
    """The status, `Active` or `Inactive`, of each of our tags that AWS has seen. Only the account that pays may ask."""
    tags = aws.client("ce", region=HOME).list_cost_allocation_tags(TagKeys=[str(tag) for tag in TAGS])["CostAllocationTags"]
    return {Tag(tag["TagKey"]): tag["Status"] for tag in tags}


def active_tags(aws: Aws) -> frozenset[Tag]:
    """Those of our tags that are activated for cost allocation. Only the account that pays may ask."""
    answer = aws.client("ce", region=HOME).list_cost_allocation_tags(TagKeys=[str(tag) for tag in TAGS], Status="Active")
    return frozenset(Tag(tag["TagKey"]) for tag in answer["CostAllocationTags"])


def by_day(aws: Aws, first: date, end: date, active: frozenset[Tag]) -> dict[date, dict[str, float]]:
    """US dollars of this lab's machines for each day from `first` to before `end` (UTC), by run; by "" where runs cannot be told apart."""
    periods = _cost_and_usage(
        aws,
        TimePeriod={"Start": first.isoformat(), "End": end.isoformat()},
        Granularity="DAILY",
        Metrics=["UnblendedCost"],
        Filter={"And": [*_ours(aws, active), {"Dimensions": {"Key": "SERVICE", "Values": list(MACHINES)}}]},
        GroupBy=[{"Type": "TAG", "Key": str(Tag.RUN if Tag.RUN in active else Tag.PROJECT)}],
    )
    days: dict[date, dict[str, float]] = {}
    for period in periods:
        day = days.setdefault(date.fromisoformat(period["TimePeriod"]["Start"]), {})
        for group in period.get("Groups", []):
            run = group["Keys"][0].partition("$")[2] if Tag.RUN in active else ""
            day[run] = day.get(run, 0.0) + float(group["Metrics"]["UnblendedCost"]["Amount"])
    return days


def by_service(aws: Aws, first: date, last: date, active: frozenset[Tag]) -> dict[str, float]:
    """US dollars per AWS service of what is tagged as this lab's project, `last` included, dearest first."""
    periods = _cost_and_usage(
        aws,
        TimePeriod={"Start": first.isoformat(), "End": (last + timedelta(days=1)).isoformat()},
        Granularity="MONTHLY",
        Metrics=["UnblendedCost"],
        Filter=_filter(_ours(aws, active)),
        GroupBy=[{"Type": "DIMENSION", "Key": "SERVICE"}],
    )
    totals: dict[str, float] = {}
    for period in periods:
        for group in period.get("Groups", []):
            name = group["Keys"][0]
            totals[name] = totals.get(name, 0.0) + float(group["Metrics"]["UnblendedCost"]["Amount"])
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _cost_and_usage(aws: Aws, **question: Any) -> Iterator[Mapping[str, Any]]:
    """The periods of all pages of an answer; a period whose groups are many comes in several. Each page costs a cent.

    boto3 has no paginator for it. https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_GetCostAndUsage.html
    """
    client = aws.client("ce", region=HOME)
    following: dict[str, str] = {}
    while True:
        page = client.get_cost_and_usage(**question, **following)
        yield from page["ResultsByTime"]
        if not page.get("NextPageToken"):
            return
        following = {"NextPageToken": page["NextPageToken"]}


def forecast(aws: Aws, first: date, end: date, active: frozenset[Tag]) -> float:
    """US dollars that AWS expects from `first` (today or later) up to `end`, which is not included."""
    answer = aws.client("ce", region=HOME).get_cost_forecast(
        TimePeriod={"Start": first.isoformat(), "End": end.isoformat()},
        Granularity="MONTHLY",
        Metric="UNBLENDED_COST",
        Filter=_filter(_ours(aws, active)),
    )
    return float(answer["Total"]["Amount"])


def budget(aws: Aws) -> BudgetSpending:
    """The lab's monthly budget.

    Raises:
        NotFound: there is none.
    """
    answer = aws.client("budgets", region=HOME).describe_budget(AccountId=aws.account, BudgetName=aws.names.budget)["Budget"]
    spend: dict[str, Any] = answer.get("CalculatedSpend", {})
    expected = spend.get("ForecastedSpend")
    return BudgetSpending(
        name=answer["BudgetName"],
        limit=float(answer["BudgetLimit"]["Amount"]),
        spent=float(spend.get("ActualSpend", {}).get("Amount", 0)),
        forecast=float(expected["Amount"]) if expected else None,
    )


def _ours(aws: Aws, active: frozenset[Tag]) -> list[dict[str, Any]]:
    """A filter condition for each active tag; by a tag that is not active, Cost Explorer would find nothing."""
    tags = aws.names.tags
    wanted = [key for key in (Tag.PROJECT, Tag.LAB) if key in active] or [Tag.PROJECT]
    return [{"Tags": {"Key": str(key), "Values": [tags[key]]}} for key in wanted]


def _filter(conditions: list[dict[str, Any]]) -> Any:
    """All conditions as one filter: `And` takes two or more."""
    return {"And": conditions} if len(conditions) > 1 else conditions[0]
