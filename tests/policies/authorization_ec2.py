"""What IAM is asked for a call of EC2, which judges by tags: those asked for, those that are there, and those of the launch template."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.policies.evaluator import Request, kinds
from tests.policies.recording import Call
from tests.policies.resources import ACCOUNT, REGION, World, asked as asking, judged

EC2_PREFIXES = {
    "vpc": "vpc", "subnet": "subnet", "igw": "internet-gateway", "rtb": "route-table", "vpce": "vpc-endpoint", "sg": "security-group",
    "sgr": "security-group-rule", "i": "instance", "lt": "launch-template", "vol": "volume", "eni": "network-interface", "ami": "image",
    "snap": "snapshot", "sir": "spot-instances-request", "fleet": "fleet",
}  # fmt: skip
MADE_BY_A_FLEET = ("instance", "volume", "network-interface", "spot-instances-request")


def requests(call: Call, action: str, world: World) -> Iterator[Request]:
    """Everything IAM must allow for one call of EC2. Raises ValueError where it names no resource of a kind that it must name."""
    if call.operation == "CreateFleet":
        yield from _fleet(call, world)
        return
    if call.operation.startswith(("Describe", "Get")):
        yield Request(action, "*")
        return
    asked = _specifications(call.values, "TagSpecification")
    arns = {kind: {arn_of(kind, "*"): asking(tags)} for kind, tags in asked.items()}
    for identity in _identities(call, world):
        kind = EC2_PREFIXES[identity.partition("-")[0]]
        arns.setdefault(kind, {})[arn_of(kind, identity)] = _owned(world, identity)
    known = {kind.name: kind.required for kind in kinds(action)}
    for kind in sorted(arns.keys() & known.keys()):
        for arn, context in arns[kind].items():
            yield Request(action, arn, context)
    lacking = [kind for kind, required in known.items() if required and kind not in arns]
    if lacking:
        raise ValueError(f"{call} names no {', '.join(lacking)}: {dict(call.values)}")
    for kind in asked:
        yield from _tagging_at_birth(kind, asked[kind], call.operation)


def arn_of(kind: str, identity: str) -> str:
    account = "" if kind in {"image", "snapshot"} else ACCOUNT
    return f"arn:aws:ec2:{REGION}:{account}:{kind}/{identity}"


def _tagging_at_birth(kind: str, tags: Mapping[str, str], operation: str) -> Iterator[Request]:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html"""
    yield Request("ec2:CreateTags", arn_of(kind, "*"), {**asking(tags), "ec2:CreateAction": operation})


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


def _specifications(form: Mapping[str, Any], name: str) -> dict[str, dict[str, str]]:
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
    asked, of_template = _specifications(call.values, "TagSpecification"), _specifications(form, "LaunchTemplateData.TagSpecification")
    tags = {kind: {**of_template.get(kind, {}), **asked.get(kind, {})} for kind in (*MADE_BY_A_FLEET, "fleet")}
    arns = {arn_of(kind, "*"): asking(tags[kind]) for kind in tags}
    template = world.templates[call.all(r".*LaunchTemplateSpecification\.LaunchTemplateName")[0]]
    for identity in (template, *call.all(r".*\.SubnetId"), *(value for key, value in form.items() if ".SecurityGroupId." in key)):
        arns[arn_of(EC2_PREFIXES[identity.partition("-")[0]], identity)] = _owned(world, identity)
    arns |= {arn_of("image", "ami-0abcdef1234567890"): {}, arn_of("snapshot", "snap-0abcdef1234567890"): {}}
    if key := form.get("LaunchTemplateData.KeyName"):
        arns[arn_of("key-pair", key)] = {}
    for action in ("ec2:CreateFleet", "ec2:RunInstances"):
        known = {kind.name for kind in kinds(action)}
        for arn, context in arns.items():
            if arn.split(":")[5].partition("/")[0] in known:
                yield Request(action, arn, context)
    for kind in (one for one in MADE_BY_A_FLEET if tags[one]):
        yield from _tagging_at_birth(kind, tags[kind], "RunInstances")
    yield from _tagging_at_birth("fleet", tags["fleet"], "CreateFleet")
    profile = form["LaunchTemplateData.IamInstanceProfile.Name"]
    yield Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{profile}", {"iam:PassedToService": "ec2.amazonaws.com"})
    image = form["LaunchTemplateData.ImageId"]
    if image.startswith("resolve:ssm:"):
        # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/create-launch-template.html#use-an-ssm-parameter-instead-of-an-ami-id
        yield from judged("ssm:GetParameters", {"Name": image.removeprefix("resolve:ssm:")}, {})
