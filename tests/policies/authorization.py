"""What IAM is asked for each call: the actions, the resource of each, and what it is told of the circumstances.

Which kinds of resource an action is judged on is AWS's own list (`evaluator.kinds`). Ours is only what that list does not say: the few
operations whose action has another name, and which parameter names a resource.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.policies.evaluator import Kind, Request, kinds
from tests.policies.recording import Call

REGION, ACCOUNT = "us-east-1", "123456789012"
ANY = "anything"
"""The name of a resource where a call is about all of them: only a policy that is not bound to names lets it pass."""
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

NAMED: dict[str, dict[str, tuple[str, ...]]] = {
    "budgets": {"budget": ("BudgetName",)},
    "ecr": {"repository": ("repositoryName", "repositoryNames")},
    "events": {"rule-on-default-event-bus": ("Name", "Rule")},
    "iam": {"role": ("RoleName",), "instance-profile": ("InstanceProfileName",), "oidc-provider": ("Url",), "policy": ()},
    "lambda": {"function": ("FunctionName",)},
    "logs": {"log-group": ("logGroupName",), "log-stream": ("logGroupName", "logStreamName")},
    "cloudwatch": {"alarm": ("AlarmNames", "AlarmName"), "dashboard": ("DashboardNames", "DashboardName")},
    "s3": {"bucket": ("Bucket",), "object": ("Bucket", "Key")},
    "scheduler": {"schedule": ("GroupName", "Name"), "schedule-group": ("Name",)},
    "secretsmanager": {"Secret": ("SecretId", "Name")},
    "sns": {"topic": ("Name",)},
    "servicequotas": {"quota": ("ServiceCode", "QuotaCode")},
    "ssm": {"parameter": ("Name",), "document": ("DocumentName",)},
}
"""Service → kind of resource → the parameters that name one: each an alternative, except where the ARN has a place for each."""
EC2_PREFIXES = {
    "vpc": "vpc", "subnet": "subnet", "igw": "internet-gateway", "rtb": "route-table", "vpce": "vpc-endpoint", "sg": "security-group",
    "sgr": "security-group-rule", "i": "instance", "lt": "launch-template", "vol": "volume", "eni": "network-interface", "ami": "image",
    "snap": "snapshot", "sir": "spot-instances-request", "fleet": "fleet",
}  # fmt: skip
LINKED = {"AWSServiceRoleForEC2Spot": "spot.amazonaws.com"}
"""Role that AWS makes for a service → the service."""
MADE_BY_A_FLEET = ("instance", "volume", "network-interface", "spot-instances-request")


@dataclass
class World:
    """What IAM knows beside the request: what exists in the account, and with which tags."""

    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """Identity or ARN → tags."""
    templates: dict[str, str] = field(default_factory=dict)
    """Launch template by name → its identity."""
    associations: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Association → route table and subnet."""
    template: dict[str, Any] = field(default_factory=dict)
    """The form that made the launch template."""
    boundaries: dict[str, str] = field(default_factory=dict)
    """Role → its permissions boundary."""


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
        yield from _ec2(call, action, world)
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
    context: dict[str, Any] = {**_asked(tags), **_circumstances(call, world)}
    yield from judged(action, values, context)
    if tags and (tagging := TAGGING.get(action)):
        yield from judged(tagging, values, context)
    yield from _passed(call)


def judged(action: str, values: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Request]:
    """An action on each resource that the parameters name; on one of any name where they name none; on `*` where there are no kinds."""
    known = kinds(action)
    if not known:
        yield Request(action, "*", context)
        return
    service = action.partition(":")[0]
    named = [Request(action, arn, context) for kind in known for arn in _arns(service, kind, values)]
    if not named:
        wanted = [kind for kind in known if kind.required] or known[:1]
        named = [Request(action, fill(kind.arn, [ANY] * kind.arn.count("${")), context) for kind in wanted]
    yield from named


