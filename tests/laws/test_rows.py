"""Every row of what a lab owns, read back from AWS with bare boto3: what the declarations say about themselves is not asked here."""

import base64
import json
import urllib.parse
from typing import Any

import boto3
import pytest

from llmlab.aws import instance_types
from llmlab.aws.user_data import unpacked
from llmlab.contract import PROJECT, LogStream
from tests.laws.conftest import Lab

REGION = "us-east-1"
OURS = {("Project", PROJECT), ("Lab", PROJECT)}


@pytest.fixture
def made(lab: Lab) -> Lab:
    lab.apply()
    return lab


def client(service: str) -> Any:
    """A client that knows nothing of ours."""
    make: Any = boto3.client  # noqa: TID251 - the point of this file
    return make(service, region_name=REGION)


def owned(tags: Any) -> bool:
    """Whether both tags are there, in whichever of AWS's spellings."""
    if isinstance(tags, dict):
        return set(tags.items()) >= OURS
    return {(tag.get("Key", tag.get("key")), tag.get("Value", tag.get("value"))) for tag in tags} >= OURS


def mine(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if owned(row.get("Tags", []))]


def test_network(made: Lab) -> None:
    ec2 = client("ec2")
    (vpc,) = mine(ec2.describe_vpcs()["Vpcs"])
    assert vpc["CidrBlock"] == "10.1.0.0/16"
    for attribute in ("enableDnsSupport", "enableDnsHostnames"):
        answer = ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute=attribute)
        assert answer[attribute[0].upper() + attribute[1:]]["Value"]
    wanted = [one.name for one in instance_types.usable(made.aws)]
    assert {"g4dn.xlarge", "g6.xlarge", "p5.48xlarge"} < set(wanted), "no type is named, so every usable one counts"
    offered = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": wanted}])
    subnets = mine(ec2.describe_subnets()["Subnets"])
    assert len(subnets) >= 2
    assert {one["AvailabilityZone"] for one in subnets} == {one["Location"] for one in offered["InstanceTypeOfferings"]}
    assert min(subnets, key=lambda one: one["AvailabilityZone"])["CidrBlock"] == "10.1.1.0/24"
    assert all(one["MapPublicIpOnLaunch"] for one in subnets)
    (gateway,) = mine(ec2.describe_internet_gateways()["InternetGateways"])
    assert [one["VpcId"] for one in gateway["Attachments"]] == [vpc["VpcId"]]
    (table,) = mine(ec2.describe_route_tables()["RouteTables"])
    assert any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0" and route.get("GatewayId") == gateway["InternetGatewayId"]
        for route in table["Routes"]
    )
    associated = {one.get("SubnetId") for one in table["Associations"]} - {None}
    assert associated == {one["SubnetId"] for one in subnets}
    (endpoint,) = mine(ec2.describe_vpc_endpoints()["VpcEndpoints"])
    assert (endpoint["VpcEndpointType"], endpoint["ServiceName"]) == ("Gateway", f"com.amazonaws.{REGION}.s3")
    assert endpoint["RouteTableIds"] == [table["RouteTableId"]]
    (group,) = mine(ec2.describe_security_groups()["SecurityGroups"])
    ports = [(rule["FromPort"], rule["ToPort"], [one["CidrIp"] for one in rule["IpRanges"]]) for rule in group["IpPermissions"]]
    assert ports == [(22, 22, ["192.0.2.0/24"])]  # asked for in these settings; nothing otherwise


def test_no_inbound_rule_unless_asked_for(lab: Lab) -> None:
    lab.settings = lab.settings.model_copy(update={"ssh_cidr": None})
    lab.apply()
    (group,) = mine(client("ec2").describe_security_groups()["SecurityGroups"])
    assert group["IpPermissions"] == []


@pytest.mark.parametrize(("kind", "moves"), [("data", [(90, "GLACIER")]), ("outputs", [(30, "INTELLIGENT_TIERING"), (180, "GLACIER")])])
def test_buckets(made: Lab, kind: str, moves: list[tuple[int, str]]) -> None:
    s3 = client("s3")
    bucket = f"{PROJECT}-{kind}-{made.aws.account}-{REGION}"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    (ownership,) = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert ownership["ObjectOwnership"] == "BucketOwnerEnforced"
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    assert any(
        one["Effect"] == "Deny" and one["Condition"]["Bool"]["aws:SecureTransport"] in {"false", False} for one in policy["Statement"]
    )
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert sorted((move["Days"], move["StorageClass"]) for one in rules for move in one.get("Transitions", [])) == moves
    assert any("NoncurrentVersionExpiration" in one for one in rules)
    assert any("AbortIncompleteMultipartUpload" in one for one in rules)
    assert owned(s3.get_bucket_tagging(Bucket=bucket)["TagSet"])


