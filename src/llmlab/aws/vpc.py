"""The lab's own VPC."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from llmlab.aws.owned import Ec2Resource, Leftover, tagged
from llmlab.aws.policies_documents import Policy, change, make, see
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties

CIDR = "10.1.0.0/16"


@dataclass(frozen=True, kw_only=True)
class Vpc(Ec2Resource):
    """A network of the lab's own, so that nothing else can reach its instances by accident."""

    kind = "VPC"

    @property
    def name(self) -> str:
        return self.names.vpc

    def desired(self) -> Properties:
        return {"dns support": True, "dns hostnames": True}

    def read(self) -> Properties | None:
        vpc = self.look()
        if not vpc:
            return None
        support = self.aws.ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute="enableDnsSupport")
        hostnames = self.aws.ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute="enableDnsHostnames")
        return {"dns support": support["EnableDnsSupport"]["Value"], "dns hostnames": hostnames["EnableDnsHostnames"]["Value"]}

    def descriptions(self) -> Sequence[Mapping[str, Any]]:
        return self.aws.ec2.describe_vpcs(Filters=self.filters)["Vpcs"]

    def id_of(self, description: Mapping[str, Any]) -> str:
        return str(description["VpcId"])

    def create(self) -> None:
        self.create_alone(
            lambda ec2: ec2.create_vpc(CidrBlock=CIDR, TagSpecifications=self.specification("vpc"))["Vpc"],
            lambda mine: self.aws.ec2.delete_vpc(VpcId=mine),
        )

    def update(self, differs: Properties) -> None:
        if "dns support" in differs:
            self.aws.ec2.modify_vpc_attribute(VpcId=self.need_id(), EnableDnsSupport={"Value": True})
        if "dns hostnames" in differs:
            self.aws.ec2.modify_vpc_attribute(VpcId=self.need_id(), EnableDnsHostnames={"Value": True})

    def delete(self) -> None:
        """Delete it, the last of the network: what is still in it by then is named."""
        for vpc in map(self.id_of, self.descriptions()):
            self.delete_patiently(partial(self._delete, vpc), "everything in it going", vpc, alone=True)

    def _delete(self, vpc: str) -> None:
        with suppress(NotFound):
            self.aws.ec2.delete_vpc(VpcId=vpc)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return tagged(aws, "VPC", "describe_vpcs", "Vpcs", "VpcId")

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [
            see("DescribeVpcAttribute", "DescribeVpcs"),
            *make(names, "CreateVpc", "vpc"),
            change(names, "DeleteVpc", "ModifyVpcAttribute"),
        ]
