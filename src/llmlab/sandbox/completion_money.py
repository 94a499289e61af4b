"""Budgets, dashboards, Cost Explorer and Service Quotas: the calls that moto does not answer."""

import json
from datetime import date, timedelta
from typing import Any

from llmlab.contract import PROJECT
from llmlab.sandbox import market
from llmlab.sandbox.completion import answer, fail, kept

SERVICE = "ec2"
ARN = "arn:aws:servicequotas:{region}:{account}:ec2/{code}"


def install() -> None:
    """Patch moto's budgets, dashboards, ce and service quotas."""
    _budgets()
    _dashboards()
    _cost_explorer()
    _quotas()


# ---------------------------------------------------------------- budgets


def _budgets() -> None:
    from moto.budgets.responses import BudgetsResponse

    create_budget = BudgetsResponse.create_budget
    delete_budget = BudgetsResponse.delete_budget

    def create(self: Any, values: dict[str, Any]) -> Any:
        result = create_budget(self)
        kept(self.backend, "tags")[values["Budget"]["BudgetName"]] = {tag["Key"]: tag["Value"] for tag in values.get("ResourceTags", [])}
        return result

    def delete(self: Any, values: dict[str, Any]) -> Any:
        kept(self.backend, "tags").pop(values["BudgetName"], None)
        return delete_budget(self)

    answer(BudgetsResponse, "CreateBudget", create)
    answer(BudgetsResponse, "DeleteBudget", delete)
    answer(BudgetsResponse, "UpdateBudget", _update_budget)
    answer(
        BudgetsResponse,
        "DescribeNotificationsForBudget",
        lambda self, values: {"Notifications": [dict(notification.details) for notification in _budget(self, values).notifications]},
    )
    answer(
        BudgetsResponse, "DescribeSubscribersForNotification", lambda self, values: {"Subscribers": _notification(self, values).subscribers}
    )
    answer(
        BudgetsResponse, "CreateSubscriber", lambda self, values: _notification(self, values).subscribers.append(values["Subscriber"]) or {}
    )
    answer(
        BudgetsResponse, "DeleteSubscriber", lambda self, values: _notification(self, values).subscribers.remove(values["Subscriber"]) or {}
    )
    answer(BudgetsResponse, "UpdateNotification", _update_notification)
    answer(BudgetsResponse, "TagResource", _tag_budget)
    answer(BudgetsResponse, "UntagResource", _untag_budget)
    answer(
        BudgetsResponse,
        "ListTagsForResource",
        lambda self, values: {"ResourceTags": [{"Key": key, "Value": value} for key, value in _tags(self, values).items()]},
    )


def _budget(self: Any, values: dict[str, Any], name: str = "") -> Any:
    name = name or values["BudgetName"]
    account = values.get("AccountId") or self.current_account
    if name not in self.backend.budgets[account]:
        raise fail("NotFoundException", f"Unable to get budget: {name} - the budget doesn't exist.")
    return self.backend.budgets[account][name]


