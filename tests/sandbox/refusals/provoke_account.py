"""Rows of an account as a whole, provoked."""

import io
import json
import zipfile
from typing import Any

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from tests.sandbox.refusals.provocations import once, provokes
from tests.sandbox.refusals.provoke_ec2 import SPOT, fleet, launch
from tests.sandbox.refusals.provoke_services import make_function, make_schedule, role

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


@provokes("spot-tags-refused-as-a-combination")
def _(aws: Aws, clock: ManualClock) -> None:
    tags: Any = [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "Project", "Value": "p"}]}]
    launch(aws, TagSpecifications=tags)


@provokes("image-of-35-gib")
def _(aws: Aws, clock: ManualClock) -> bool:
    return aws.ec2.describe_images(Owners=["amazon"])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 35


@provokes("image-does-not-list-g7")
def _(aws: Aws, clock: ManualClock) -> bool:
    return "G7" not in aws.ec2.describe_images(Owners=["amazon"])["Images"][0]["Description"]


@provokes("client-token-answered-without-instances")
def _(aws: Aws, clock: ManualClock) -> bool:
    first = fleet(aws, "spot", token="t")
    again = fleet(aws, "spot", token="t")
    return (first["FleetId"], len(first["Instances"]), again["Instances"]) == (again["FleetId"], 1, [])


@provokes("p6-spot-quota-of-its-own")
def _(aws: Aws, clock: ManualClock) -> bool:
    return any("P6" in one["QuotaName"] for one in aws.client("service-quotas").list_service_quotas(ServiceCode="ec2")["Quotas"])


@provokes("runtime-with-an-older-boto3")
def _(aws: Aws, clock: ManualClock) -> bool:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("h.py", "import boto3\n\n\ndef h(event, context):\n    return boto3.__version__\n")
    make_function(aws, role(aws), Code={"ZipFile": code.getvalue()})
    return json.loads(aws.client("lambda").invoke(FunctionName="f")["Payload"].read()) == "1.34.145"


@provokes("simulation-does-not-know-the-service")
def _(aws: Aws, clock: ManualClock) -> None:
    for action in ("ec2:RunInstances", "budgets:ModifyBudget"):
        aws.client("iam").simulate_principal_policy(PolicySourceArn=f"arn:aws:iam::{aws.account}:role/r", ActionNames=[action])


@provokes("no-instance-arn-in-a-resource")
def _(aws: Aws, clock: ManualClock) -> bool:
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/${ec2:SourceInstanceARN}/*"}
    result = aws.client("iam").simulate_custom_policy(
        PolicyInputList=[json.dumps({"Version": "2012-10-17", "Statement": [statement]})],
        ActionNames=["s3:PutObject"],
        ResourceArns=["arn:aws:s3:::b/own/x"],
        ContextEntries=[{"ContextKeyName": "ec2:SourceInstanceARN", "ContextKeyValues": ["own"], "ContextKeyType": "string"}],
    )
    return result["EvaluationResults"][0]["EvalDecision"] == "implicitDeny"
