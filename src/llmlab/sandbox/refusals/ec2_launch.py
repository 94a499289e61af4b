"""EC2: refusals of launch parameters, by RunInstances and by each launch of a fleet."""

import base64
import re
from collections.abc import Mapping

from llmlab.sandbox.completion_delays import profile_roleless, profile_unknown
from llmlab.sandbox.refusals.rule import Call, On, Rule, Until

USER_DATA_LIMIT = 16 * 1024
LAUNCH = ("ec2:RunInstances", "ec2:CreateFleet")
METADATA_KEY = re.compile(r"(?!(\.|\.\.|_index)$)[0-9a-zA-Z\-_+=,.@:]{1,255}")
API = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/"
GUIDE = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/"


def _spot_tags(call: Call) -> bool:
    kinds = {item["ResourceType"] for item in call.values.get("TagSpecifications", []) if item.get("Tags")}
    return not call.spot and "spot-instances-request" in kinds


def _user_data_too_long(call: Call) -> bool:
    return len(base64.b64decode(call.values.get("UserData") or "")) > USER_DATA_LIMIT


def _unknown_type(call: Call) -> Mapping[str, object] | bool:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    kind = call.values.get("InstanceType", "m1.small")
    return kind not in INSTANCE_TYPES and {"kind": kind}


def _small_disk(call: Call) -> Mapping[str, object] | bool:
    image = call.backend("ec2").amis.get(call.values.get("ImageId"))
    if image is None:
        return False
    needed = {mapping["DeviceName"]: mapping["Ebs"]["VolumeSize"] for mapping in image.block_device_mappings}
    for mapping in call.values.get("BlockDeviceMappings", []):
        size = int(mapping.get("Ebs", {}).get("VolumeSize") or 10**6)
        least = needed.get(mapping["DeviceName"], 0)
        if size < least:
            return {"size": size, "snapshot": image.ebs_snapshot.id, "least": least}
    return False


def _several_interfaces(call: Call) -> bool:
    interfaces = call.values.get("NetworkInterfaces", [])
    return len(interfaces) > 1 and any(interface.get("AssociatePublicIpAddress") for interface in interfaces)


def _groups_twice(call: Call) -> bool:
    return bool(call.values.get("NetworkInterfaces")) and bool(call.values.get("SecurityGroupIds"))


def _metadata_tag(call: Call) -> Mapping[str, object] | bool:
    if call.values.get("MetadataOptions", {}).get("InstanceMetadataTags") != "enabled":
        return False
    tags = [tag for item in call.values.get("TagSpecifications", []) if item["ResourceType"] == "instance" for tag in item.get("Tags", [])]
    wrong = [tag["Key"] for tag in tags if not tag["Key"].startswith("aws:") and not METADATA_KEY.fullmatch(tag["Key"])]
    return bool(wrong) and {"key": wrong[0]}


def _long_token(call: Call) -> bool:
    return len(str(call.values.get("ClientToken") or "")) > 64


def _forget_newest(call: Call) -> bool:
    for image in call.backend("ec2").amis.values():
        image.description = str(image.description).replace("G7, G7e, ", "")
    return True


