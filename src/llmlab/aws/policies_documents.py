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


def see(*operations: str) -> Policy:
    """Describe with EC2, which knows no resource for reading."""
    return allow_anywhere("See", actions("ec2", *operations))


def make(names: Names, operation: str, kind: str, within: Sequence[str] = ()) -> list[Policy]:
    """Create a resource of EC2 that carries the lab's tags from the start, perhaps `within` resources of the lab's of other kinds."""
    made, tags = names.arn("ec2", f"{kind}/*"), request_tags(names.tags)
    places = [names.arn("ec2", f"{place}/*") for place in within]
    return [
        allow("MakeTagged", f"ec2:{operation}", made, StringEquals=tags),
        allow("TagWhatIsMade", "ec2:CreateTags", made, StringEquals={**tags, "ec2:CreateAction": operation}),
        *([allow("MakeInOurs", f"ec2:{operation}", places, StringEquals=resource_tags(names.tags))] if places else []),
    ]


def change(names: Names, *operations: str) -> Policy:
    """Change and delete with EC2 what carries the lab's tags."""
    return allow("ChangeOurs", actions("ec2", *operations), names.arn("ec2", "*"), StringEquals=resource_tags(names.tags))


def together(several: Iterable[Policy]) -> list[Policy]:
    """Statements of which each Sid is there once: those of the same Sid become one with the actions, resources and values of all.

    IAM then allows each of the actions on each of the resources. So the resources and the condition must be the same, or the condition
    demands the lab's tags.

    Raises:
        ValueError: neither is so.
    """
    by_sid: dict[str, Policy] = {}
    for statement in several:
        sid = statement["Sid"]
        by_sid[sid] = _joined(by_sid[sid], statement) if sid in by_sid else statement
    return list(by_sid.values())


def _joined(first: Policy, second: Policy) -> Policy:
    same = all(first.get(key) == second.get(key) for key in ("Resource", "Condition"))
    if not same and not (_demands_tags(first) and _demands_tags(second)):
        raise ValueError(f"two statements called {first['Sid']} differ in more than their actions: give one of them another Sid")
    joined = {**first, "Action": _both(first["Action"], second["Action"]), "Resource": _both(first["Resource"], second["Resource"])}
    if "Condition" in first:
        equals, others = first["Condition"]["StringEquals"], second["Condition"]["StringEquals"]
        joined["Condition"] = {"StringEquals": {key: _both(value, others[key]) for key, value in equals.items()}}
    return joined


def _demands_tags(statement: Policy) -> bool:
    return any("Tag/" in key for key in statement.get("Condition", {}).get("StringEquals", {}))


def _both(first: str | list[str], second: str | list[str]) -> str | list[str]:
    """The values of both, sorted; a single one as it is."""
    if first == second:
        return first
    lists = ([values] if isinstance(values, str) else values for values in (first, second))
    return sorted({value for values in lists for value in values})


def size(policy: Policy) -> int:
    """Characters as IAM counts them: without white space.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    return len(json.dumps(policy, separators=(",", ":")))
