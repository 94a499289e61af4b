"""The route table of the lab's subnets."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from llmlab.aws.internet_gateway import InternetGateway
from llmlab.aws.owned import Ec2Resource, Leftover, tagged
from llmlab.aws.policies_documents import Policy, change, make, see
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.aws.subnets import Subnets
from llmlab.aws.vpc import Vpc
from llmlab.contract import Names
from llmlab.infra.resource import Properties

EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, kw_only=True)
class RouteTable(Ec2Resource):
    """The routes of the subnets: all traffic goes out through the internet gateway. Routes that somebody added stay."""

    kind = "route table"
    vpc: Vpc
    subnets: Subnets
    gateway: InternetGateway

    @property
    def name(self) -> str:
        return self.names.vpc

    def desired(self) -> Properties:
        return {"default route": "internet gateway", "zones": list(self.subnets.zones())}

    def read(self) -> Properties | None:
        table = self.look()
        if not table:
            return None
        route = self._default(table)
        gateway = self.gateway.id()
        associated = {association.get("SubnetId") for association in table.get("Associations", [])}
        zones = sorted({subnet["AvailabilityZone"] for subnet in self.subnets.all() if subnet["SubnetId"] in associated})
        target = route.get("GatewayId") or route.get("NatGatewayId") or route.get("InstanceId")
        wanted = set(self.subnets.zones())
        return {
            "default route": "internet gateway" if gateway and target == gateway else target,
            "zones": [zone for zone in zones if zone in wanted],
        }

    def descriptions(self) -> Sequence[Mapping[str, Any]]:
        return self.aws.ec2.describe_route_tables(Filters=self.filters)["RouteTables"]

    def id_of(self, description: Mapping[str, Any]) -> str:
        return str(description["RouteTableId"])

    def _default(self, description: Mapping[str, Any]) -> Mapping[str, Any]:
        return next((route for route in description.get("Routes", []) if route.get("DestinationCidrBlock") == EVERYWHERE), {})

    def create(self) -> None:
        specification = self.specification("route-table")
        self.create_alone(
            lambda ec2: ec2.create_route_table(VpcId=self.vpc.need_id(), TagSpecifications=specification)["RouteTable"],
            lambda mine: self.aws.ec2.delete_route_table(RouteTableId=mine),
        )

    def update(self, differs: Properties) -> None:
        description = self.need()
        table = self.id_of(description)
        if "default route" in differs:
            change = self.aws.ec2.replace_route if self._default(description) else self.aws.ec2.create_route
            change(RouteTableId=table, DestinationCidrBlock=EVERYWHERE, GatewayId=self.gateway.need_id())
        if "zones" in differs:
            associated = {association.get("SubnetId") for association in description.get("Associations", [])}
            for subnet in self.subnets.all():
                if subnet["SubnetId"] not in associated:
                    self._associate(table, subnet["SubnetId"])

    def _associate(self, table: str, subnet: str) -> None:
        """Take the subnet over from whatever table somebody gave it."""
        by_subnet = [{"Name": "association.subnet-id", "Values": [subnet]}]
        for other in self.aws.ec2.describe_route_tables(Filters=by_subnet)["RouteTables"]:  # type: ignore[arg-type]
            for association in other["Associations"]:
                if association.get("SubnetId") == subnet:
                    self.aws.ec2.replace_route_table_association(AssociationId=association["RouteTableAssociationId"], RouteTableId=table)
                    return
        self.aws.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)

    def delete(self) -> None:
        """Delete it patiently: a gateway endpoint that is still being deleted depends on it for a while."""
        for table in self.descriptions():
            for association in table.get("Associations", []):
                if not association.get("Main"):
                    with suppress(NotFound):
                        self.aws.ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
            identity = self.id_of(table)
            self.delete_patiently(partial(self._delete, identity), "what uses it going", table.get("VpcId"))

    def _delete(self, table: str) -> None:
        with suppress(NotFound):
            self.aws.ec2.delete_route_table(RouteTableId=table)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return tagged(aws, "route table", "describe_route_tables", "RouteTables", "RouteTableId")

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [
            see("DescribeRouteTables"),
            *make(names, "CreateRouteTable", "route-table", within=("vpc",)),
            change(
                names,
                "AssociateRouteTable",
                "CreateRoute",
                "DeleteRouteTable",
                "DisassociateRouteTable",
                "ReplaceRoute",
                "ReplaceRouteTableAssociation",
            ),
        ]
