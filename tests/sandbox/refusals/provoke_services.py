"""Rows of the services but EC2, provoked."""

from typing import Any

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.sandbox.completion_delays import DELAY
from tests.sandbox.refusals.provocations import provokes


def role(aws: Aws, name: str = "new") -> str:
    return aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]


def make_function(aws: Aws, arn: str) -> None:
    aws.client("lambda").create_function(FunctionName="f", Role=arn, Runtime="python3.12", Handler="h.h", Code={"ZipFile": b"zip"})


def make_schedule(aws: Aws, arn: str, expression: str = "rate(1 hour)", **more: Any) -> None:
    target: Any = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f", "RoleArn": arn}
    aws.client("scheduler").create_schedule(
        Name="s", ScheduleExpression=expression, FlexibleTimeWindow={"Mode": "OFF"}, Target=target, **more
    )


@provokes("role-not-in-the-profile")
def _(aws: Aws, clock: ManualClock) -> None:
    iam = aws.client("iam")
    iam.create_instance_profile(InstanceProfileName="p")
    iam.remove_role_from_instance_profile(InstanceProfileName="p", RoleName="r")


@provokes("service-linked-role-exists")
def _(aws: Aws, clock: ManualClock) -> None:
    for _ in range(2):
        aws.client("iam").create_service_linked_role(AWSServiceName="spot.amazonaws.com")


@provokes("function-role-not-assumable-yet")
def _(aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 30
    make_function(aws, role(aws))


@provokes("scheduler-role-not-assumable-yet")
def _(aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 30
    make_schedule(aws, role(aws))


@provokes("schedule-group-exists")
def _(aws: Aws, clock: ManualClock) -> None:
    for _ in range(2):
        aws.client("scheduler").create_schedule_group(Name="g")


@provokes("schedule-group-missing")
def _(aws: Aws, clock: ManualClock) -> None:
    make_schedule(aws, role(aws), GroupName="g")


@provokes("schedule-expression-unreadable")
def _(aws: Aws, clock: ManualClock) -> None:
    make_schedule(aws, role(aws), "every hour")


@provokes("unsubscribed-by-a-click")
def _(aws: Aws, clock: ManualClock) -> bool:
    sns = aws.client("sns")
    topic = sns.create_topic(Name="t")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="me@example.org")
    return [one["SubscriptionArn"] for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]] == ["Deleted"]


@provokes("unsubscribe-without-an-arn")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.client("sns").unsubscribe(SubscriptionArn="Deleted")


@provokes("keys-that-xml-has-not")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket="bucket")
    aws.s3.put_object(Bucket="bucket", Key="\x1b")
    aws.s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "\x1b"}]})


@provokes("more-than-a-thousand-deletions")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket="bucket")
    aws.s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": str(number)} for number in range(1001)]})
