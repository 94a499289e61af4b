"""IAM roles: who may assume one, and what it may do. The policies themselves are in `policies.py`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_boundary import SERVICES, boundary_arn
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties, Resource

POLICY = "llmlab"
"""Name of the one inline policy. Any other policy is drift: what a role may do is what its lab needs, and a plan says so."""


@dataclass(frozen=True, kw_only=True)
class Role(AwsResource):
    """The role of one program of the lab, with one policy in it and none of anybody else's.

    `after` holds what must exist first (an identity provider).
    """

    kind = "role"
    role_name: str
    trust: Mapping[str, Any]
    policy: Mapping[str, Any]
    boundary: str | None = None
    after: tuple[Resource, ...] = ()

    @property
    def name(self) -> str:
        return self.role_name

    @property
    def arn(self) -> str:
        return self.names.role_arn(self.name)

    @property
    def client(self) -> Any:
        return self.aws.client("iam")

    def desired(self) -> Properties:
        return {
            "trust": self.trust,
            "policy": self.policy,
            "other policies": [],
            "session hours": 1,
            "permissions boundary": self.boundary,
        }

    def read(self) -> Properties | None:
        try:
            role = self._get()
        except NotFound:
            return None
        return {
            "trust": role["AssumeRolePolicyDocument"],
            "policy": self._policy(),
            "other policies": [*self._attached(), *self._others()],
            "session hours": role.get("MaxSessionDuration", 3600) / 3600,
            "permissions boundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
        }

    def _get(self) -> Mapping[str, Any]:
        role: Mapping[str, Any] = self.client.get_role(RoleName=self.name)["Role"]
        return role

    def _policy(self) -> Any:
        try:
            return self.client.get_role_policy(RoleName=self.name, PolicyName=POLICY)["PolicyDocument"]
        except NotFound:
            return None

    def _attached(self) -> list[str]:
        """ARNs of managed policies."""
        return sorted(
            attached["PolicyArn"] for attached in every(self.client, "list_attached_role_policies", "AttachedPolicies", RoleName=self.name)
        )

    def _others(self) -> list[str]:
        """Names of inline policies that are not ours."""
        return sorted(name for name in every(self.client, "list_role_policies", "PolicyNames", RoleName=self.name) if name != POLICY)

    def tags(self) -> Mapping[str, str]:
        return from_list(self._get().get("Tags", []))

    def create(self) -> None:
        boundary = {"PermissionsBoundary": self.boundary} if self.boundary else {}
        self.client.create_role(
            RoleName=self.name,
            AssumeRolePolicyDocument=dumps(self.trust),
            Description=f"llmlab lab {self.names.lab}",
            Tags=to_list(self.names.tags),
            **boundary,
        )

    def update(self, differs: Properties) -> None:
        """The boundary first: who may write only the policies of bound roles may write this one then."""
        if "permissions boundary" in differs:
            if self.boundary:
                self.client.put_role_permissions_boundary(RoleName=self.name, PermissionsBoundary=self.boundary)
            else:
                self.client.delete_role_permissions_boundary(RoleName=self.name)
        if "trust" in differs:
            self.client.update_assume_role_policy(RoleName=self.name, PolicyDocument=dumps(self.trust))
        if "policy" in differs:
            self.client.put_role_policy(RoleName=self.name, PolicyName=POLICY, PolicyDocument=dumps(self.policy))
        if "other policies" in differs:
            self._clear()
        if "session hours" in differs:
            self.client.update_role(RoleName=self.name, MaxSessionDuration=3600)

    def delete(self) -> None:
        """Delete the role with whatever policies it has: IAM deletes no role that has some."""
        self._clear()
        with suppress(NotFound):
            self.client.delete_role_policy(RoleName=self.name, PolicyName=POLICY)
        self.client.delete_role(RoleName=self.name)

    def _clear(self) -> None:
        """Take off every policy but ours. One that somebody manages stays in the account."""
        for policy in self._others():
            self.client.delete_role_policy(RoleName=self.name, PolicyName=policy)
        for arn in self._attached():
            self.client.detach_role_policy(RoleName=self.name, PolicyArn=arn)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client = aws.client("iam")
        for role in every(client, "list_roles", "Roles"):
            if role["RoleName"].startswith(f"{aws.names.prefix}-"):
                yield from if_ours(aws, cls.kind, role["RoleName"], every(client, "list_role_tags", "Tags", RoleName=role["RoleName"]))

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """Roles of the lab, none of them more than the boundary."""
        roles = names.role_arn(f"{names.prefix}-*")
        keep = actions(
            "iam",
            "DeleteRole",
            "DeleteRolePolicy",
            "DetachRolePolicy",
            "GetRole",
            "GetRolePolicy",
            "ListAttachedRolePolicies",
            "ListRolePolicies",
            "ListRoleTags",
            "TagRole",
            "UpdateAssumeRolePolicy",
            "UpdateRole",
        )
        return [
            allow_anywhere("List", "iam:ListRoles"),
            allow(
                "MakeBoundRoles",
                actions("iam", "CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary"),
                roles,
                StringEquals={"iam:PermissionsBoundary": boundary_arn(names)},
            ),
            allow("KeepRoles", keep, roles),
            allow("PassRoles", "iam:PassRole", roles, StringEquals={"iam:PassedToService": SERVICES}),
        ]


def dumps(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
