"""Eventual consistency: how long EC2, Lambda and Scheduler do not see a new resource, and what they answer meanwhile.

Delayed are IAM's roles and instance profiles as the other services see them, EC2's new instances, and the tags and security groups of
EC2's network as filters see them. Not delayed are S3, whose reads and listings show every finished write
(https://aws.amazon.com/s3/consistency/), changes and deletions, and resources looked up by a name that the caller chose (functions,
schedules, log groups, launch templates).
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from llmlab.sandbox.completion import answer, kept
from llmlab.sandbox.completion_lambda import now
from llmlab.sandbox.refusals import checking

PARTITION = "aws"
NETWORK = {
    "DescribeVpcs": "Vpcs",
    "DescribeSubnets": "Subnets",
    "DescribeInternetGateways": "InternetGateways",
    "DescribeRouteTables": "RouteTables",
    "DescribeSecurityGroups": "SecurityGroups",
    "DescribeVpcEndpoints": "VpcEndpoints",
}
"""Calls that filter by tags → the member of their answer that lists the resources."""


@dataclass
class Delay:
    """How long a new resource stays unseen, in seconds on the sandbox's clock."""

    seconds: float = 0.0

    def over(self, created: datetime | None) -> bool:
        """Whether a resource created at that time is seen by now; a resource without a date is always seen."""
        return created is None or now() - created >= timedelta(seconds=self.seconds)


DELAY = Delay()


def install() -> None:
    """Patch moto's IAM and EC2. This must be installed last, because it wraps the other modules' answers."""
    from moto.ec2.models.tags import TagBackend
    from moto.ec2.responses import EC2Response
    from moto.iam.responses import IamResponse

    _before(IamResponse, "CreateRole", after=lambda self, values: note(self.backend.get_role(values["RoleName"])))
    profile = "InstanceProfileName"
    _before(IamResponse, "CreateInstanceProfile", after=lambda self, values: note(self.backend.get_instance_profile(values[profile])))
    _before(
        IamResponse, "AddRoleToInstanceProfile", after=lambda self, values: note(self.backend.get_instance_profile(values[profile]), "role")
    )
    _before(EC2Response, "CreateSecurityGroup", after=_note_group)
    for operation in ("DescribeInstances", "DescribeInstanceStatus", "TerminateInstances"):
        _before(EC2Response, operation, lambda self, values: _check_instances(self.ec2_backend, values.get("InstanceIds", [])))
    _before(EC2Response, "CreateTags", lambda self, values: _check_instances(self.ec2_backend, values["Resources"]))
    _filtered(EC2Response, "DescribeInstances", _without_new_instances)
    for operation in NETWORK:
        _filtered(EC2Response, operation, _without_new_tags)
    create_tags = TagBackend.create_tags

    def tag(self: Any, resource_ids: list[str], tags: dict[str, str]) -> bool:
        for identity in resource_ids:
            for key in tags:
                kept(self, "tagged").setdefault((identity, key), now())
        return bool(create_tags(self, resource_ids, tags))

    TagBackend.create_tags = tag


def _before(
    response_class: Any,
    operation: str,
    check: Callable[[Any, dict[str, Any]], None] = lambda _self, _values: None,
    *,
    after: Callable[[Any, dict[str, Any]], None] = lambda _self, _values: None,
) -> None:
    """Wrap an operation: call `check` before it and `after` behind it."""
    original = _method(response_class, operation)

    def call(self: Any, values: dict[str, Any]) -> Any:
        check(self, values)
        result = original(self)
        after(self, values)
        return result

    answer(response_class, operation, call)


def _filtered(response_class: Any, operation: str, hide: Callable[[Any, dict[str, Any], dict[str, Any]], None]) -> None:
    """Wrap an operation so that `hide` (backend, parameters, answer) removes from its answer the resources that are not seen yet."""
    original = _method(response_class, operation)

    def call(self: Any, values: dict[str, Any]) -> Any:
        action_result = original(self)
        hide(self.ec2_backend, values, action_result.result)
        return action_result

    answer(response_class, operation, call)


