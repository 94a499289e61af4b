"""Building the CreateFleet request for one instance, and reading its response.

Pure functions over `llmlab.contract`, standard library only: `launch` on the user's machine and the watchdog in Lambda build the same
requests and read the same responses. Nothing here calls AWS; a request is a dict to hand to boto3 as keyword arguments.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmlab.contract import Names, Pool, Tag
from llmlab.lifecycle import refusals
from llmlab.lifecycle.refusals import Refusal

VISIBLE_SECONDS = 300
"""How long EC2 may hide a new instance from DescribeInstances; at least as long as a call of the watchdog may last, so that the instance
of a call that dies in the middle is not looked for before Lambda has ended that call.
https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html"""


def instance_tags(names: Names, run: str, attempt: int, deadline: int, *, keep: bool) -> dict[str, str]:
    """The tags of a run's instance. The instance reads them through IMDS, the watchdog through DescribeInstances."""
    tags = names.tags | {
        str(Tag.NAME): f"{names.lab} {run}",
        str(Tag.RUN): run,
        str(Tag.ATTEMPT): str(attempt),
        str(Tag.DEADLINE): str(deadline),
    }
    return tags | {str(Tag.KEEP): "true"} if keep else tags


def client_token(run: str, attempt: int, claimed: str, *, spot: bool, again: int = 0) -> str:
    """The client token of a request, at most 64 characters: EC2 never starts two instances for it. A later request needs another `again`.

    An attempt whose start broke off and was undone is claimed again later under the same number: EC2 would return the instance that is
    gone, so the time of the claim is part of the token.
    """
    moment = "".join(filter(str.isdigit, claimed))
    return f"{run}-{attempt}-{moment}-{'spot' if spot else 'demand'}-{again}"


def create_fleet_request(
    names: Names,
    launch_template: str,
    pools: Sequence[Pool],
    *,
    run: str,
    attempt: int,
    claimed: str,
    deadline: int,
    spot: bool,
    keep: bool = False,
    image: str = "",
    again: int = 0,
) -> dict[str, Any]:
    """The CreateFleet request for one instance from any of the pools, now or not at all (type `instant`).

    `claimed` is when the attempt was, `deadline` is in seconds since 1970, `image` an AMI that overrides the template's. Spot takes the
    pool with the best of price and free capacity; on-demand takes the pools in the order given.
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-allocation-strategy.html

    Raises:
        ValueError: there are no pools.
    """
    if not pools:
        raise ValueError("a fleet needs at least one pool")
    overrides: list[dict[str, Any]] = []
    for index, pool in enumerate(_one_subnet_per_zone(pools)):
        override: dict[str, Any] = {"InstanceType": pool.instance_type, "SubnetId": pool.subnet}
        if image:
            override["ImageId"] = image
        if not spot:
            override["Priority"] = float(index)
        overrides.append(override)
    tags = _pairs(instance_tags(names, run, attempt, deadline, keep=keep))
    request: dict[str, Any] = {
        "Type": "instant",
        "ClientToken": client_token(run, attempt, claimed, spot=spot, again=again),
        "LaunchTemplateConfigs": [
            {"LaunchTemplateSpecification": {"LaunchTemplateName": launch_template, "Version": "$Latest"}, "Overrides": overrides}
        ],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot" if spot else "on-demand"},
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("fleet", "instance", "volume", "network-interface")],
    }
    if spot:
        request["SpotOptions"] = {"AllocationStrategy": "price-capacity-optimized", "InstanceInterruptionBehavior": "terminate"}
    else:
        request["OnDemandOptions"] = {"AllocationStrategy": "prioritized"}
    return request


def gpus_of(pools: Iterable[Pool], instance_type: str) -> int:
    """The number of GPUs of an instance type, by its pools; 0 when unknown."""
    return next((pool.gpus for pool in pools if pool.instance_type == instance_type), 0)


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": str(key), "Value": str(value)} for key, value in tags.items()]


def _one_subnet_per_zone(pools: Iterable[Pool]) -> list[Pool]:
    """Pools with one subnet for each zone, the first named: EC2 refuses a fleet with two subnets in one zone."""
    subnets: dict[str, str] = {}
    return [pool for pool in pools if subnets.setdefault(pool.zone, pool.subnet) == pool.subnet]


@dataclass(frozen=True)
class PoolError:
    """A pool's error in a response. `zone` is "" when the response names neither a zone nor a subnet we know."""

    instance_type: str
    zone: str
    code: str
    message: str

    @property
    def refusal(self) -> Refusal:
        return refusals.classify(self.code, self.message)


@dataclass(frozen=True)
class Launched:
    """The instance that CreateFleet started."""

    instance: str
    instance_type: str
    zone: str


@dataclass(frozen=True)
class Answer:
    """The result of CreateFleet: an instance, or the error of each pool."""

    launched: Launched | None
    errors: tuple[PoolError, ...]

    @property
    def refusal(self) -> Refusal:
        """The most actionable kind of refusal among the errors."""
        seen = {error.refusal for error in self.errors}
        return next(
            (refusal for refusal in (Refusal.DENIED, Refusal.QUOTA, Refusal.OTHER, Refusal.NOT_YET) if refusal in seen), Refusal.NO_CAPACITY
        )

    @property
    def final(self) -> bool:
        """Whether waiting cannot help with any of the pools."""
        return bool(self.errors) and all(error.refusal.final for error in self.errors)

    @property
    def words(self) -> str:
        """All distinct errors in one line: pools without capacity by name, every other error with EC2's message."""
        return "; ".join(dict.fromkeys(_in_words(error) for error in self.errors)) or "EC2 gave no instance and no reason"


def _in_words(error: PoolError) -> str:
    if error.refusal is Refusal.NO_CAPACITY:
        return f"{error.instance_type} {error.zone}: {error.code}".strip()
    return refusals.sentence(error.code, error.message)


def read_create_fleet(response: Mapping[str, Any], pools: Iterable[Pool]) -> Answer:
    """Read the response to `create_fleet_request`: EC2 answers 200 with a list of errors when no pool has an instance."""
    zones = {pool.subnet: pool.zone for pool in pools}
    launched = None
    for group in response.get("Instances", []):
        for instance in group.get("InstanceIds", []):
            instance_type, zone = _place(group, zones)
            launched = launched or Launched(instance, group.get("InstanceType") or instance_type, zone)
    errors = tuple(
        PoolError(*_place(item, zones), code=item.get("ErrorCode", ""), message=str(item.get("ErrorMessage", "")).strip().rstrip("."))
        for item in response.get("Errors", [])
    )
    return Answer(launched, errors)


def _place(item: Mapping[str, Any], zones: Mapping[str, str]) -> tuple[str, str]:
    overrides = item.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    zone = overrides.get("AvailabilityZone") or zones.get(overrides.get("SubnetId", ""), "")
    return overrides.get("InstanceType", ""), zone