def fill(arn: str, names: Sequence[str]) -> str:
    """An ARN of AWS's list with our region and account, and these names in its other places."""
    left = iter(names)
    known = {"Partition": "aws", "Region": REGION, "Account": ACCOUNT}
    return re.sub(r"\$\{(\w+)\}", lambda place: known.get(place[1]) or next(left), arn)


def _places(arn: str) -> int:
    return len(re.findall(r"\$\{(?!Partition|Region|Account)", arn))


def _arns(service: str, kind: Kind, values: Mapping[str, Any]) -> Iterator[str]:
    flat = {name[0].lower() + name[1:]: value for name, value in _members(values)}
    pattern = re.compile(fill(re.escape(kind.arn).replace(r"\$\{", "${").replace(r"\}", "}"), ["[^:]+"] * _places(kind.arn)))
    given = [one for _, value in _members(values) for one in (value if isinstance(value, list) else [value])]
    yield from dict.fromkeys(one for one in given if isinstance(one, str) and pattern.fullmatch(one))
    parameters = NAMED.get(service, {}).get(kind.name, ())
    found = [flat[name[0].lower() + name[1:]] for name in parameters if name[0].lower() + name[1:] in flat]
    if _places(kind.arn) > 1:
        if len(found) == _places(kind.arn):
            yield fill(kind.arn, found)
        return
    for value in found:
        for one in value if isinstance(value, list) else [value]:
            if not one.startswith("arn:"):
                # what AWS itself publishes belongs to no account
                arn = kind.arn.replace("${Account}", "") if one.startswith(("/aws/service/", "AWS-")) else kind.arn
                yield fill(arn, [_spelled(service, one)])


def _spelled(service: str, name: str) -> str:
    """A name as its ARN has it: a secret's ends in six characters of AWS's choice, a linked role's has its path, a provider's no scheme."""
    if service == "secretsmanager":
        return f"{name}-AbCdEf"
    if name in LINKED:
        return f"aws-service-role/{LINKED[name]}/{name}"
    return name.removeprefix("https://").removeprefix("/") if service in {"iam", "ssm"} else name


