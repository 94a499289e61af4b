"""The internet gateway of the lab's VPC."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.owned import Ec2Resource, Leftover, tagged
from llmlab.aws.policies_documents import Policy, change, make, see
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.aws.vpc import Vpc
from llmlab.contract import Names
from llmlab.infra.resource import Properties


@dataclass(frozen=True, kw_only=True)
class InternetGateway(Ec2Resource):
    """The network's way to the internet. It costs nothing by itself, unlike a NAT gateway."""

    kind = "internet gateway"
    vpc: Vpc

    @property
    def name(self) -> str:
        return self.names.vpc

    def desired(self) -> Properties:
        return {"attached to": self.vpc.name}

    def read(self) -> Properties | None:
        gateway = self.look()
        if not gateway:
            return None
        vpcs = self._attached(gateway)
        ours = self.vpc.id()
        return {"attached to": self.vpc.name if ours in vpcs else ", ".join(vpcs) or None}

    def descriptions(self) -> Sequence[Mapping[str, Any]]:
        return self.aws.ec2.describe_internet_gateways(Filters=self.filters)["InternetGateways"]

    def id_of(self, description: Mapping[str, Any]) -> str:
        return str(description["InternetGatewayId"])

    def _attached(self, description: Mapping[str, Any]) -> list[str]:
        return [attachment["VpcId"] for attachment in description.get("Attachments", [])]

    def create(self) -> None:
        specification = self.specification("internet-gateway")
        self.create_alone(
            lambda ec2: ec2.create_internet_gateway(TagSpecifications=specification)["InternetGateway"],
            lambda mine: self.aws.ec2.delete_internet_gateway(InternetGatewayId=mine),
        )

    def update(self, differs: Properties) -> None:
        if "attached to" in differs:
            self._detach(self.look() or {})
            self.aws.ec2.attach_internet_gateway(InternetGatewayId=self.need_id(), VpcId=self.vpc.need_id())

    def _detach(self, description: Mapping[str, Any]) -> None:
        for vpc in self._attached(description):
            self.aws.ec2.detach_internet_gateway(InternetGatewayId=self.id_of(description), VpcId=vpc)

    def delete(self) -> None:
        """Delete it once the last public address has gone back."""
        vpc = next((vpc for gateway in self.descriptions() for vpc in self._attached(gateway)), None)
        self.delete_patiently(self._delete, "the last public address going back", vpc, also=("Gateway.NotAttached",))

    def _delete(self) -> None:
        for gateway in self.descriptions():
            self._detach(gateway)
            with suppress(NotFound):
                self.aws.ec2.delete_internet_gateway(InternetGatewayId=self.id_of(gateway))

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return tagged(aws, "internet gateway", "describe_internet_gateways", "InternetGateways", "InternetGatewayId")

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [
            see("DescribeInternetGateways"),
            *make(names, "CreateInternetGateway", "internet-gateway"),
            change(names, "AttachInternetGateway", "DeleteInternetGateway", "DetachInternetGateway"),
        ]
