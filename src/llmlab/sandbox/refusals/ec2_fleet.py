"""EC2: refusals of fleet requests and launch templates."""

import base64
from collections.abc import Mapping
from typing import Any

from llmlab.sandbox.completion import kept
from llmlab.sandbox.refusals.ec2_launch import API
from llmlab.sandbox.refusals.rule import Call, On, Rule


def _unknown_template(call: Call) -> Mapping[str, object] | bool:
    name = call.values.get("LaunchTemplateName")
    return bool(name) and name not in call.backend("ec2").launch_template_name_to_ids and {"name": name}


TAGGABLE = {"fleet", "instance", "volume", "network-interface"}


def _untaggable(call: Call) -> Mapping[str, object] | bool:
    wrong = sorted({item["ResourceType"] for item in call.values.get("TagSpecifications", [])} - TAGGABLE)
    return call.values.get("Type") == "instant" and bool(wrong) and {"kind": wrong[0]}


def _not_encoded(call: Call) -> bool:
    text = call.values.get("LaunchTemplateData", {}).get("UserData")
    try:
        base64.b64decode(str(text or ""), validate=True)
    except ValueError:
        return True
    return False


def _known_token(call: Call) -> bool:
    return (call.values.get("ClientToken"), "fleet") in kept(call.backend("ec2"), "tokens")


def _without_instances(_: Call, result: Any) -> Any:
    return type(result)({**result.result, "Instances": []})


ROWS = (
    Rule(
        name="client-token-answered-without-instances",
        operations=("ec2:CreateFleet",),
        when="an instant fleet is asked for again with its client token; whether AWS repeats its instances is not known",
        code="",
        message="the FleetId comes again, and no Instances",
        source="https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html",
        applies=_known_token,
        alters=_without_instances,
        on=On.NAMED,
    ),
    Rule(
        name="fleet-tags-what-it-cannot",
        operations=("ec2:CreateFleet",),
        when="an instant fleet tags something but fleet, instance, volume and network-interface",
        code="InvalidParameterValue",
        message="'{kind}' is not a valid taggable resource type for this operation.",
        source="https://github.com/github-aws-runners/terraform-aws-github-runner/pull/4585",
        applies=_untaggable,
    ),
    Rule(
        name="template-with-plain-user-data",
        operations=("ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion"),
        when="the template's user data are not in base64: the SDK encodes those of RunInstances alone",
        code="InvalidUserData.Malformed",
        message="Invalid BASE64 encoding of user data.",
        source=f"{API}API_RequestLaunchTemplateData.html",
        applies=_not_encoded,
    ),
    Rule(
        name="launch-template-unknown",
        operations=("ec2:DeleteLaunchTemplate",),
        when="there is no launch template of this name",
        code="InvalidLaunchTemplateName.NotFoundException",
        message="The specified launch template, with template name {name}, does not exist.",
        source=f"{API}errors-overview.html",
        applies=_unknown_template,
    ),
)
