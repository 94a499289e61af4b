"""Rows of an account as a whole, provoked."""

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from tests.sandbox.refusals.provocations import once, provokes
from tests.sandbox.refusals.provoke_ec2 import SPOT, fleet, launch
from tests.sandbox.refusals.provoke_services import make_schedule, role

FAR = "af-south-1"


@provokes("region-not-enabled-ec2")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.ec2.describe_vpcs()
    aws.session.client("ec2", region_name=FAR).describe_vpcs()


@provokes("region-not-enabled-query")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.session.client("sns", region_name=FAR).list_topics()


@provokes("region-not-enabled-json")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.session.client("ecr", region_name=FAR).describe_repositories()


@provokes("denied-by-the-organization-ec2")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.ec2.create_vpc(CidrBlock="10.1.0.0/16")


@provokes("denied-by-the-organization")
def _(aws: Aws, clock: ManualClock) -> None:
    role(aws)


@provokes("denied-by-a-boundary")
def _(aws: Aws, clock: ManualClock) -> None:
    role(aws)


@provokes("service-not-signed-up-for")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws)


@provokes("account-being-verified")
def _(aws: Aws, clock: ManualClock) -> None:
    (error,) = fleet(aws, "spot")["Errors"]
    assert error["ErrorCode"] == "PendingVerification"
    launch(aws)


@provokes("account-blocked")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws)


@provokes("free-plan")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws, InstanceType="t3.micro")
    launch(aws)


@provokes("spot-role-unseen")
def _(aws: Aws, clock: ManualClock) -> None:
    launch(aws)
    aws.client("iam").create_service_linked_role(AWSServiceName="spot.amazonaws.com")
    clock.sleep(61)
    launch(aws, InstanceMarketOptions=SPOT)
    clock.sleep(-30)
    launch(aws, InstanceMarketOptions=SPOT)


@provokes("parameter-out-of-its-model")
def _(aws: Aws, clock: ManualClock) -> None:
    arn = role(aws)
    make_schedule(aws, arn, Description="d" * 512)
    once(aws, "scheduler").update_schedule(
        Name="s",
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "SOMETIMES"},
        Target={"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f", "RoleArn": arn},
    )


@provokes("parameter-out-of-its-model-query")
def _(aws: Aws, clock: ManualClock) -> None:
    role(aws, "a name with spaces")