def _method(response_class: Any, operation: str) -> Callable[[Any], Any]:
    from moto.core.utils import camelcase_to_underscores

    method: Callable[[Any], Any] = getattr(response_class, camelcase_to_underscores(operation))
    return method


def note(resource: Any, part: str = "") -> None:
    """Record the current time as the creation time of a moto object, or of a part of it."""
    vars(resource)[f"_llmlab_new_{part}"] = now()


def seen(resource: Any, part: str = "") -> bool:
    """Whether the other services see a moto object, or a part of it, by now."""
    return DELAY.over(vars(resource).get(f"_llmlab_new_{part}"))


# ---------------------------------------------------------------- roles and profiles


def _profile(account: str, specification: dict[str, Any]) -> tuple[str, Any]:
    """The name of the instance profile that a launch specifies by name or ARN, and moto's profile (None if there is none)."""
    from moto.iam.models import iam_backends

    name = specification.get("Name") or str(specification.get("Arn", "")).rpartition("/")[2]
    return name, iam_backends[account][PARTITION].instance_profiles.get(name)


def profile_unknown(account: str, specification: dict[str, Any]) -> Mapping[str, object] | bool:
    """Whether EC2 does not know an instance profile (not yet, or at all); if so, its name for the error message."""
    name, profile = _profile(account, specification)
    return bool(name) and (profile is None or not seen(profile)) and {"profile": name}


def profile_roleless(account: str, specification: dict[str, Any]) -> Mapping[str, object] | bool:
    """Whether EC2 sees no role in an instance profile that it knows; if so, the profile's ARN for the error message."""
    _, profile = _profile(account, specification)
    return profile is not None and not (profile.roles and seen(profile, "role")) and {"profile": profile.arn}


def role_unseen(account: str, arn: str) -> bool:
    """Whether a role is so new that other services do not know it yet."""
    from moto.iam.models import iam_backends

    roles: Iterable[Any] = iam_backends[account][PARTITION].roles.values()
    return any(role.arn == arn and not seen(role) for role in roles)


def role_age(account: str, arn: str) -> float:
    """Seconds since a role was created; infinite for a role without a date."""
    from moto.iam.models import iam_backends

    created = next((vars(role).get("_llmlab_new_") for role in iam_backends[account][PARTITION].roles.values() if role.arn == arn), None)
    return (now() - created).total_seconds() if created else float("inf")


# ---------------------------------------------------------------- instances and tags


def _note_group(self: Any, values: dict[str, Any]) -> None:
    note(self.ec2_backend.get_security_group_from_name(values["GroupName"], values.get("VpcId")))


def _check_instances(backend: Any, identities: Iterable[str]) -> None:
    for instance in backend.all_instances():
        if instance.id in identities and not seen(instance):
            raise checking.refused("instance-not-seen-yet", instance=instance.id)


def _without_new_instances(_backend: Any, _values: dict[str, Any], response: dict[str, Any]) -> None:
    for reservation in response["Reservations"]:  # moto's own copies
        reservation.instances = [instance for instance in reservation.instances if seen(instance)]
    response["Reservations"] = [reservation for reservation in response["Reservations"] if reservation.instances]


def _without_new_tags(backend: Any, values: dict[str, Any], response: dict[str, Any]) -> None:
    filters = [item["Name"] for item in values.get("Filters", [])]
    keys = [name.removeprefix("tag:") for name in filters if name.startswith("tag:")]
    tagged = kept(backend, "tagged")
    (member,) = (name for name in NETWORK.values() if name in response)
    if filters:
        shown = [resource for resource in response[member] if seen(resource)]
        response[member] = [resource for resource in shown if all(DELAY.over(tagged.get((resource.id, key))) for key in keys)]