ROWS = (
    Rule(
        name="client-token-too-long",
        operations=LAUNCH,
        when="the client token has more than 64 characters",
        code="InvalidParameterValue",
        message="Length of client token exceeds 64 characters",
        source="https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html",
        applies=_long_token,
    ),
    Rule(
        name="public-address-with-several-interfaces",
        operations=LAUNCH,
        when="a public address is asked for, and there is more than one network interface",
        code="InvalidParameterCombination",
        message="The associatePublicIPAddress parameter cannot be specified when launching with multiple network interfaces.",
        source=f"{API}API_InstanceNetworkInterfaceSpecification.html",
        applies=_several_interfaces,
        each_launch=True,
    ),
    Rule(
        name="groups-beside-an-interface",
        operations=LAUNCH,
        when="security groups stand beside network interfaces",
        code="InvalidParameterCombination",
        message="Network interfaces and an instance-level security groups may not be specified on the same request",
        source=f"{API}API_RunInstances.html",
        applies=_groups_twice,
        each_launch=True,
    ),
    Rule(
        name="tag-that-metadata-cannot-show",
        operations=LAUNCH,
        when="tags are shown in the instance metadata, and a key holds a space or a slash",
        code="InvalidParameterValue",
        message="'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and must not be a reserved "
        "name ('.', '..', '_index')",
        source=f"{GUIDE}work-with-tags-in-IMDS.html",
        applies=_metadata_tag,
        each_launch=True,
    ),
    Rule(
        name="spot-tags-refused-as-a-combination",
        operations=LAUNCH,
        when="spot-instances-request is tagged without a spot request; which of two codes AWS gives is not certain",
        code="InvalidParameterCombination",
        message="You cannot specify tags for Spot instances requests if there are no Spot instances requests being created by the request.",
        source="https://github.com/github-aws-runners/terraform-aws-github-runner/issues/4561",
        applies=_spot_tags,
        each_launch=True,
        on=On.NAMED,
    ),
    Rule(
        name="spot-tags-without-a-spot-request",
        operations=LAUNCH,
        when="the request or its template tags spot-instances-request and the launch makes no spot request",
        code="InvalidParameterValue",
        message="You cannot specify tags for Spot instances requests if there are no Spot instances requests being created by the request.",
        source="https://github.com/aws/karpenter-provider-aws/issues/5850",
        applies=_spot_tags,
        each_launch=True,
    ),
    Rule(
        name="user-data-too-long",
        operations=LAUNCH,
        when="the user data are longer than 16 KiB before they are encoded",
        code="InvalidParameterValue",
        message=f"User data is limited to {USER_DATA_LIMIT} bytes",
        source=f"{GUIDE}instancedata-add-user-data.html",
        applies=_user_data_too_long,
        each_launch=True,
    ),
    Rule(
        name="no-image",
        operations=LAUNCH,
        when="neither the request nor its template names an image",
        code="MissingParameter",
        message="The request must contain the parameter ImageId",
        source=f"{API}errors-overview.html",
        applies=lambda call: not call.values.get("ImageId"),
        each_launch=True,
    ),
    Rule(
        name="spot-stops-at-shutdown",
        operations=LAUNCH,
        when="a one-time spot request has the shutdown behaviour stop",
        code="InvalidParameterCombination",
        message="The attribute instanceInitiatedShutdownBehavior stop is not supported for one-time Spot Instances.",
        source="https://github.com/ansible/ansible/pull/63246",
        applies=lambda call: call.spot and call.values.get("InstanceInitiatedShutdownBehavior") == "stop",
        each_launch=True,
    ),
    Rule(
        name="spot-valid-until",
        operations=LAUNCH,
        when="a one-time spot request has a ValidUntil",
        code="InvalidParameterValue",
        message="ValidUntil is not supported for one-time Spot Instances.",
        source="https://github.com/aws/aws-cli/issues/4679",
        applies=lambda call: call.spot and bool(call.values["InstanceMarketOptions"].get("SpotOptions", {}).get("ValidUntil")),
        each_launch=True,
    ),
    Rule(
        name="unknown-instance-type",
        operations=LAUNCH,
        when="there is no instance type of this name, or no more",
        code="InvalidParameterValue",
        message="Invalid value '{kind}' for InstanceType.",
        source=f"{API}errors-overview.html",
        applies=_unknown_type,
        each_launch=True,
    ),
    Rule(
        name="disk-smaller-than-its-snapshot",
        operations=LAUNCH,
        when="the root volume asked for is smaller than the image's snapshot",
        code="InvalidBlockDeviceMapping",
        message="Volume of size {size}GB is smaller than  snapshot '{snapshot}', expect size >= {least}GB",
        source="https://github.com/aws/karpenter-provider-aws/issues/3302",
        applies=_small_disk,
        each_launch=True,
    ),
    Rule(
        name="image-of-35-gib",
        operations=("ec2:DescribeImages", *LAUNCH),
        when="the Deep Learning image is asked for its snapshot; its size stands in no document",
        code="",
        message="the snapshot has 35 GiB, and not 65",
        source="https://docs.aws.amazon.com/dlami/latest/devguide/launch.html",
        on=On.NAMED,
    ),
    Rule(
        name="image-does-not-list-g7",
        operations=("ec2:DescribeImages",),
        when="the Deep Learning image is asked which instances it supports; its newest description is not known",
        code="",
        message="the Description names neither G7 nor G7e",
        source="https://docs.aws.amazon.com/dlami/latest/devguide/important-changes.html",
        applies=_forget_newest,
        on=On.NAMED,
    ),
    Rule(
        name="profile-unknown",
        operations=LAUNCH,
        when="IAM has no such instance profile, or EC2 does not see it yet",
        code="InvalidParameterValue",
        message="Value ({profile}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        source="https://github.com/hashicorp/terraform/issues/15341",
        applies=lambda call: profile_unknown(call.account, call.values.get("IamInstanceProfile", {})),
        until=Until.WAITING,
        each_launch=True,
    ),
    Rule(
        name="profile-without-a-role",
        operations=LAUNCH,
        when="the instance profile holds no role, or EC2 does not see it yet",
        code="InvalidParameterValue",
        message='IAM Instance Profile "{profile}" has no associated IAM Roles',
        source="https://github.com/hashicorp/packer/issues/9516",
        applies=lambda call: profile_roleless(call.account, call.values.get("IamInstanceProfile", {})),
        until=Until.WAITING,
        each_launch=True,
    ),
    Rule(
        name="client-token-with-other-parameters",
        operations=(*LAUNCH, "scheduler:CreateSchedule", "scheduler:CreateScheduleGroup"),
        when="a client token comes again with other parameters",
        code="IdempotentParameterMismatch",
        message="Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        source="https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html",
    ),
)
