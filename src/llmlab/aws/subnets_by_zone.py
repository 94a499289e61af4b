"""Where a lab may start instances: its own subnets found by tag, or the existing ones that the settings name; one a zone."""

from collections.abc import Sequence
from typing import Any

from llmlab.aws.session import Aws, NotFound
from llmlab.errors import LabError
from llmlab.lifecycle.instances import tag_filters


def subnets(aws: Aws, named: Sequence[str] = ()) -> dict[str, str]:
    """Subnet id by zone, in the order of the zones. EC2 refuses a fleet with two subnets in one zone, so the first of each is taken.

    Raises:
        LabError: a named subnet does not exist, or the lab has none.
    """
    filters: Any = tag_filters(aws.names.tags)
    where: Any = {"SubnetIds": list(named)} if named else {"Filters": filters}
    try:
        items = [item for page in aws.ec2.get_paginator("describe_subnets").paginate(**where) for item in page["Subnets"]]
    except NotFound as error:
        raise LabError(f"a subnet of the settings is not there: {', '.join(named)}", "llmlab config") from error
    zones: dict[str, str] = {}
    for item in sorted(items, key=lambda subnet: (subnet["AvailabilityZone"], subnet["SubnetId"])):
        zones.setdefault(item["AvailabilityZone"], item["SubnetId"])
    if not zones:
        raise LabError(f"the lab {aws.lab} has no subnet in {aws.region} yet", f"llmlab --region {aws.region} bootstrap")
    return zones


def has_launch_template(aws: Aws) -> bool:
    """Whether the lab's launch template is there, the last thing bootstrap makes that a run needs."""
    try:
        return bool(aws.ec2.describe_launch_templates(LaunchTemplateNames=[aws.names.launch_template])["LaunchTemplates"])
    except NotFound:
        return False
