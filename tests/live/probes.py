"""Questions that no document answers: each asks the account itself, cleans up, and says in words what came."""

import base64
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmlab.aws.session import AwsError
from llmlab.clock import wait_until
from tests.live.ground import PROBE, Ground

IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
SMALL = "t3.micro"
TAGS = [{"Key": "Project", "Value": PROBE}]
OLDEST_BOTO3 = (1, 35, 2)
"""The first that knows `IfNoneMatch` of PutObject."""


@dataclass(frozen=True)
class Probe:
    """`ask` returns the answer, or raises what AWS said, which is one too. `rules` let the sandbox answer otherwise."""

    name: str
    question: str
    ask: Callable[[Ground], str]
    rules: tuple[str, ...]


def answer(probe: Probe, ground: Ground) -> str:
    """What came, whatever it was."""
    try:
        return probe.ask(ground)
    except AwsError as error:
        return f"{error.code}: {error.response['Error'].get('Message', '')}"


def said(call: Callable[..., Any], **values: Any) -> str:
    """`accepted`, or AWS's code and sentence."""
    try:
        call(**values)
    except AwsError as error:
        return f"{error.code}: {error.response['Error'].get('Message', '')}"
    return "accepted"


def _image(ground: Ground) -> dict[str, Any]:
    identity = ground.aws.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"]
    found: Any = ground.aws.ec2.describe_images(ImageIds=[identity])["Images"][0]
    return dict(found)


def _terminate(ground: Ground, answered: Any) -> None:
    instances = [one for item in answered["Instances"] for one in item.get("InstanceIds", [item.get("InstanceId")]) if one]
    if instances:
        ground.aws.ec2.terminate_instances(InstanceIds=instances)


def spot_tags(ground: Ground) -> str:
    tags: Any = [{"ResourceType": "spot-instances-request", "Tags": TAGS}]
    asked: Any = {"ImageId": _image(ground)["ImageId"], "InstanceType": SMALL, "MinCount": 1, "MaxCount": 1, "TagSpecifications": tags}
    dry = said(ground.aws.ec2.run_instances, **asked, DryRun=True)
    if not dry.startswith("DryRunOperation"):
        return dry
    try:
        answered = ground.aws.ec2.run_instances(**asked)
    except AwsError as error:
        return f"{error.code}: {error.response['Error'].get('Message', '')}; a dry run is let through"
    _terminate(ground, answered)
    return "accepted, by a dry run too"


def snapshot_size(ground: Ground) -> str:
    image = _image(ground)
    sizes = [one["Ebs"]["VolumeSize"] for one in image["BlockDeviceMappings"] if "VolumeSize" in one.get("Ebs", {})]
    return f"{max(sizes)} GiB, root device {image['RootDeviceName']}"


def newest_types(ground: Ground) -> str:
    description = _image(ground).get("Description", "")
    return ", ".join(f"{kind}: {'listed' if kind in description.replace(',', ' ').split() else 'not listed'}" for kind in ("G7", "G7e"))


def client_token(ground: Ground) -> str:
    ec2: Any = ground.aws.ec2
    script = base64.b64encode(b"#!/bin/bash\npoweroff\n").decode()
    data = {
        "ImageId": _image(ground)["ImageId"],
        "InstanceType": SMALL,
        "UserData": script,
        "InstanceInitiatedShutdownBehavior": "terminate",
    }
    specification = [{"ResourceType": "launch-template", "Tags": TAGS}]
    ec2.create_launch_template(LaunchTemplateName=PROBE, LaunchTemplateData=data, TagSpecifications=specification)
    token = f"{PROBE}-{ground.clock.now():%H%M%S%f}"
    asked = {
        "Type": "instant",
        "ClientToken": token,
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": {"LaunchTemplateName": PROBE, "Version": "$Latest"}}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
    }
    answers: list[Any] = []
    try:
        answers.extend(ec2.create_fleet(**asked) for _ in range(2))
        first, again = ([one for item in each["Instances"] for one in item["InstanceIds"]] for each in answers)
        same = "the same instances" if first == again else "other instances" if again else "no instances"
        return f"{same}, {'the same' if answers[0].get('FleetId') == answers[1].get('FleetId') else 'another'} fleet; first {len(first)}"
    finally:
        for each in answers:
            _terminate(ground, each)
        ec2.delete_launch_template(LaunchTemplateName=PROBE)


