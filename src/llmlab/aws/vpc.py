"""The lab's own network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmlab.aws.owned import Ec2Resource
from llmlab.aws.session import AwsError, NotFound
from llmlab.errors import LabError
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
        found = self.look()
        if not found:
            return None
        support = self.aws.ec2.describe_vpc_attribute(VpcId=found["VpcId"], Attribute="enableDnsSupport")
        hostnames = self.aws.ec2.describe_vpc_attribute(VpcId=found["VpcId"], Attribute="enableDnsHostnames")
        return {"dns support": support["EnableDnsSupport"]["Value"], "dns hostnames": hostnames["EnableDnsHostnames"]["Value"]}

    def found(self) -> Sequence[Mapping[str, Any]]:
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
        for vpc in map(self.id_of, self.found()):
            try:
                self.aws.ec2.delete_vpc(VpcId=vpc)
            except NotFound:
                continue
            except AwsError as error:
                if error.code != "DependencyViolation":
                    raise
                raise self._blocked(vpc) from error

    def _blocked(self, vpc: str) -> LabError:
        """Who still lives in it."""
        inside = [{"Name": "vpc-id", "Values": [vpc]}]
        region = f"--region {self.aws.region}"
        for interface in self.aws.ec2.describe_network_interfaces(Filters=inside)["NetworkInterfaces"]:  # type: ignore[arg-type]
            identity = interface["NetworkInterfaceId"]
            hint = f"aws ec2 delete-network-interface --network-interface-id {identity} {region}"
            return LabError(f"network interface {identity} ({interface.get('Description') or 'no description'}) is still in {vpc}", hint)
        for group in self.aws.ec2.describe_security_groups(Filters=inside)["SecurityGroups"]:  # type: ignore[arg-type]
            if group["GroupName"] != "default":
                hint = f"aws ec2 delete-security-group --group-id {group['GroupId']} {region}"
                return LabError(f"security group {group['GroupName']} is still in {vpc}", hint)
        for subnet in self.aws.ec2.describe_subnets(Filters=inside)["Subnets"]:  # type: ignore[arg-type]
            return LabError(
                f"subnet {subnet['SubnetId']} is still in {vpc}", f"aws ec2 delete-subnet --subnet-id {subnet['SubnetId']} {region}"
            )
        return LabError(f"something that is not ours is still in {vpc}", f"aws ec2 describe-vpcs --vpc-ids {vpc} {region}")
