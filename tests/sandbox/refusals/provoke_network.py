"""Rows of EC2's network, provoked."""

from dataclasses import dataclass

import pytest

from llmlab.aws.session import Aws, AwsError
from llmlab.clock import ManualClock
from tests.sandbox.refusals.provocations import provokes
from tests.sandbox.refusals.provoke_ec2 import REGION, launch


@dataclass
class Network:
    """A VPC with a subnet, a group of its own and a route table."""

    aws: Aws
    vpc: str
    subnet: str
    group: str
    table: str

    @classmethod
    def make(cls, aws: Aws) -> "Network":
        ec2 = aws.ec2
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        return cls(aws, vpc, subnet, group, table)

    def launch(self) -> str:
        return launch(self.aws, SubnetId=self.subnet, SecurityGroupIds=[self.group])

    def interface(self) -> str:
        made = self.aws.ec2.create_network_interface(SubnetId=self.subnet, Groups=[self.group])
        return made["NetworkInterface"]["NetworkInterfaceId"]

    def endpoint(self) -> str:
        made = self.aws.ec2.create_vpc_endpoint(
            VpcId=self.vpc, VpcEndpointType="Gateway", ServiceName=f"com.amazonaws.{REGION}.s3", RouteTableIds=[self.table]
        )
        return made["VpcEndpoint"]["VpcEndpointId"]


@provokes("subnet-in-use")
def _(aws: Aws, clock: ManualClock) -> None:
    network = Network.make(aws)
    network.interface()
    aws.ec2.delete_subnet(SubnetId=network.subnet)


@provokes("vpc-in-use")
def _(aws: Aws, clock: ManualClock) -> None:
    network = Network.make(aws)
    aws.ec2.delete_subnet(SubnetId=network.subnet)
    aws.ec2.delete_route_table(RouteTableId=network.table)
    aws.ec2.delete_vpc(VpcId=network.vpc)


@provokes("group-in-use")
def _(aws: Aws, clock: ManualClock) -> None:
    network = Network.make(aws)
    network.launch()
    aws.ec2.delete_security_group(GroupId=network.group)


@provokes("route-table-waits-for-its-endpoint")
def _(aws: Aws, clock: ManualClock) -> None:
    network = Network.make(aws)
    aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[network.endpoint()])
    aws.ec2.delete_route_table(RouteTableId=network.table)


@provokes("gateway-with-mapped-addresses")
def _(aws: Aws, clock: ManualClock) -> None:
    subnet = aws.ec2.describe_subnets()["Subnets"][0]
    gateway = aws.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    aws.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=subnet["VpcId"])
    launch(aws, SubnetId=subnet["SubnetId"])
    aws.ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=subnet["VpcId"])


@provokes("interfaces-linger")
def _(aws: Aws, clock: ManualClock) -> None:
    """What they keep from going, one after the other, and for how long."""
    network = Network.make(aws)
    aws.ec2.terminate_instances(InstanceIds=[network.launch()])
    with pytest.raises(AwsError) as caught:
        aws.ec2.delete_subnet(SubnetId=network.subnet)
    assert caught.value.code == "DependencyViolation"
    clock.sleep(21)
    aws.ec2.delete_subnet(SubnetId=network.subnet)
    clock.sleep(-10)
    aws.ec2.delete_security_group(GroupId=network.group)


@provokes("endpoint-stays-deleting")
def _(aws: Aws, clock: ManualClock) -> bool:
    network = Network.make(aws)
    endpoint = network.endpoint()
    aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    aws.ec2.delete_subnet(SubnetId=network.subnet)
    aws.ec2.delete_route_table(RouteTableId=network.table)
    aws.ec2.delete_security_group(GroupId=network.group)
    state = aws.ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint])["VpcEndpoints"][0]["State"]
    with pytest.raises(AwsError) as caught:
        aws.ec2.delete_vpc(VpcId=network.vpc)
    assert caught.value.code == "DependencyViolation"
    clock.sleep(21)
    aws.ec2.delete_vpc(VpcId=network.vpc)
    return str(state).lower() == "deleting"


@provokes("guardduty-endpoint")
def _(aws: Aws, clock: ManualClock) -> bool:
    network = Network.make(aws)
    for _ in range(2):
        network.launch()
    (endpoint,) = aws.ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [network.vpc]}])["VpcEndpoints"]
    assert [item["Value"] for item in endpoint["Tags"] if item["Key"] == "GuardDutyManaged"] == ["true"]
    (interface,) = endpoint["NetworkInterfaceIds"]
    with pytest.raises(AwsError) as caught:
        aws.ec2.delete_subnet(SubnetId=network.subnet)
    assert caught.value.code == "DependencyViolation"
    return bool(interface)


@provokes("vpc-limit")
def _(aws: Aws, clock: ManualClock) -> None:
    for number in range(5):
        aws.ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")


@provokes("gateway-limit")
def _(aws: Aws, clock: ManualClock) -> None:
    for _ in range(6):
        aws.ec2.create_internet_gateway()