def p6_quota(ground: Ground) -> str:
    pages = ground.aws.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="ec2")
    names = sorted(f"{one['QuotaName']} ({one['QuotaCode']})" for page in pages for one in page["Quotas"] if _is_p(one["QuotaName"]))
    return "; ".join(names)


def _is_p(name: str) -> bool:
    return "Spot" in name and any(word.strip(",").startswith("P") and word.strip(",")[1:].isdigit() for word in name.split())


def runtime_boto3(ground: Ground) -> str:
    iam, functions = ground.aws.client("iam"), ground.aws.client("lambda")
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName=PROBE, AssumeRolePolicyDocument=trust, Tags=TAGS)["Role"]["Arn"]  # type: ignore[arg-type]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("probe.py", "import boto3\n\n\ndef handler(event, context):\n    return boto3.__version__\n")
    asked: Any = {
        "FunctionName": PROBE,
        "Role": role,
        "Runtime": "python3.12",
        "Handler": "probe.handler",
        "Code": {"ZipFile": code.getvalue()},
    }
    try:
        made = wait_until(lambda: said(functions.create_function, **asked) == "accepted", ground.clock, limit_seconds=120, every_seconds=5)
        if not made:
            return "the function could not be made"
        functions.get_waiter("function_active_v2").wait(FunctionName=PROBE)
        version = json.loads(functions.invoke(FunctionName=PROBE)["Payload"].read())
        enough = tuple(int(part) for part in version.split(".")[:3]) >= OLDEST_BOTO3
        return f"{version}, {'which knows' if enough else 'too old for'} IfNoneMatch"
    finally:
        said(functions.delete_function, FunctionName=PROBE)
        said(ground.aws.client("logs").delete_log_group, logGroupName=f"/aws/lambda/{PROBE}")
        iam.delete_role(RoleName=PROBE)


def group_being_deleted(ground: Ground) -> str:
    scheduler = ground.aws.client("scheduler")
    scheduler.create_schedule_group(Name=PROBE, Tags=TAGS)  # type: ignore[arg-type]
    scheduler.delete_schedule_group(Name=PROBE)
    again = said(scheduler.create_schedule_group, Name=PROBE)
    state = said(lambda: scheduler.get_schedule_group(Name=PROBE))
    gone = wait_until(
        lambda: said(scheduler.get_schedule_group, Name=PROBE).startswith("ResourceNotFound") or again == "accepted",
        ground.clock, limit_seconds=300, every_seconds=5,
    )  # fmt: skip
    if again == "accepted":
        said(scheduler.delete_schedule_group, Name=PROBE)
    return f"made again at once: {again}; read meanwhile: {state}; gone within five minutes: {'yes' if gone else 'no'}"


def budget_without_alerts(ground: Ground) -> str:
    budgets, account = ground.aws.client("budgets", region="us-east-1"), ground.aws.account
    budget: Any = {"BudgetName": PROBE, "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": {"Amount": "1", "Unit": "USD"}}
    budgets.create_budget(AccountId=account, Budget=budget)
    try:
        return f"{budgets.describe_notifications_for_budget(AccountId=account, BudgetName=PROBE).get('Notifications', [])}"
    finally:
        budgets.delete_budget(AccountId=account, BudgetName=PROBE)


