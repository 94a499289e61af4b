"""A VPC and subnets that somebody else made: checked, and never tagged, changed or deleted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.owned import AwsResource, Leftover
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, see
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.errors import LabError, Refused
from llmlab.infra.resource import Properties
from llmlab.lifecycle.instances import tag_filters


@dataclass(frozen=True, kw_only=True)
class ExistingNetwork(AwsResource):
    """The user's own network. Reading it checks that an instance there would reach AWS."""

    kind = "existing network"
    shared = True
    vpc_id: str
    subnet_ids: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.vpc_id

    def id(self) -> str:
        return self.vpc_id

    def need_id(self) -> str:
        return self.vpc_id

    def desired(self) -> Properties:
        return {}

    def read(self) -> Properties:
        """Check the network; it has no properties of ours.

        Raises:
            Refused: a machine in one of the subnets could not work, with the reason.
        """
        try:
            self.aws.ec2.describe_vpcs(VpcIds=[self.vpc_id])
            subnets = self.aws.ec2.describe_subnets(SubnetIds=list(self.subnet_ids))["Subnets"]
        except NotFound as error:
            raise Refused(f"{error.message} in region {self.aws.region}", f"aws ec2 describe-subnets --region {self.aws.region}") from error
        inside: Any = [{"Name": "vpc-id", "Values": [self.vpc_id]}]
        tables = every(self.aws.ec2, "describe_route_tables", "RouteTables", Filters=inside)
        zones: dict[str, str] = {}
        for subnet in subnets:
            self._check(subnet, tables, zones)
            zones[subnet["AvailabilityZone"]] = subnet["SubnetId"]
        return {}

    def _check(self, subnet: Mapping[str, Any], tables: Sequence[Mapping[str, Any]], zones: Mapping[str, str]) -> None:
        identity, zone = subnet["SubnetId"], subnet["AvailabilityZone"]
        if subnet["VpcId"] != self.vpc_id:
            raise Refused(
                f"subnet {identity} is in {subnet['VpcId']}, not in {self.vpc_id}", f"llmlab bootstrap --vpc-id {subnet['VpcId']}"
            )
        if zone in zones:
            hint = f"llmlab bootstrap --vpc-id {self.vpc_id} --subnet-id {identity}"
            raise Refused(f"subnets {zones[zone]} and {identity} are both in {zone}, and a fleet takes one a zone", hint)
        if not subnet["AvailableIpAddressCount"]:
            raise Refused(f"subnet {identity} has no free address", f"aws ec2 describe-subnets --region {self.aws.region}")
        route = _way_out(identity, tables)
        if route is None:
            hint = f"aws ec2 describe-route-tables --filters Name=vpc-id,Values={self.vpc_id} --region {self.aws.region}"
            raise Refused(f"subnet {identity} has no route to the internet, which an instance needs to reach AWS", hint)
        if route.startswith("igw-") and not subnet.get("MapPublicIpOnLaunch"):
            hint = f"aws ec2 modify-subnet-attribute --subnet-id {identity} --map-public-ip-on-launch --region {self.aws.region}"
            raise Refused(f"subnet {identity} gives no public addresses and has no NAT, so an instance there reaches nothing", hint)

    def create(self) -> None:
        raise LabError(f"{self.key} does not exist", f"aws ec2 describe-vpcs --region {self.aws.region}")

    def update(self, differs: Properties) -> None:
        """Never: the network is the user's."""

    def delete(self) -> None:
        """Never: the network is the user's."""

    def tags(self) -> Mapping[str, str]:
        return {}

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        """None: it is never the lab's."""
        return ()

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()  # what it costs its owner is not the lab's

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [see("DescribeRouteTables", "DescribeSubnets", "DescribeVpcs")]


def _way_out(subnet: str, tables: Sequence[Mapping[str, Any]]) -> str | None:
    """Where the subnet's default route leads: its own table's, or the main one's."""
    own = [table for table in tables if any(association.get("SubnetId") == subnet for association in table.get("Associations", []))]
    main = [table for table in tables if any(association.get("Main") for association in table.get("Associations", []))]
    for table in (own or main)[:1]:
        for route in table["Routes"]:
            if route.get("DestinationCidrBlock") == "0.0.0.0/0" and route.get("State") != "blackhole":
                return next(
                    (str(route[key]) for key in ("NatGatewayId", "GatewayId", "TransitGatewayId", "NetworkInterfaceId") if route.get(key)),
                    None,
                )
    return None


def zones_of(aws: Aws, subnet_ids: Sequence[str]) -> dict[str, str]:
    """Zone → subnet id of the lab's pools: the given subnets, or all that carry the lab's tags."""
    if subnet_ids:
        subnets = aws.ec2.describe_subnets(SubnetIds=list(subnet_ids))["Subnets"]
    else:
        subnets = every(aws.ec2, "describe_subnets", "Subnets", Filters=tag_filters(aws.names.tags))
    return {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in sorted(subnets, key=lambda subnet: subnet["AvailabilityZone"])}
