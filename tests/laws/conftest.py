"""A lab in an empty account in this process, with a clock that never waits."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from llmlab.clock import ManualClock
from llmlab.config import Settings

if TYPE_CHECKING:
    from llmlab.aws.owned import AwsResource
    from llmlab.aws.session import Aws
    from llmlab.infra.plan import Plan

OWN, EXISTING = "own network", "existing network"
OPTIONS = {"email": "me@example.org", "github": "me/repo", "github_ids": "1/2", "ssh_cidr": "192.0.2.0/24"}
LEAST = {OWN: 37, EXISTING: 33}
"""Fewer resources neither lab has."""
READING = ("Describe", "Get", "List", "Head")


@dataclass
class Lab:
    """`stack` is built anew for each look, as each command does."""

    aws: "Aws"
    settings: Settings
    clock: ManualClock
    calls: list[str]

    def stack(self) -> tuple["AwsResource", ...]:
        from llmlab import stack

        return stack.build(self.settings, self.aws, self.clock)

    def count(self) -> int:
        """How many resources the lab has: the laws must see all of them."""
        found = len(self.stack())
        assert found >= LEAST[EXISTING if self.settings.vpc_id else OWN]
        return found

    def plan(self) -> "Plan":
        from llmlab import stack
        from llmlab.infra.plan import plan

        return plan(self.stack(), unwanted=stack.unwanted(self.settings, self.aws, self.clock))

    def apply(self) -> None:
        from llmlab.infra.apply import apply

        apply(self.plan())

    def writes(self) -> list[str]:
        return [call for call in self.calls if not call.partition(":")[2].startswith(READING)]


@pytest.fixture
def lab(lab_aws: "Aws", recorder: list[str]) -> Lab:
    return Lab(lab_aws, Settings(**OPTIONS), ManualClock(datetime(2026, 11, 24, tzinfo=UTC)), recorder)


@pytest.fixture(params=[OWN, EXISTING])
def either(request: pytest.FixtureRequest, lab: Lab) -> tuple[Lab, int]:
    """A lab in each network mode, and how many resources it has."""
    if request.param == EXISTING:
        vpc = next(one["VpcId"] for one in lab.aws.ec2.describe_vpcs()["Vpcs"] if one["IsDefault"])
        gateway = lab.aws.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        lab.aws.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        table = lab.aws.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"][0]["RouteTableId"]
        lab.aws.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        subnets = [one["SubnetId"] for one in lab.aws.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]]
        lab.settings = lab.settings.model_copy(update={"vpc_id": vpc, "subnet_ids": tuple(subnets[:3])})
    count = lab.count()
    lab.calls.clear()
    return lab, count