def route_table(ground: Ground) -> str:
    ec2: Any = ground.aws.ec2
    vpc = ec2.create_vpc(CidrBlock="10.254.0.0/24", TagSpecifications=[{"ResourceType": "vpc", "Tags": TAGS}])["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    service = f"com.amazonaws.{ground.aws.region}.s3"
    endpoint = ec2.create_vpc_endpoint(VpcId=vpc, VpcEndpointType="Gateway", ServiceName=service, RouteTableIds=[table])
    identity = endpoint["VpcEndpoint"]["VpcEndpointId"]
    ec2.delete_vpc_endpoints(VpcEndpointIds=[identity])
    first = said(ec2.delete_route_table, RouteTableId=table)

    def gone(call: Callable[..., Any], **values: Any) -> bool:
        return wait_until(
            lambda: said(call, **values).startswith(("accepted", "Invalid")), ground.clock, limit_seconds=300, every_seconds=5
        )

    cleaned = gone(ec2.delete_route_table, RouteTableId=table) and gone(ec2.delete_vpc, VpcId=vpc)
    return f"{first}{'' if cleaned else '; the network is left'}"


def simulated_services(ground: Ground) -> str:
    iam = ground.aws.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName=PROBE, AssumeRolePolicyDocument=json.dumps(trust), Tags=TAGS)["Role"]["Arn"]  # type: ignore[arg-type]
    try:
        actions = ("scheduler:CreateSchedule", "budgets:ModifyBudget")
        return "; ".join(f"{one}: {said(iam.simulate_principal_policy, PolicySourceArn=role, ActionNames=[one])}" for one in actions)
    finally:
        iam.delete_role(RoleName=PROBE)


def instance_arn(ground: Ground) -> str:
    """By IAM's simulator: a role whose writes are bound to its instance's own folder."""
    own = f"arn:aws:ec2:{ground.aws.region}:{ground.aws.account}:instance/i-00000000000000000"
    folder = "arn:aws:s3:::bucket/by/"
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{folder}${{ec2:SourceInstanceARN}}/*"}
    entries: Any = [{"ContextKeyName": "ec2:SourceInstanceARN", "ContextKeyValues": [own], "ContextKeyType": "string"}]
    results = ground.aws.client("iam").simulate_custom_policy(
        PolicyInputList=[json.dumps({"Version": "2012-10-17", "Statement": [statement]})],
        ActionNames=["s3:PutObject"],
        ResourceArns=[f"{folder}{own}/x", f"{folder}{own[:-1]}1/x"],
        ContextEntries=entries,
    )["EvaluationResults"]
    decisions = {one.get("EvalResourceName", "").endswith("0/x"): one["EvalDecision"] for one in results}
    return f"its own folder: {decisions.get(True)}, another's: {decisions.get(False)}"


PROBES = (
    Probe("spot tags on demand", "With which code does EC2 refuse tags of spot-instances-request where there is no spot request?",
          spot_tags, ("spot-tags-refused-as-a-combination",)),
    Probe("image size", "How large is the Deep Learning image's snapshot, the least a disk can be?", snapshot_size, ("image-of-35-gib",)),
    Probe("newest types", "Does the Deep Learning image list G7 and G7e?", newest_types, ("image-does-not-list-g7",)),
    Probe("fleet's token", "Does CreateFleet repeat its instances for a client token that it knows?",
          client_token, ("client-token-answered-without-instances",)),
    Probe("P6 spot", "Which spot quotas are there for P instances, and has P6 one of its own?", p6_quota, ("p6-spot-quota-of-its-own",)),
    Probe("runtime's boto3", "Which boto3 has Lambda's python3.12?", runtime_boto3, ("runtime-with-an-older-boto3",)),
    Probe("group being deleted", "What does CreateScheduleGroup answer while the group of this name is deleted?",
          group_being_deleted, ("schedule-group-stays-deleting",)),
    Probe("budget without alerts", "Does DescribeNotificationsForBudget answer [] or NotFound where there is none?",
          budget_without_alerts, ("budget-without-notifications",)),
    Probe("route table", "Can a route table go while its endpoint is deleting?", route_table, ("route-table-waits-for-its-endpoint",)),
    Probe("simulated services", "Does SimulatePrincipalPolicy take names of Scheduler and Budgets?",
          simulated_services, ("simulation-does-not-know-the-service",)),
    Probe("instance's ARN", "Does IAM fill ${ec2:SourceInstanceARN} in where it stands in a Resource?",
          instance_arn, ("no-instance-arn-in-a-resource",)),
)  # fmt: skip
