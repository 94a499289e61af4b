"""Rows of EC2, provoked."""

from types import SimpleNamespace
from typing import Any

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.sandbox import market
from llmlab.sandbox.completion_delays import DELAY
from llmlab.sandbox.imds import Metadata
from llmlab.sandbox.refusals.switch import switched
from tests.sandbox.refusals.provocations import once, provokes

REGION = "us-east-1"
SPOT: Any = {"MarketType": "spot"}


def image(aws: Aws) -> str:
    return aws.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]


def launch(aws: Aws, **more: Any) -> str:
    """Start an instance; its id."""
    asked: Any = {"ImageId": image(aws), "InstanceType": "g6.xlarge", "MinCount": 1, "MaxCount": 1, **more}
    return str(once(aws, "ec2").run_instances(**{key: value for key, value in asked.items() if value})["Instances"][0]["InstanceId"])


def fleet(aws: Aws, market_type: str, fleet_tags: str = "fleet", token: str = "", **data: Any) -> Any:
    """The answer to a fleet of one instance, of a template with these data."""
    if not aws.ec2.describe_launch_templates()["LaunchTemplates"]:
        aws.ec2.create_launch_template(LaunchTemplateName="run", LaunchTemplateData={"ImageId": image(aws), **data})
    return aws.ec2.create_fleet(
        Type="instant",
        **({"ClientToken": token} if token else {}),  # type: ignore[arg-type]
        TagSpecifications=[{"ResourceType": fleet_tags, "Tags": [{"Key": "Run", "Value": "r"}]}],  # type: ignore[typeddict-item]
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


@provokes("client-token-too-long")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, ClientToken="t" * 64)
    launch(aws, ClientToken="t" * 65)


@provokes("public-address-with-several-interfaces")
def _(aws: Aws, clock: ManualClock) -> None:
    subnet = aws.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    several: Any = [{"DeviceIndex": number, "SubnetId": subnet, "AssociatePublicIpAddress": True} for number in range(2)]
    launch(aws, NetworkInterfaces=several)


@provokes("groups-beside-an-interface")
def _(aws: Aws, clock: ManualClock) -> None:
    subnet = aws.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    launch(aws, NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnet}], SecurityGroupIds=["sg-1"])


@provokes("tag-that-metadata-cannot-show")
def _(aws: Aws, clock: ManualClock) -> None:
    def tagged(key: str, shown: str) -> None:
        tags: Any = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": "v"}]}]
        launch(aws, TagSpecifications=tags, MetadataOptions={"InstanceMetadataTags": shown})

    tagged("kubernetes.io/cluster", "disabled")
    tagged("Project", "enabled")
    tagged("kubernetes.io/cluster", "enabled")


@provokes("fleet-tags-what-it-cannot")
def _(aws: Aws, clock: ManualClock) -> None:
    fleet(aws, "spot", fleet_tags="spot-instances-request")


@provokes("template-with-plain-user-data")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.ec2.create_launch_template(LaunchTemplateName="run", LaunchTemplateData={"UserData": "#!/bin/bash"})


def ended(aws: Aws) -> tuple[str, str, str]:
    """State, reason's code and sentence of an instance that was launched, when somebody looks."""
    new = launch(aws)
    (one,) = aws.ec2.describe_instances(InstanceIds=[new])["Reservations"][0]["Instances"]
    return one["State"]["Name"], one["StateReason"]["Code"], one["StateReason"]["Message"]


@provokes("reason-of-an-end-before-it-ran")
def _(aws: Aws, clock: ManualClock) -> bool:
    with switched("disk-cannot-be-decrypted"):
        return ended(aws)[0] == "terminated"


@provokes("disk-cannot-be-decrypted")
def _(aws: Aws, clock: ManualClock) -> bool:
    return ended(aws) == ("terminated", "Client.InternalError", "Client.InternalError: Client error on launch")


