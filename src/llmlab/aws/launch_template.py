"""The launch template of every instance of the lab. A run adds only its tags, its type and its zone."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llmlab.aws import instance_overhead
from llmlab.aws.instance_profile import InstanceProfile
from llmlab.aws.owned import AwsResource, Leftover, from_list, tagged, to_list
from llmlab.aws.policies_documents import Policy, change, make, see
from llmlab.aws.rates import Uses
from llmlab.aws.security_group import SecurityGroup
from llmlab.aws.session import Aws, NotFound
from llmlab.aws.user_data import packed, unpacked
from llmlab.contract import Names, Tag
from llmlab.infra.resource import Properties

ROOT_DEVICE = "/dev/sda1"
"""The root device of the Ubuntu Deep Learning AMIs."""
TAGGED = ("instance", "volume", "network-interface")
"""The kinds that every launch creates, and that the template tags. Not spot requests: EC2 refuses a launch on demand from a template that
tags them, and a tag for them in CreateFleet does not help:
https://github.com/github-aws-runners/terraform-aws-github-runner/issues/4561 and its pull request 4585."""


@dataclass(frozen=True, kw_only=True)
class LaunchTemplate(AwsResource):
    """What each instance has: IMDSv2, hop limit 1 (no credentials in containers), an encrypted disk of its own, power-off terminates.

    A new version is written only when its content differs, and made the default.
    """

    kind = "launch template"
    profile: InstanceProfile
    security_group: SecurityGroup
    image: str
    """An AMI id, or `resolve:ssm:` and a parameter, which EC2 looks up at each launch."""
    disk_gib: int
    disk_mb_per_second: int
    user_data: str = field(repr=False)
    ssh_key: str | None = None

    @property
    def name(self) -> str:
        return self.names.launch_template

    def desired(self) -> Properties:
        return {
            "image": self.image,
            "instance profile": self.profile.name,
            "security group": self.security_group.name,
            "metadata": "IMDSv2 only, 1 hop, with tags",
            "disk": f"{self.disk_gib} GiB gp3, {self.disk_mb_per_second} MB/s, encrypted, deleted with the instance",
            "shutdown": "terminate",
            "ssh key": self.ssh_key,
            "tags": {kind: {**self.names.tags, Tag.NAME.value: self.name} for kind in TAGGED},
            "user data": _digest(self.user_data),
        }

    def read(self) -> Properties | None:
        try:
            answer = self.aws.ec2.describe_launch_template_versions(LaunchTemplateName=self.name, Versions=["$Default"])
        except NotFound:
            return None
        data: Mapping[str, Any] = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        groups = data.get("SecurityGroupIds", [])
        return {
            "image": data.get("ImageId"),
            "instance profile": data.get("IamInstanceProfile", {}).get("Name"),
            "security group": self.security_group.name if groups == [self.security_group.id()] else ", ".join(groups) or None,
            "metadata": _metadata_in_words(data.get("MetadataOptions", {})),
            "disk": _disk_in_words(data.get("BlockDeviceMappings", [])),
            "shutdown": data.get("InstanceInitiatedShutdownBehavior"),
            "ssh key": data.get("KeyName"),
            "tags": {
                specification["ResourceType"]: from_list(specification["Tags"]) for specification in data.get("TagSpecifications", [])
            },
            "user data": _digest(unpacked(base64.b64decode(data.get("UserData", "")))),
        }

    def tags(self) -> Mapping[str, str]:
        return from_list(self.aws.ec2.describe_launch_templates(LaunchTemplateNames=[self.name])["LaunchTemplates"][0].get("Tags", []))

    def _data(self) -> Any:
        key = {"KeyName": self.ssh_key} if self.ssh_key else {}
        tags = to_list({**self.names.tags, Tag.NAME: self.name})
        disk = {
            "VolumeSize": self.disk_gib, "VolumeType": "gp3", "Throughput": self.disk_mb_per_second, "Encrypted": True,
            "DeleteOnTermination": True,
        }  # fmt: skip
        return {
            "ImageId": self.image,
            "IamInstanceProfile": {"Name": self.profile.name},
            "SecurityGroupIds": [self.security_group.need_id()],
            "MetadataOptions": {
                "HttpEndpoint": "enabled",
                "HttpTokens": "required",
                "HttpPutResponseHopLimit": 1,
                "InstanceMetadataTags": "enabled",
            },
            "BlockDeviceMappings": [{"DeviceName": ROOT_DEVICE, "Ebs": disk}],
            "InstanceInitiatedShutdownBehavior": "terminate",
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in TAGGED],
            "UserData": base64.b64encode(packed(self.user_data)).decode(),
            **key,
        }

    def create(self) -> None:
        specification: Any = [{"ResourceType": "launch-template", "Tags": to_list(self.names.tags)}]
        self.aws.ec2.create_launch_template(LaunchTemplateName=self.name, LaunchTemplateData=self._data(), TagSpecifications=specification)

    def update(self, differs: Properties) -> None:
        """Write a new version, whole whatever differs, and make it the default."""
        data = self._data()
        version = self.aws.ec2.create_launch_template_version(
            LaunchTemplateName=self.name, LaunchTemplateData=data, VersionDescription=_digest(json.dumps(data, sort_keys=True))
        )["LaunchTemplateVersion"]["VersionNumber"]
        self.aws.ec2.modify_launch_template(LaunchTemplateName=self.name, DefaultVersion=str(version))

    def delete(self) -> None:
        self.aws.ec2.delete_launch_template(LaunchTemplateName=self.name)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return tagged(aws, "launch template", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId")

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [
            see("DescribeLaunchTemplateVersions", "DescribeLaunchTemplates"),
            *make(names, "CreateLaunchTemplate", "launch-template"),
            change(names, "CreateLaunchTemplateVersion", "DeleteLaunchTemplate", "ModifyLaunchTemplate"),
        ]


def _digest(text: str) -> str:
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _metadata_in_words(options: Mapping[str, Any]) -> str:
    version = "IMDSv2 only" if options.get("HttpTokens") == "required" else "IMDSv1 too"
    hops = options.get("HttpPutResponseHopLimit", "?")
    tags = "with tags" if options.get("InstanceMetadataTags") == "enabled" else "without tags"
    return f"{version}, {hops} hop{'' if hops == 1 else 's'}, {tags}"


def _disk_in_words(mappings: list[Mapping[str, Any]]) -> str | None:
    for mapping in mappings:
        if mapping.get("DeviceName") == ROOT_DEVICE:
            disk = mapping.get("Ebs", {})
            encrypted = "encrypted" if disk.get("Encrypted") else "not encrypted"
            end = "deleted with the instance" if disk.get("DeleteOnTermination") else "kept after the instance"
            speed = disk.get("Throughput", instance_overhead.FREE_MB_PER_SECOND)
            return f"{disk.get('VolumeSize')} GiB {disk.get('VolumeType')}, {speed} MB/s, {encrypted}, {end}"
    return None
