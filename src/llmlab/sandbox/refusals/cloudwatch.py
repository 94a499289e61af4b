"""Refusals of CloudWatch, and answers that differ from moto's."""

from typing import Any

from llmlab.sandbox.refusals.rule import Call, On, Rule

API = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/"
WARNING = {"DataPath": "/widgets/0/properties/title", "Message": "Should be string"}


def _with_warning(_: Call, result: Any) -> Any:
    result.result["DashboardValidationMessages"] = [WARNING]
    return result


ROWS = (
    Rule(
        name="dashboard-made-with-warnings",
        operations=("cloudwatch:PutDashboard",),
        when="something in the body is not as CloudWatch would have it, and yet can be shown",
        code="",
        message="the dashboard is made, and DashboardValidationMessages holds warnings",
        source=f"{API}API_PutDashboard.html",
        applies=lambda _: True,
        alters=_with_warning,
        on=On.NAMED,
    ),
    Rule(
        name="dashboards-are-global",
        operations=("cloudwatch:PutDashboard", "cloudwatch:GetDashboard", "cloudwatch:ListDashboards", "cloudwatch:DeleteDashboards"),
        when="a dashboard of this name was made in another region",
        code="",
        message="it is the same dashboard: an account has one list of them",
        source=f"{API}API_PutDashboard.html",
    ),
)
