"""GitHub's identity provider: how a workflow assumes a role without a stored key."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.owned import AwsResource, Leftover, from_list, if_existing, to_list
from llmlab.aws.policies import GITHUB
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties

AUDIENCE = "sts.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class OidcProvider(AwsResource):
    """GitHub's identity provider. An account has one for a URL, so one that exists is used as it is, and deleted only if we made it."""

    kind = "OIDC provider"

    @property
    def name(self) -> str:
        return GITHUB

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.aws.account}:oidc-provider/{GITHUB}"

    def desired(self) -> Properties:
        return {"audience": AUDIENCE}

    def read(self) -> Properties | None:
        try:
            provider = self._get()
        except NotFound:
            return None
        return {"audience": AUDIENCE if AUDIENCE in provider["ClientIDList"] else ", ".join(provider["ClientIDList"])}

    def _get(self) -> Mapping[str, Any]:
        provider: Mapping[str, Any] = self.aws.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=self.arn)
        return provider

    def tags(self) -> Mapping[str, str]:
        return from_list(self._get().get("Tags", []))

    def ours(self) -> bool:
        """Whether we made it, and no role of another lab or of a stranger trusts it by now."""
        return super().ours() and not self._other_users()

    def _other_users(self) -> list[str]:
        pages = self.aws.client("iam").get_paginator("list_roles").paginate()
        roles = [role for page in pages for role in page["Roles"] if role["RoleName"] != self.names.github_role]
        return [role["RoleName"] for role in roles if self.arn in json.dumps(role.get("AssumeRolePolicyDocument", ""))]

    def create(self) -> None:
        """Without a thumbprint: AWS trusts GitHub's certificate authority by itself."""
        self.aws.client("iam").create_open_id_connect_provider(
            Url=f"https://{GITHUB}", ClientIDList=[AUDIENCE], Tags=to_list(self.names.tags)
        )

    def update(self, differs: Properties) -> None:
        if "audience" in differs:
            self.aws.client("iam").add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=self.arn, ClientID=AUDIENCE)

    def delete(self) -> None:
        self.aws.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=self.arn)

    def way_out(self) -> str:
        return f"aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {self.arn} --client-id {AUDIENCE}"

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return if_existing(cls(aws=aws))

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        provider = f"arn:aws:iam::{names.account}:oidc-provider/{GITHUB}"
        keep = actions(
            "iam",
            "AddClientIDToOpenIDConnectProvider",
            "CreateOpenIDConnectProvider",
            "DeleteOpenIDConnectProvider",
            "GetOpenIDConnectProvider",
            "TagOpenIDConnectProvider",
        )
        return [allow_anywhere("List", "iam:ListRoles"), allow("KeepProvider", keep, provider)]
