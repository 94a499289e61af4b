"""The instance profile, in which EC2 takes a role."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.role import Role
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties


@dataclass(frozen=True, kw_only=True)
class InstanceProfile(AwsResource):
    """The profile that carries the instance role into an instance."""

    kind = "instance profile"
    role: Role

    @property
    def name(self) -> str:
        return self.role.name

    @property
    def client(self) -> Any:
        return self.aws.client("iam")

    def desired(self) -> Properties:
        return {"role": self.role.name}

    def read(self) -> Properties | None:
        try:
            profile = self._get()
        except NotFound:
            return None
        return {"role": ", ".join(role["RoleName"] for role in profile["Roles"]) or None}

    def _get(self) -> Mapping[str, Any]:
        profile: Mapping[str, Any] = self.client.get_instance_profile(InstanceProfileName=self.name)["InstanceProfile"]
        return profile

    def tags(self) -> Mapping[str, str]:
        return from_list(self._get().get("Tags", []))

    def create(self) -> None:
        self.client.create_instance_profile(InstanceProfileName=self.name, Tags=to_list(self.names.tags))

    def update(self, differs: Properties) -> None:
        if "role" not in differs:
            return
        self._clear()
        self.client.add_role_to_instance_profile(InstanceProfileName=self.name, RoleName=self.role.name)
        self.wait(lambda: self.read() == self.desired(), "IAM showing the role in its instance profile", seconds=60)

    def _clear(self) -> None:
        for role in self._get()["Roles"]:
            self.client.remove_role_from_instance_profile(InstanceProfileName=self.name, RoleName=role["RoleName"])

    def delete(self) -> None:
        self._clear()
        self.client.delete_instance_profile(InstanceProfileName=self.name)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client = aws.client("iam")
        for profile in every(client, "list_instance_profiles", "InstanceProfiles"):
            name = profile["InstanceProfileName"]
            if name.startswith(f"{aws.names.prefix}-"):
                described = client.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
                yield from if_ours(aws, cls.kind, name, described.get("Tags", []))

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        profiles = f"arn:aws:iam::{names.account}:instance-profile/{names.prefix}-*"
        keep = actions(
            "iam",
            "AddRoleToInstanceProfile",
            "CreateInstanceProfile",
            "DeleteInstanceProfile",
            "GetInstanceProfile",
            "RemoveRoleFromInstanceProfile",
            "TagInstanceProfile",
        )
        return [allow_anywhere("List", "iam:ListInstanceProfiles"), allow("KeepProfile", keep, profiles)]