@pytest.mark.usefixtures("made")
def test_registry() -> None:
    ecr = client("ecr")
    (repository,) = ecr.describe_repositories(repositoryNames=["llm-tuning-lab-training"])["repositories"]
    assert repository["imageScanningConfiguration"]["scanOnPush"]
    assert repository["encryptionConfiguration"]["encryptionType"] == "AES256"
    assert owned(ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"])
    policy = json.loads(ecr.get_lifecycle_policy(repositoryName="llm-tuning-lab-training")["lifecyclePolicyText"])
    assert {one["selection"]["tagStatus"]: one["selection"]["countNumber"] for one in policy["rules"]} == {"untagged": 3, "tagged": 10}


def test_identity(made: Lab) -> None:
    iam = client("iam")
    prefix = f"{PROJECT}-{REGION}"
    provider = f"arn:aws:iam::{made.aws.account}:oidc-provider/token.actions.githubusercontent.com"
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=provider)["ClientIDList"] == ["sts.amazonaws.com"]
    assert owned(iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=provider)["Tags"])
    trusted = {"instance": "ec2", "watchdog": "lambda", "scheduler": "scheduler"}
    for name, service in trusted.items():
        role = iam.get_role(RoleName=f"{prefix}-{name}")["Role"]
        assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert owned(iam.list_role_tags(RoleName=f"{prefix}-{name}")["Tags"])
    push = iam.get_role(RoleName=f"{prefix}-github-push")["Role"]
    (statement,) = push["AssumeRolePolicyDocument"]["Statement"]
    assert push["MaxSessionDuration"] == 3600
    assert statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"] == [
        "repo:me/repo:ref:refs/heads/main",
        "repo:me@1/repo@2:ref:refs/heads/main",
    ]
    profile = iam.get_instance_profile(InstanceProfileName=f"{prefix}-instance")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == [f"{prefix}-instance"]
    assert iam.get_role(RoleName="AWSServiceRoleForEC2Spot")["Role"]


def test_launch_template(made: Lab) -> None:
    ec2 = client("ec2")
    (template,) = mine(ec2.describe_launch_templates()["LaunchTemplates"])
    (version,) = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"], Versions=["$Latest"])[
        "LaunchTemplateVersions"
    ]
    data = version["LaunchTemplateData"]
    assert data["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/")
    options = {key: data["MetadataOptions"][key] for key in ("HttpTokens", "HttpPutResponseHopLimit", "InstanceMetadataTags")}
    assert options == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"}
    (disk,) = data["BlockDeviceMappings"]
    assert {key: disk["Ebs"][key] for key in ("VolumeSize", "VolumeType", "Throughput", "Encrypted", "DeleteOnTermination")} == {
        "VolumeSize": 200,
        "VolumeType": "gp3",
        "Throughput": 500,
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    script = unpacked(base64.b64decode(data["UserData"]))
    assert script.startswith("#!/bin/bash")
    assert made.aws.account in script
    assert data["IamInstanceProfile"]["Name"] == f"{PROJECT}-{REGION}-instance"


def test_watching(made: Lab) -> None:
    logs, cloudwatch, sns, budgets = client("logs"), client("cloudwatch"), client("sns"), client("budgets")
    groups = {one["logGroupName"]: one["retentionInDays"] for one in logs.describe_log_groups()["logGroups"]}
    assert groups == {made.aws.names.log_group(stream): 30 for stream in LogStream}
    (topic,) = sns.list_topics()["Topics"]
    assert topic["TopicArn"].endswith(":llm-tuning-lab-alerts")
    assert owned(sns.list_tags_for_resource(ResourceArn=topic["TopicArn"])["Tags"])
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic["TopicArn"])["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "me@example.org")
    alarms = {one["MetricName"]: one for one in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert set(alarms) == {"RunAgeMinutes", "FailedRuns", "Errors", "Invocations"}
    assert all(one["AlarmActions"] == [topic["TopicArn"]] for one in alarms.values())
    (dashboard,) = cloudwatch.list_dashboards()["DashboardEntries"]
    body = cloudwatch.get_dashboard(DashboardName=dashboard["DashboardName"])["DashboardBody"].lower()
    assert all(word in body for word in ("gpu", "loss", "cost"))
    (budget,) = budgets.describe_budgets(AccountId=made.aws.account)["Budgets"]
    assert (budget["TimeUnit"], float(budget["BudgetLimit"]["Amount"])) == ("MONTHLY", 50.0)
    assert "user:Project$llm-tuning-lab" in json.dumps(budget, default=str)
    notes = budgets.describe_notifications_for_budget(AccountId=made.aws.account, BudgetName=budget["BudgetName"])["Notifications"]
    assert sorted(one["Threshold"] for one in notes) == [80, 100]


def test_watchdog(made: Lab) -> None:
    functions, events, scheduler = client("lambda"), client("events"), client("scheduler")
    function = functions.get_function(FunctionName="llm-tuning-lab-watchdog")
    assert (function["Configuration"]["Runtime"], function["Configuration"]["Timeout"]) == ("python3.12", 300)
    assert owned(function["Tags"])
    arn = function["Configuration"]["FunctionArn"]
    rules = {rule["Name"]: rule for rule in events.list_rules()["Rules"]}
    kinds = {json.loads(rule["EventPattern"])["detail-type"][0] for rule in rules.values() if "EventPattern" in rule}
    assert kinds == {"EC2 Spot Instance Interruption Warning", "EC2 Instance State-change Notification"}
    assert {rule["ScheduleExpression"] for rule in rules.values() if "EventPattern" not in rule} == {"rate(1 hour)", "rate(1 minute)"}
    for name in rules:
        assert [target["Arn"] for target in events.list_targets_by_rule(Rule=name)["Targets"]] == [arn]
    statements = json.loads(functions.get_policy(FunctionName="llm-tuning-lab-watchdog")["Policy"])["Statement"]
    sources = {urllib.parse.unquote(one["Condition"]["ArnLike"]["AWS:SourceArn"]).rpartition("/")[2] for one in statements}
    assert sources == set(rules)
    assert owned(scheduler.list_tags_for_resource(ResourceArn=scheduler.get_schedule_group(Name=PROJECT)["Arn"])["Tags"])
    assert scheduler.list_schedules()["Schedules"] == [], "deadlines alone are schedules: the guards share no service"
    assert made.plan().empty
