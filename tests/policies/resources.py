"""Which resources a request is judged on: the kinds that AWS's own list has for the action, by the names that the parameters give."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.policies.evaluator import Kind, Request, kinds

REGION, ACCOUNT = "us-east-1", "123456789012"
ANY = "anything"
"""The name of a resource where a call is about all of them: only a policy that is not bound to names lets it pass."""
LINKED = {"AWSServiceRoleForEC2Spot": "spot.amazonaws.com"}
"""Role that AWS makes for a service → the service."""
NAMED: dict[str, dict[str, tuple[str, ...]]] = {
    "budgets": {"budget": ("BudgetName",)},
    "ecr": {"repository": ("repositoryName", "repositoryNames")},
    "events": {"rule-on-default-event-bus": ("Name", "Rule")},
    "iam": {"role": ("RoleName",), "instance-profile": ("InstanceProfileName",), "oidc-provider": ("Url",), "policy": ()},
    "lambda": {"function": ("FunctionName",)},
    "logs": {"log-group": ("logGroupName",), "log-stream": ("logGroupName", "logStreamName")},
    "cloudwatch": {"alarm": ("AlarmNames", "AlarmName"), "dashboard": ("DashboardNames", "DashboardName")},
    "s3": {"bucket": ("Bucket",), "object": ("Bucket", "Key")},
    "scheduler": {"schedule": ("GroupName", "Name"), "schedule-group": ("Name",)},
    "secretsmanager": {"Secret": ("SecretId", "Name")},
    "sns": {"topic": ("Name",)},
    "servicequotas": {"quota": ("ServiceCode", "QuotaCode")},
    "ssm": {"parameter": ("Name",), "document": ("DocumentName",)},
}
"""Service → kind of resource → the parameters that name one: each an alternative, except where the ARN has a place for each."""


@dataclass
class World:
    """What IAM knows beside the request: what exists in the account, and with which tags."""

    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """Identity or ARN → tags."""
    templates: dict[str, str] = field(default_factory=dict)
    """Launch template by name → its identity."""
    associations: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Association → route table and subnet."""
    template: dict[str, Any] = field(default_factory=dict)
    """The form that made the launch template."""
    boundaries: dict[str, str] = field(default_factory=dict)
    """Role → its permissions boundary."""


def judged(action: str, values: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Request]:
    """An action on each resource that the parameters name; on one of any name where they name none; on `*` where there are no kinds."""
    known = kinds(action)
    if not known:
        yield Request(action, "*", context)
        return
    service = action.partition(":")[0]
    named = [Request(action, arn, context) for kind in known for arn in _arns(service, kind, values)]
    if not named:
        wanted = [kind for kind in known if kind.required] or known[:1]
        named = [Request(action, fill(kind.arn, [ANY] * kind.arn.count("${")), context) for kind in wanted]
    yield from named


def fill(arn: str, names: Sequence[str]) -> str:
    """An ARN of AWS's list with our region and account, and these names in its other places."""
    left = iter(names)
    known = {"Partition": "aws", "Region": REGION, "Account": ACCOUNT}
    return re.sub(r"\$\{(\w+)\}", lambda place: known.get(place[1]) or next(left), arn)


def _places(arn: str) -> int:
    return len(re.findall(r"\$\{(?!Partition|Region|Account)", arn))


def _arns(service: str, kind: Kind, values: Mapping[str, Any]) -> Iterator[str]:
    flat = {name[0].lower() + name[1:]: value for name, value in _members(values)}
    pattern = re.compile(fill(re.escape(kind.arn).replace(r"\$\{", "${").replace(r"\}", "}"), ["[^:]+"] * _places(kind.arn)))
    given = [one for _, value in _members(values) for one in (value if isinstance(value, list) else [value])]
    yield from dict.fromkeys(one for one in given if isinstance(one, str) and pattern.fullmatch(one))
    parameters = NAMED.get(service, {}).get(kind.name, ())
    found = [flat[name[0].lower() + name[1:]] for name in parameters if name[0].lower() + name[1:] in flat]
    if _places(kind.arn) > 1:
        if len(found) == _places(kind.arn):
            yield fill(kind.arn, found)
        return
    for value in found:
        for one in value if isinstance(value, list) else [value]:
            if not one.startswith("arn:"):
                # what AWS itself publishes belongs to no account
                arn = kind.arn.replace("${Account}", "") if one.startswith(("/aws/service/", "AWS-")) else kind.arn
                yield fill(arn, [_spelled(service, one)])


def _spelled(service: str, name: str) -> str:
    """A name as its ARN has it: a secret's ends in six characters of AWS's choice, a linked role's has its path, a provider's no scheme."""
    if service == "secretsmanager":
        return f"{name}-AbCdEf"
    if name in LINKED:
        return f"aws-service-role/{LINKED[name]}/{name}"
    return name.removeprefix("https://").removeprefix("/") if service in {"iam", "ssm"} else name


def _members(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parameters, and those one level down (a budget's name is inside the budget)."""
    for name, value in values.items():
        yield name, value
        if isinstance(value, dict):
            yield from value.items()


def asked(tags: Mapping[str, str]) -> dict[str, Any]:
    """What IAM is told of the tags that a request asks for."""
    return {**{f"aws:RequestTag/{key}": value for key, value in tags.items()}, **({"aws:TagKeys": list(tags)} if tags else {})}
