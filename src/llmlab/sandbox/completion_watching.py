"""CloudWatch: dashboards are of an account, not of a region, as its API says; moto keeps them by region.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html
"""

from typing import Any

HOME = "us-east-1"


def install() -> None:
    """Patch moto's CloudWatch."""
    from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends

    for name in ("put_dashboard", "list_dashboards", "delete_dashboards", "get_dashboard"):
        setattr(CloudWatchBackend, name, _of_the_account(getattr(CloudWatchBackend, name), cloudwatch_backends))


def _of_the_account(original: Any, backends: Any) -> Any:
    def call(self: Any, *values: Any, **named: Any) -> Any:
        return original(backends[self.account_id][HOME], *values, **named)

    return call