def _members(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parameters, and those one level down (a budget's name is inside the budget)."""
    for name, value in values.items():
        yield name, value
        if isinstance(value, dict):
            yield from value.items()


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


def _asked(tags: Mapping[str, str]) -> dict[str, Any]:
    return {**{f"aws:RequestTag/{key}": value for key, value in tags.items()}, **({"aws:TagKeys": list(tags)} if tags else {})}


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
    yield Request("ssm:StartSession", fill_ec2("instance", values["Target"]), tags)
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


# ---------------------------------------------------------------- EC2


def _ec2(call: Call, action: str, world: World) -> Iterator[Request]:
    if call.operation == "CreateFleet":
        yield from _fleet(call, world)
        return
    if call.operation.startswith(("Describe", "Get")):
        yield Request(action, "*")
        return
    asked = specifications(call.values, "TagSpecification")
    arns = {kind: {fill_ec2(kind, "*"): _asked(tags)} for kind, tags in asked.items()}
    for identity in _identities(call, world):
        kind = EC2_PREFIXES[identity.partition("-")[0]]
        arns.setdefault(kind, {})[fill_ec2(kind, identity)] = _owned(world, identity)
    known = {kind.name: kind.required for kind in kinds(action)}
    for kind in sorted(arns.keys() & known.keys()):
        for arn, context in arns[kind].items():
            yield Request(action, arn, context)
    lacking = [kind for kind, required in known.items() if required and kind not in arns]
    if lacking:
        raise ValueError(f"{call} names no {', '.join(lacking)}: {dict(call.values)}")
    for kind in asked:
        yield from tagging_at_birth(kind, asked[kind], call.operation)


def fill_ec2(kind: str, identity: str) -> str:
    account = "" if kind in {"image", "snapshot"} else ACCOUNT
    return f"arn:aws:ec2:{REGION}:{account}:{kind}/{identity}"


def tagging_at_birth(kind: str, tags: Mapping[str, str], operation: str) -> Iterator[Request]:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html"""
    yield Request("ec2:CreateTags", fill_ec2(kind, "*"), {**_asked(tags), "ec2:CreateAction": operation})


def _identities(call: Call, world: World) -> Iterator[str]:
    for name, value in call.values.items():
        if name == "LaunchTemplateName":
            if call.operation != "CreateLaunchTemplate" and value in world.templates:
                yield world.templates[value]
        elif value in world.associations:
            table, subnet = world.associations[value]
            yield subnet
            if call.operation != "ReplaceRouteTableAssociation":  # which names the table itself
                yield table
        elif (
            not name.startswith("LaunchTemplateData")
            and (found := re.fullmatch(r"([a-z]+)-[0-9a-f]{8,}", value))
            and found[1] in EC2_PREFIXES
        ):
            yield value


def _owned(world: World, identity: str) -> dict[str, Any]:
    return {f"aws:ResourceTag/{key}": value for key, value in world.tags.get(identity, {}).items()}


def specifications(form: Mapping[str, Any], name: str) -> dict[str, dict[str, str]]:
    """Kind of resource → the tags it is asked to be made with."""
    found: dict[str, dict[str, str]] = {}
    for key, kind in form.items():
        if place := re.fullmatch(rf"({re.escape(name)}\.\d+)\.ResourceType", key):
            numbers = [one[1] for one in (re.fullmatch(rf"{re.escape(place[1])}\.Tag\.(\d+)\.Key", other) for other in form) if one]
            found[kind] = {form[f"{place[1]}.Tag.{number}.Key"]: form.get(f"{place[1]}.Tag.{number}.Value", "") for number in numbers}
    return found


def _fleet(call: Call, world: World) -> Iterator[Request]:
    """The fleet starts what the template says, with the caller's permissions.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-prerequisites.html#ec2-fleet-iam-users
    """
    form = world.template
    asked, of_template = specifications(call.values, "TagSpecification"), specifications(form, "LaunchTemplateData.TagSpecification")
    tags = {kind: {**of_template.get(kind, {}), **asked.get(kind, {})} for kind in (*MADE_BY_A_FLEET, "fleet")}
    arns = {fill_ec2(kind, "*"): _asked(tags[kind]) for kind in tags}
    template = world.templates[call.all(r".*LaunchTemplateSpecification\.LaunchTemplateName")[0]]
    for identity in (template, *call.all(r".*\.SubnetId"), *(value for key, value in form.items() if ".SecurityGroupId." in key)):
        arns[fill_ec2(EC2_PREFIXES[identity.partition("-")[0]], identity)] = _owned(world, identity)
    arns |= {fill_ec2("image", "ami-0abcdef1234567890"): {}, fill_ec2("snapshot", "snap-0abcdef1234567890"): {}}
    if key := form.get("LaunchTemplateData.KeyName"):
        arns[fill_ec2("key-pair", key)] = {}
    for action in ("ec2:CreateFleet", "ec2:RunInstances"):
        known = {kind.name for kind in kinds(action)}
        for arn, context in arns.items():
            if arn.split(":")[5].partition("/")[0] in known:
                yield Request(action, arn, context)
    for kind in MADE_BY_A_FLEET:
        yield from tagging_at_birth(kind, tags[kind], "RunInstances")
    yield from tagging_at_birth("fleet", tags["fleet"], "CreateFleet")
    profile = form["LaunchTemplateData.IamInstanceProfile.Name"]
    yield Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{profile}", {"iam:PassedToService": "ec2.amazonaws.com"})
    image = form["LaunchTemplateData.ImageId"]
    if image.startswith("resolve:ssm:"):
        # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/create-launch-template.html#use-an-ssm-parameter-instead-of-an-ami-id
        yield from judged("ssm:GetParameters", {"Name": image.removeprefix("resolve:ssm:")}, {})


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
