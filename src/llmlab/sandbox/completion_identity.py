"""IAM and SSM: service-linked roles as AWS names them, and the public parameters that name the Deep Learning images."""

import json
from fnmatch import fnmatchcase
from typing import Any

from llmlab.sandbox.completion import answer
from llmlab.sandbox.completion_compute import image_names
from llmlab.sandbox.completion_delays import note
from llmlab.sandbox.refusals.checking import refused
from llmlab.sandbox.refusals.switch import holds

ROLE_NAMES = {"spot.amazonaws.com": "AWSServiceRoleForEC2Spot", "events.amazonaws.com": "AWSServiceRoleForCloudWatchEvents"}
IMAGE_PARAMETERS = "/aws/service/deeplearning/ami/x86_64/"


def install() -> None:
    """Patch moto's IAM and SSM."""
    from moto.iam.responses import IamResponse
    from moto.ssm import models

    create = IamResponse.create_service_linked_role
    answer(IamResponse, "CreateServiceLinkedRole", lambda self, values: _linked_role(self, values, create))
    answer(IamResponse, "SimulatePrincipalPolicy", lambda _self, values: _simulate(values))
    answer(IamResponse, "SimulateCustomPolicy", lambda _self, values: _simulate_custom(values))
    answer(IamResponse, "AddClientIDToOpenIDConnectProvider", lambda self, values: _audience(self, values, add=True))
    answer(IamResponse, "RemoveClientIDFromOpenIDConnectProvider", lambda self, values: _audience(self, values, add=False))
    check = models.ParameterDict._check_loading_status

    def load(self: Any, key: str) -> None:
        check(self, key)
        if str(key or "").startswith("/aws/service/deeplearning") and not getattr(self, "_llmlab_images", False):
            self._llmlab_images = True
            _load_images(self, models)

    models.ParameterDict._check_loading_status = load


def _linked_role(self: Any, values: dict[str, Any], original: Any) -> Any:
    name = ROLE_NAMES.get(values["AWSServiceName"])
    if name is None:
        return original(self)
    backend = self.backend
    if any(role.name == name for role in backend.roles.values()):
        raise refused("service-linked-role-exists", name=name)
    result = original(self)
    for role in backend.roles.values():
        if role.path == f"/aws-service-role/{values['AWSServiceName']}/":
            role.name = name
            note(role)
    return result


def _simulate(values: dict[str, Any]) -> dict[str, Any]:
    """Simulate a principal's policies: everything is allowed, as it is in the sandbox itself."""
    results = [{"EvalActionName": action, "EvalResourceName": "*", "EvalDecision": "allowed"} for action in values["ActionNames"]]
    return {"EvaluationResults": results, "IsTruncated": False}


def _simulate_custom(values: dict[str, Any]) -> dict[str, Any]:
    """Simulate policies by their Allow statements: whether a resource matches one, with the context's keys filled in as variables."""
    context = {item["ContextKeyName"]: item["ContextKeyValues"][0] for item in values.get("ContextEntries", [])}
    context = {} if holds("no-instance-arn-in-a-resource") else context
    patterns = [pattern for text in values["PolicyInputList"] for pattern in _resources(text)]
    for key, value in context.items():
        patterns = [pattern.replace(f"${{{key}}}", value) for pattern in patterns]
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": "allowed" if any(fnmatchcase(resource, pattern) for pattern in patterns) else "implicitDeny",
        }
        for action in values["ActionNames"]
        for resource in values.get("ResourceArns", ["*"])
    ]
    return {"EvaluationResults": results, "IsTruncated": False}


def _resources(policy: str) -> list[str]:
    return [str(statement["Resource"]) for statement in json.loads(policy)["Statement"] if statement["Effect"] == "Allow"]


def _audience(self: Any, values: dict[str, Any], *, add: bool) -> dict[str, Any]:
    """Add or remove an audience of an OpenID Connect provider; doing so twice is no error."""
    provider = self.backend.get_open_id_connect_provider(values["OpenIDConnectProviderArn"])
    others = [client_id for client_id in provider.client_id_list if client_id != values["ClientID"]]
    provider.client_id_list = [*others, values["ClientID"]] if add else others
    return {}


def _load_images(self: Any, models: Any) -> None:
    from moto.core.utils import unix_time

    for suffix, (identity, _name) in image_names(self.region_name).items():
        name = f"{IMAGE_PARAMETERS}{suffix}/latest/ami-id"
        parameter = models.Parameter(
            account_id=self.account_id,
            name=name,
            value=identity,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=unix_time(),
            version=1,
            data_type="aws:ec2:image",
        )
        dict.setdefault(self, name, []).append(parameter)