@provokes("volume-limit")
def _(aws: Aws, clock: ManualClock) -> bool:
    return ended(aws) == ("terminated", "Client.VolumeLimitExceeded", "Client.VolumeLimitExceeded: Volume limit exceeded")


@provokes("internal-error-on-launch")
def _(aws: Aws, clock: ManualClock) -> bool:
    first = ended(aws)
    clock.sleep(31)
    launch(aws)
    return first == ("terminated", "Server.InternalError", "Server.InternalError: Internal error on launch")


@provokes("p5-spot-quota")
def _(aws: Aws, clock: ManualClock) -> None:
    market.set_quota(REGION, "L-7212CCBC", 192)
    zone = next(zone for zone, types in market.offered(REGION).items() if "p5.48xlarge" in types)
    launch(aws, InstanceType="p5.48xlarge", InstanceMarketOptions=SPOT, Placement={"AvailabilityZone": zone})


@provokes("spot-vcpus-freed-late")
def _(aws: Aws, clock: ManualClock) -> None:
    market.set_quota(REGION, "L-3819A6DF", 4)
    aws.ec2.terminate_instances(InstanceIds=[launch(aws, InstanceMarketOptions=SPOT)])
    clock.sleep(301)
    aws.ec2.terminate_instances(InstanceIds=[launch(aws, InstanceMarketOptions=SPOT)])
    clock.sleep(299)
    launch(aws, InstanceMarketOptions=SPOT)


@provokes("quotas-of-a-new-account")
def _(aws: Aws, clock: ManualClock) -> bool:
    quotas: Any = aws.client("service-quotas")
    codes = ("L-DB2E81BA", "L-3819A6DF", "L-417A185B", "L-7212CCBC", "L-C4BD4855")
    return all(quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"] == 0 for code in codes)


@provokes("quota-asked-for-already")
def _(aws: Aws, clock: ManualClock) -> None:
    for _ in range(2):
        once(aws, "service-quotas").request_service_quota_increase(ServiceCode="ec2", QuotaCode="L-DB2E81BA", DesiredValue=96)


class Machines:
    """As much of a machine room as the metadata service asks."""

    def __init__(self, aws: Aws, clock: ManualClock) -> None:
        from moto.ec2.models import ec2_backends

        tags: Any = [{"ResourceType": "instance", "Tags": [{"Key": "Run", "Value": "r"}]}]
        identity = launch(aws, TagSpecifications=tags, MetadataOptions={"InstanceMetadataTags": "enabled"})
        instance = ec2_backends[aws.account][REGION].get_instance(identity)
        instance.launch_time = clock.now().replace(tzinfo=None)
        self.identity, self.clock = identity, clock
        self.machines = {identity: SimpleNamespace(instance=instance, spot_action=None, identity=identity)}
        self.timetable = SimpleNamespace(timestamp=lambda: clock.now().timestamp(), now=clock.now)

    def asked(self, path: str) -> int:
        """The status of an answer."""
        room: Any = self
        metadata = Metadata(room)
        status, token = metadata.answer("PUT", self.identity, "latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": "60"})
        return metadata.answer("GET", self.identity, path, {"x-aws-ec2-metadata-token": str(token)})[0] if status == 200 else status


@provokes("metadata-tags-not-there-yet")
def _(aws: Aws, clock: ManualClock) -> bool:
    machines, tag = Machines(aws, clock), "latest/meta-data/tags/instance/Run"
    early = machines.asked(tag), machines.asked("latest/meta-data/instance-id")
    clock.sleep(4)
    return (*early, machines.asked(tag)) == (404, 200, 200)


@provokes("metadata-not-ready")
def _(aws: Aws, clock: ManualClock) -> bool:
    machines = Machines(aws, clock)
    early = machines.asked("latest/meta-data/instance-id")
    clock.sleep(4)
    return (early, machines.asked("latest/meta-data/instance-id")) == (503, 200)
