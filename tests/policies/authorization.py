"""What IAM is asked for each call: the actions, the resource of each, and what it is told of the circumstances.

Which kinds of resource an action is judged on is AWS's own list (`evaluator.kinds`). Ours is only what that list does not say: the few
operations whose action has another name, and which parameter names a resource.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.policies import authorization_ec2
from tests.policies.evaluator import Request
from tests.policies.recording import Call
from tests.policies.resources import LINKED, REGION, World, asked, fill, judged

FREE = {"sts:GetCallerIdentity"}
"""Needs no permission: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html"""
PREFIXES = {"monitoring": "cloudwatch"}

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
S3 = {
    "HeadObject": "GetObject", "HeadBucket": "ListBucket", "ListObjectsV2": "ListBucket", "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads", "ListParts": "ListMultipartUploadParts", "ListBuckets": "ListAllMyBuckets",
    "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject", "CompleteMultipartUpload": "PutObject",
    "GetBucketEncryption": "GetEncryptionConfiguration", "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration", "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock", "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketIntelligentTieringConfiguration": "GetIntelligentTieringConfiguration",
}  # fmt: skip
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbudgetservice.html
BUDGETS = {
    "DescribeBudget": "ViewBudget", "DescribeBudgets": "ViewBudget", "DescribeNotificationsForBudget": "ViewBudget",
    "DescribeSubscribersForNotification": "ViewBudget", "CreateBudget": "ModifyBudget", "UpdateBudget": "ModifyBudget",
    "DeleteBudget": "ModifyBudget", "CreateNotification": "ModifyBudget", "DeleteNotification": "ModifyBudget",
    "CreateSubscriber": "ModifyBudget", "DeleteSubscriber": "ModifyBudget",
}  # fmt: skip
OTHER_NAMES = {"s3": S3, "budgets": BUDGETS}
TAGGING = {
    "iam:CreateRole": "iam:TagRole", "iam:CreateInstanceProfile": "iam:TagInstanceProfile",
    "iam:CreateOpenIDConnectProvider": "iam:TagOpenIDConnectProvider",
    **{
        action: f"{action.partition(':')[0]}:TagResource"
        for action in (
            "ecr:CreateRepository", "events:PutRule", "lambda:CreateFunction", "logs:CreateLogGroup", "cloudwatch:PutMetricAlarm",
            "sns:CreateTopic", "secretsmanager:CreateSecret", "scheduler:CreateScheduleGroup", "budgets:ModifyBudget",
        )
    },
}  # fmt: skip
"""What else is judged when something is made with tags."""


def requests(call: Call, world: World) -> Iterator[Request]:
    """Everything IAM must allow for one call to go through.

    Raises:
        ValueError: the call is about a kind of resource that nothing here knows to name.
        KeyError: there is no such action.
    """
    service = PREFIXES.get(call.service, call.service)
    action = f"{service}:{OTHER_NAMES.get(service, {}).get(call.operation, call.operation)}"
    if action in FREE:
        return
    if service == "ec2":
        yield from authorization_ec2.requests(call, action, world)
        return
    if service == "s3":
        yield from _s3(call, action)
        return
    values = dict(call.values)
    if call.operation == "Unsubscribe":
        values["SubscriptionArn"] = values["SubscriptionArn"].rpartition(":")[0]
    if call.operation == "CreateServiceLinkedRole":
        values["RoleName"] = next(role for role, linked in LINKED.items() if linked == values["AWSServiceName"])
    if call.operation == "SimulatePrincipalPolicy":
        values["PolicySourceArn"] = values["PolicySourceArn"].replace(":sts:", ":iam:")  # the sandbox's name for who asks
    if call.operation == "StartSession":
        yield from _session(values, world)
        return
    tags = _tags(call)
    context: dict[str, Any] = {**asked(tags), **_circumstances(call, world)}
    yield from judged(action, values, context)
    if tags and (tagging := TAGGING.get(action)):
        yield from judged(tagging, values, context)
    yield from _passed(call)


# ---------------------------------------------------------------- circumstances


def _tags(call: Call) -> dict[str, str]:
    """The tags a request asks for."""
    for name in ("tags", "Tags", "ResourceTags"):
        found = call.values.get(name)
        if isinstance(found, dict):
            return dict(found)
        if isinstance(found, list):
            return {one.get("Key", one.get("key")): one.get("Value", one.get("value")) for one in found}
    return dict(zip(call.all(r"Tags\.member\.\d+\.Key"), call.all(r"Tags\.member\.\d+\.Value"), strict=True))


def _circumstances(call: Call, world: World) -> dict[str, Any]:
    values = call.values
    if call.service == "iam":
        role = values.get("RoleName", "")
        if bound := values.get("PermissionsBoundary") or world.boundaries.get(role):
            return {"iam:PermissionsBoundary": bound}
        return {"iam:AWSServiceName": values["AWSServiceName"]} if "AWSServiceName" in values else {}
    if call.service == "monitoring" and "Namespace" in values:
        return {"cloudwatch:namespace": values["Namespace"]}
    return {}


def _passed(call: Call) -> Iterator[Request]:
    """A role that is handed to a service. https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html"""
    role, service = {
        "lambda:CreateFunction": (call.values.get("Role"), "lambda.amazonaws.com"),
        "lambda:UpdateFunctionConfiguration": (call.values.get("Role"), "lambda.amazonaws.com"),
        "scheduler:CreateSchedule": (call.values.get("Target", {}).get("RoleArn"), "scheduler.amazonaws.com"),
        "scheduler:UpdateSchedule": (call.values.get("Target", {}).get("RoleArn"), "scheduler.amazonaws.com"),
        "iam:AddRoleToInstanceProfile": (
            fill("arn:${Partition}:iam::${Account}:role/${Role}", [call.values.get("RoleName", "")]),
            "ec2.amazonaws.com",
        ),
    }.get(str(call), (None, ""))
    if role:
        yield Request("iam:PassRole", role, {"iam:PassedToService": service})


def _session(values: Mapping[str, Any], world: World) -> Iterator[Request]:
    """https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-restrict-access-quickstart.html"""
    tags = {f"ssm:resourceTag/{key}": value for key, value in world.tags.get(values["Target"], {}).items()}
    yield Request("ssm:StartSession", authorization_ec2.arn_of("instance", values["Target"]), tags)
    yield Request("ssm:StartSession", f"arn:aws:ssm:{REGION}::document/{values['DocumentName']}")


# ---------------------------------------------------------------- S3


def _s3(call: Call, action: str) -> Iterator[Request]:
    values = call.values
    context: dict[str, Any] = {"aws:SecureTransport": "true"}
    if values.get("prefix"):
        context["s3:prefix"] = values["prefix"]
    if call.operation == "DeleteObjects":
        for key, version in re.findall(r"<Key>([^<]*)</Key>(?:<VersionId>([^<]*)</VersionId>)?", values["body"]):
            yield from judged("s3:DeleteObjectVersion" if version else "s3:DeleteObject", {**values, "Key": key}, context)
        return
    if action in {"s3:GetObject", "s3:DeleteObject"} and "versionId" in values:
        action += "Version"
    yield from judged(action, values, context)
    if source := values.get("x-amz-copy-source"):
        bucket, _, key = source.lstrip("/").partition("/")
        yield from judged("s3:GetObject", {"Bucket": bucket, "Key": key.partition("?")[0]}, context)
    if call.operation == "CreateBucket" and "x-amz-object-ownership" in values:
        yield from judged("s3:PutBucketOwnershipControls", values, context)
    if call.operation == "CreateBucket" and "<Tag>" in values["body"]:
        yield from judged("s3:TagResource", values, context)


# ---------------------------------------------------------------- EventBridge Scheduler's own calls


def of_schedules(calls: Iterable[Call], world: World) -> Iterator[Request]:
    """What the role of each recorded schedule does when its time comes, by its target.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
    """
    for call in calls:
        if str(call) in {"scheduler:CreateSchedule", "scheduler:UpdateSchedule"}:
            target = call.values["Target"]
            if found := re.fullmatch(r"arn:aws:scheduler:::aws-sdk:(\w+):(\w+)", target["Arn"]):
                form = {f"InstanceId.{number}": one for number, one in enumerate(json.loads(target["Input"])["InstanceIds"], 1)}
                yield from requests(Call("", found[1], found[2][0].upper() + found[2][1:], form), world)
            else:
                yield Request("lambda:InvokeFunction", target["Arn"])
