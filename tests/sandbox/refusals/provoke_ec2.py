"""Rows of EC2, provoked."""

from typing import Any

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.sandbox import market
from llmlab.sandbox.completion_delays import DELAY
from tests.sandbox.refusals.provocations import once, provokes

REGION = "us-east-1"
SPOT: Any = {"MarketType": "spot"}


def image(aws: Aws) -> str:
    return aws.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]


def launch(aws: Aws, **more: Any) -> str:
    """Start an instance; its id."""
    asked: Any = {"ImageId": image(aws), "InstanceType": "g6.xlarge", "MinCount": 1, "MaxCount": 1, **more}
    return str(once(aws, "ec2").run_instances(**{key: value for key, value in asked.items() if value})["Instances"][0]["InstanceId"])


def fleet(aws: Aws, market_type: str, **data: Any) -> Any:
    """The answer to a fleet of one instance, of a template with these data."""
    aws.ec2.create_launch_template(LaunchTemplateName="run", LaunchTemplateData={"ImageId": image(aws), **data})
    return aws.ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "run", "Version": "$Latest"},
                "Overrides": [{"InstanceType": "g6.xlarge"}],
            }
        ],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": market_type},  # type: ignore[typeddict-item]
    )


def profile(aws: Aws) -> Any:
    iam = aws.client("iam")
    iam.create_instance_profile(InstanceProfileName="new")
    return {"Name": "new"}


@provokes("spot-tags-without-a-spot-request")
def _(aws: Aws, clock: ManualClock) -> None:
    tags: Any = [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "Project", "Value": "p"}]}]
    assert fleet(aws, "spot", TagSpecifications=tags)["Errors"] == []
    aws.ec2.delete_launch_template(LaunchTemplateName="run")
    (error,) = fleet(aws, "on-demand", TagSpecifications=tags)["Errors"]
    assert (error["ErrorCode"], error["Lifecycle"]) == ("InvalidParameterValue", "on-demand")
    assert "You cannot specify tags for Spot instances requests" in error["ErrorMessage"]
    launch(aws, TagSpecifications=tags)


@provokes("user-data-too-long")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, UserData="x" * 16384)
    launch(aws, UserData="x" * 16385)


@provokes("no-image")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, ImageId="")


@provokes("spot-stops-at-shutdown")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, InstanceInitiatedShutdownBehavior="stop")
    launch(aws, InstanceInitiatedShutdownBehavior="stop", InstanceMarketOptions=SPOT)


@provokes("spot-valid-until")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, InstanceMarketOptions={**SPOT, "SpotOptions": {"ValidUntil": clock.now()}})


@provokes("unknown-instance-type")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, InstanceType="p3.2xlarge")


@provokes("disk-smaller-than-its-snapshot")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 65}}])
    launch(aws, BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 64}}])


@provokes("profile-unknown")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, IamInstanceProfile={"Name": "nobody's"})


@provokes("profile-without-a-role")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, IamInstanceProfile=profile(aws))


@provokes("client-token-with-other-parameters")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, ClientToken="t")
    launch(aws, ClientToken="t", InstanceType="g5.xlarge")


@provokes("launch-template-unknown")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.ec2.delete_launch_template(LaunchTemplateName="nobody's")


@provokes("type-not-in-zone")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, Placement={"AvailabilityZone": "us-east-1e"})


@provokes("spot-quota")
def _(aws: Aws, clock: ManualClock) -> None:
    market.set_quota(REGION, "L-3819A6DF", 4)
    launch(aws, InstanceMarketOptions=SPOT)
    launch(aws, InstanceMarketOptions=SPOT)


@provokes("on-demand-quota")
def _(aws: Aws, clock: ManualClock) -> None:
    market.set_quota(REGION, "L-DB2E81BA", 4)
    launch(aws)
    launch(aws)


@provokes("no-capacity")
def _(aws: Aws, clock: ManualClock) -> None:
    market.refuse(REGION)
    launch(aws)


@provokes("unfulfillable-capacity")
def _(aws: Aws, clock: ManualClock) -> None:
    market.refuse(REGION, code="UnfulfillableCapacity")
    launch(aws)


@provokes("spot-price-too-low")
def _(aws: Aws, clock: ManualClock) -> None:
    market.refuse(REGION, market=market.SPOT, code="SpotMaxPriceTooLow")
    launch(aws, InstanceMarketOptions=SPOT)


@provokes("launches-asked-for-too-often")
def _(aws: Aws, clock: ManualClock) -> None:
    market.refuse(REGION, code="RequestLimitExceeded")
    launch(aws)


@provokes("route-to-the-service-exists")
def _(aws: Aws, clock: ManualClock) -> None:
    table = aws.ec2.describe_route_tables()["RouteTables"][0]
    for _ in range(2):
        aws.ec2.create_vpc_endpoint(VpcId=table["VpcId"], ServiceName=f"com.amazonaws.{REGION}.s3", RouteTableIds=[table["RouteTableId"]])


@provokes("instance-not-seen-yet")
def _(aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 5
    new = launch(aws)
    aws.ec2.describe_instances(InstanceIds=[new])
