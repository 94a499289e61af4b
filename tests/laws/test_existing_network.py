"""A network that somebody else made: what makes it unusable, each with the way out; and never a tag on it."""

from typing import TYPE_CHECKING

import pytest

from llmlab.aws.existing_network import ExistingNetwork, zones_of
from llmlab.errors import Refused

if TYPE_CHECKING:
    from llmlab.aws.session import Aws


def network(aws: "Aws", *, gateway: bool = True, public: bool = True, zones: tuple[str, ...] = ("a", "b")) -> ExistingNetwork:
    vpc = aws.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = []
    for number, zone in enumerate(zones):
        made = aws.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")
        subnets.append(made["Subnet"]["SubnetId"])
        aws.ec2.modify_subnet_attribute(SubnetId=subnets[-1], MapPublicIpOnLaunch={"Value": public})
    if gateway:
        identity = aws.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        aws.ec2.attach_internet_gateway(InternetGatewayId=identity, VpcId=vpc)
        main = aws.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"][0]["RouteTableId"]
        aws.ec2.create_route(RouteTableId=main, DestinationCidrBlock="0.0.0.0/0", GatewayId=identity)
    return ExistingNetwork(aws=aws, vpc_id=vpc, subnet_ids=tuple(subnets))


def test_a_good_one_by_its_main_route_table(lab_aws: "Aws") -> None:
    found = network(lab_aws)
    assert found.read() == {}
    assert zones_of(lab_aws, found.subnet_ids) == {"us-east-1a": found.subnet_ids[0], "us-east-1b": found.subnet_ids[1]}


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"gateway": False}, "no route to the internet", "aws ec2 describe-route-tables"),
        ({"public": False}, "gives no public addresses", "aws ec2 modify-subnet-attribute --subnet-id subnet-"),
        ({"zones": ("a", "a")}, "are both in us-east-1a", "llmlab bootstrap --vpc-id vpc-"),
    ],
)
def test_bad_ones(lab_aws: "Aws", options: dict[str, bool], message: str, hint: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        network(lab_aws, **options).read()  # type: ignore[arg-type]
    assert caught.value.hint.startswith(hint)


def test_a_vpc_or_subnet_that_is_not_there(lab_aws: "Aws") -> None:
    good = network(lab_aws)
    for vpc, subnets in (("vpc-00000000", good.subnet_ids), (good.vpc_id, ("subnet-00000000",))):
        with pytest.raises(Refused, match="does not exist"):
            ExistingNetwork(aws=lab_aws, vpc_id=vpc, subnet_ids=subnets).read()


def test_a_subnet_of_another_vpc(lab_aws: "Aws") -> None:
    one, other = network(lab_aws), network(lab_aws)
    with pytest.raises(Refused, match=f"is in {other.vpc_id}, not in {one.vpc_id}"):
        ExistingNetwork(aws=lab_aws, vpc_id=one.vpc_id, subnet_ids=other.subnet_ids).read()
