"""The parts of an IAM policy: statements, documents of them, and the reasons for statements about every resource."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmlab.contract import Names

Policy = dict[str, Any]

ANYWHERE = {
    "SignInToRegistry": "a token is for the whole registry; what it opens is decided repository by repository",
    "WriteMetrics": "CloudWatch knows no resource for a metric; the condition holds it to the lab's namespaces",
    "ReadSpotPrices": "EC2 knows no resource for prices",
    "SessionManager": "the channels carry the identity of the instance itself, and have no names to bind them to",
    "See": "EC2 knows no resource for reading",
    "SeePrices": "prices and quotas belong to nobody",
    "SeeSpending": "Cost Explorer answers for the whole account, asked with the lab's tag",
    "Unsubscribe": "a subscription is named, and IAM may be asked without its topic",
    "List": "a list is asked for as a whole: what is left after a teardown can only be found by looking",
}
"""Sid → why its resource is `*`: no statement can be made without."""


def document(statements: Iterable[Policy]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statements(policy: Mapping[str, Any]) -> list[Policy]:
    statement = policy.get("Statement", [])
    return list(statement) if isinstance(statement, list) else [statement]


def merged(existing: Sequence[Policy], ours: Sequence[Policy]) -> Policy:
    """Our statements in place of those with the same Sid; the others stay."""
    sids = {statement["Sid"] for statement in ours}
    return document([*(statement for statement in existing if statement.get("Sid") not in sids), *ours])


def images(names: Names) -> list[str]:
    """The repositories of a lab."""
    return [names.arn("ecr", f"repository/{repository}") for repository in names.repositories]


def allow(sid: str, actions: str | list[str], resources: str | list[str], **condition: Mapping[str, Any]) -> Policy:
    """A statement. Its condition: operator → key → values."""
    statement: Policy = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    if condition:
        statement["Condition"] = {operator: dict(values) for operator, values in condition.items()}
    return statement


def allow_anywhere(sid: str, actions: str | list[str], **condition: Mapping[str, Any]) -> Policy:
    """A statement about every resource. Raises KeyError where `ANYWHERE` has no reason for it."""
    assert ANYWHERE[sid]
    return allow(sid, actions, "*", **condition)


def actions(service: str, *names: str) -> list[str]:
    """The names of a service's actions: `iam`, `GetRole` → `iam:GetRole`."""
    return [f"{service}:{name}" for name in names]


def request_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """A condition: the request that creates a resource gives it these tags."""
    return {f"aws:RequestTag/{key}": value for key, value in tags.items()}


def resource_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """A condition: the existing resource has these tags."""
    return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def size(policy: Policy) -> int:
    """Characters as IAM counts them: without white space.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    return len(json.dumps(policy, separators=(",", ":")))