def _update_budget(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    from moto.core.utils import unix_time

    new_budget = json.loads(self.body)["NewBudget"]
    budget = _budget(self, values, new_budget["BudgetName"])
    budget.budget = {"TimePeriod": budget.budget["TimePeriod"], **new_budget, "LastUpdatedTime": unix_time()}
    return {}


def _notification(self: Any, values: dict[str, Any]) -> Any:
    for notification in _budget(self, values).notifications:
        if _same(notification.details, values["Notification"]):
            return notification
    raise fail("NotFoundException", "Unable to get notification - the notification doesn't exist.")


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two notifications are the same: type, comparison operator and threshold."""
    keys = ("NotificationType", "ComparisonOperator", "ThresholdType")
    return float(first["Threshold"]) == float(second["Threshold"]) and all(first.get(key) == second.get(key) for key in keys)


def _update_notification(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    _notification(self, {**values, "Notification": values["OldNotification"]}).details = values["NewNotification"]
    return {}


def _tags(self: Any, values: dict[str, Any]) -> dict[str, str]:
    name = values["ResourceARN"].rpartition("budget/")[2]
    _budget(self, {}, name)
    tags: dict[str, str] = kept(self.backend, "tags").setdefault(name, {})
    return tags


def _tag_budget(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    _tags(self, values).update({tag["Key"]: tag["Value"] for tag in values["ResourceTags"]})
    return {}


def _untag_budget(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    for key in values["ResourceTagKeys"]:
        _tags(self, values).pop(key, None)
    return {}


# ---------------------------------------------------------------- dashboards


def _dashboards() -> None:
    """Give the account one list of dashboards for all regions; moto has one a region.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html
    """
    from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends

    def shared(self: Any) -> dict[str, Any]:
        return kept(cloudwatch_backends[self.account_id]["us-east-1"], "dashboards")

    def discard(self: Any, _: dict[str, Any]) -> None:
        """Ignore the empty dict that moto assigns on construction."""

    CloudWatchBackend.dashboards = property(shared, discard)


# ---------------------------------------------------------------- Cost Explorer


def _cost_explorer() -> None:
    from moto.ce.responses import CostExplorerResponse

    answer(CostExplorerResponse, "ListCostAllocationTags", _list_cost_tags)
    answer(CostExplorerResponse, "UpdateCostAllocationTagsStatus", _update_cost_tags)
    answer(CostExplorerResponse, "GetCostAndUsage", _cost_and_usage)
    answer(CostExplorerResponse, "GetCostForecast", _no_forecast)


def _list_cost_tags(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    known = {"Project": "Inactive", "Lab": "Inactive", "Run": "Inactive", **kept(self.ce_backend, "cost_tags")}
    wanted = values.get("TagKeys") or sorted(known)
    tags = [{"TagKey": key, "Type": "UserDefined", "Status": known[key]} for key in wanted if key in known]
    return {"CostAllocationTags": [tag for tag in tags if values.get("Status") in {None, tag["Status"]}]}


def _update_cost_tags(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    kept(self.ce_backend, "cost_tags").update({item["TagKey"]: item["Status"] for item in values["CostAllocationTagsStatus"]})
    return {"Errors": []}


def bill(day: date, dollars: float, run: str = "") -> None:
    """Add a cost in US dollars on a day (UTC) to Cost Explorer's answers, tagged `Run` where a run is given. Called by tests."""
    from moto.ce.models import ce_backends

    billed = kept(ce_backends[market.ACCOUNT]["aws"], "billed")
    billed[day, run] = billed.get((day, run), 0.0) + dollars


def _billed(self: Any, values: dict[str, Any], start: date, end: date) -> list[dict[str, Any]]:
    """The cost groups of a period. Grouping by a tag that is not active shows nothing, as with AWS."""
    tags = {"Project": "Inactive", **kept(self.ce_backend, "cost_tags")}
    (group,) = values.get("GroupBy") or [{"Type": "", "Key": ""}]
    if tags["Project"] != "Active":
        return []
    sums: dict[str, float] = {}
    for (day, run), dollars in kept(self.ce_backend, "billed").items():
        if start <= day < end:
            name = run if group["Key"] == "Run" and tags.get("Run") == "Active" else "" if group["Key"] == "Run" else PROJECT
            key = f"{group['Key']}${name}" if group["Type"] == "TAG" else "Amazon Elastic Compute Cloud - Compute"
            sums[key] = sums.get(key, 0.0) + dollars
    return [{"Keys": [key], "Metrics": {"UnblendedCost": {"Amount": str(dollars), "Unit": "USD"}}} for key, dollars in sums.items()]


def _cost_and_usage(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The costs that `bill` recorded, or zero, for each period of the range; or the results that `/moto-api/static/ce` was given."""
    preset = self.ce_backend.get_cost_and_usage(self.body)
    if preset["ResultsByTime"]:
        return dict(preset)
    start, end = (date.fromisoformat(values["TimePeriod"][key][:10]) for key in ("Start", "End"))
    if end <= start:
        raise fail("ValidationException", "Start date (and hour) should be before end date (and hour)")
    zero = {metric: {"Amount": "0", "Unit": "USD"} for metric in values.get("Metrics", ["UnblendedCost"])}
    results = []
    while start < end:
        following = (
            (start.replace(day=1) + timedelta(days=32)).replace(day=1) if values["Granularity"] == "MONTHLY" else start + timedelta(days=1)
        )
        period = {"Start": start.isoformat(), "End": min(following, end).isoformat()}
        groups = _billed(self, values, start, min(following, end)) if values.get("GroupBy") else []
        results.append({"TimePeriod": period, "Total": {} if values.get("GroupBy") else zero, "Groups": groups, "Estimated": True})
        start = following
    return {"ResultsByTime": results, "DimensionValueAttributes": []}


def _no_forecast(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    raise fail("DataUnavailableException", "Insufficient amount of historical data")


# ---------------------------------------------------------------- quotas


def _quotas() -> None:
    from moto.servicequotas.responses import ServiceQuotasResponse

    get, listed = ServiceQuotasResponse.get_service_quota, ServiceQuotasResponse.list_aws_default_service_quotas
    answer(ServiceQuotasResponse, "GetServiceQuota", lambda self, values: _get_quota(self, values, get, default=False))
    answer(ServiceQuotasResponse, "GetAWSDefaultServiceQuota", lambda self, values: _get_quota(self, values, None, default=True))
    answer(ServiceQuotasResponse, "ListServiceQuotas", lambda self, values: _list_quotas(self, values, None, default=False))
    answer(ServiceQuotasResponse, "ListAWSDefaultServiceQuotas", lambda self, values: _list_quotas(self, values, listed, default=True))
    answer(ServiceQuotasResponse, "RequestServiceQuotaIncrease", _request_increase)
    answer(ServiceQuotasResponse, "ListRequestedServiceQuotaChangeHistoryByQuota", _requests)
    answer(ServiceQuotasResponse, "ListRequestedServiceQuotaChangeHistory", _requests)


def _quota(self: Any, quota: market.SandboxQuota, *, default: bool) -> dict[str, Any]:
    ai = quota.families[0][0] in "gp"
    return {
        "ServiceCode": SERVICE,
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": ARN.format(region=self.region, account=self.current_account, code=quota.code),
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": (0.0 if ai else 5.0) if default else market.quota_value(self.region, quota),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def _get_quota(self: Any, values: dict[str, Any], original: Any, *, default: bool) -> Any:
    if values["ServiceCode"] != SERVICE and original:
        return original(self)
    for quota in market.QUOTAS:
        if values["ServiceCode"] == SERVICE and quota.code == values["QuotaCode"]:
            return {"Quota": _quota(self, quota, default=default)}
    raise fail("NoSuchResourceException", "The request failed because the specified service does not exist.")


def _list_quotas(self: Any, values: dict[str, Any], original: Any, *, default: bool) -> Any:
    if values["ServiceCode"] == SERVICE:
        return {"Quotas": [_quota(self, quota, default=default) for quota in market.QUOTAS]}
    if original:
        return original(self)
    raise fail("NoSuchResourceException", "The request failed because the specified service does not exist.")


def _request_increase(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    quota = next((quota for quota in market.QUOTAS if quota.code == values["QuotaCode"]), None)
    if quota is None or values["ServiceCode"] != SERVICE:
        raise fail("NoSuchResourceException", "The request failed because the specified service does not exist.")
    requests = kept(self.backend, "requests")
    request = {
        "Id": f"{len(requests) + 1:032x}",
        "ServiceCode": SERVICE,
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "DesiredValue": float(values["DesiredValue"]),
        "Status": "PENDING",
    }
    requests[request["Id"]] = request
    return {"RequestedQuota": request}


def _requests(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    requests = kept(self.backend, "requests").values()
    return {"RequestedQuotas": [request for request in requests if values.get("QuotaCode") in {None, request["QuotaCode"]}]}
