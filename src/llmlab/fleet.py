"""Where an instance may come from, and what is asked of EC2 and EventBridge Scheduler to get one and to end it.

Pure functions over `llmlab.contract`, standard library only: `launch` on the user's machine and the watchdog in Lambda build the same
requests and read the same answers. Nothing here talks to AWS; a request is a dict to hand to boto3 as keyword arguments.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from llmlab.contract import Attempt, Names, Pool, PricePoint, Tag, build_timestamp
from llmlab.money import HOUR

TERMINATE = "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
"""The universal target: the one-time schedule calls EC2 itself, without any code of ours.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html"""

AT = "at(%Y-%m-%dT%H:%M:%S)"
"""The expression of a one-time schedule. https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"""


# ---------------------------------------------------------------- pools


NEAR = 1.25
"""Pools within this factor of the best one's dollars for the same work are as good as it is, and are asked for together."""


def order(pools: Iterable[Pool], preferred: Sequence[str], *, spot: bool, beside: float = 0.0) -> tuple[Pool, ...]:
    """The pools as they are to be tried: by the user's order of instance types, then by dollars for the same work.

    Pools without a price of the wanted kind are left out. `beside`: US dollars an hour for what every instance needs (`Spec.charges`),
    which speaks for the quicker pool.
    """
    rank = {name: index for index, name in enumerate(preferred)}
    offered = [pool for pool in pools if price(pool, spot=spot) is not None]

    def place(pool: Pool) -> tuple[int, float, str]:
        return rank.get(pool.instance_type, len(rank)), per_work(pool, spot=spot, beside=beside), pool.zone

    return tuple(sorted(offered, key=place))


def tiers(pools: Iterable[Pool], preferred: Sequence[str], *, spot: bool, beside: float = 0.0) -> tuple[tuple[Pool, ...], ...]:
    """The pools in groups, each to be asked for in one request, the best group first.

    Within a request EC2 weighs capacity against price and knows nothing of speed or of the user's order, so a group holds only what is
    as good as its best pool (`NEAR`), and one instance type where the user gave an order.
    """
    groups: list[list[Pool]] = []
    for pool in order(pools, preferred, spot=spot, beside=beside):
        best = groups[-1][0] if groups else None
        near = best is not None and per_work(pool, spot=spot, beside=beside) <= per_work(best, spot=spot, beside=beside) * NEAR
        if groups and best and near and (not preferred or pool.instance_type == best.instance_type):
            groups[-1].append(pool)
        else:
            groups.append([pool])
    return tuple(map(tuple, groups))


def reprice(pools: Iterable[Pool], spot_prices: Mapping[tuple[str, str], float]) -> tuple[Pool, ...]:
    """The pools at the spot prices of now, by (type, zone); where none is given the old one stays."""
    return tuple(
        replace(pool, spot_price=spot_prices.get((pool.instance_type, pool.zone), pool.spot_price)) if pool.spot_price is not None else pool
        for pool in pools
    )


def per_work(pool: Pool, *, spot: bool, beside: float = 0.0) -> float:
    """US dollars for what the slowest pool does in an hour; infinite without a price."""
    dollars = price(pool, spot=spot)
    return math.inf if dollars is None else (dollars + beside) / pool.speed


def price(pool: Pool, *, spot: bool) -> float | None:
    """US dollars an hour, None where the pool has none of that kind."""
    return pool.spot_price if spot else pool.on_demand_price


def price_of(pools: Iterable[Pool], instance_type: str, zone: str, *, spot: bool) -> float:
    """The price of the pool an instance came from, in US dollars an hour.

    The highest of its type elsewhere when the zone is not listed, 0.0 when nothing is known.
    """
    same_type = [pool for pool in pools if pool.instance_type == instance_type and price(pool, spot=spot) is not None]
    same_zone = [pool for pool in same_type if pool.zone == zone]
    return max((price(pool, spot=spot) or 0.0 for pool in same_zone or same_type), default=0.0)


def price_at_start(attempt: Attempt, pools: Iterable[Pool], instance_type: str, zone: str, *, spot: bool) -> float:
    """What the claim of an attempt says, or the price of its instance's pool while it says nothing; US dollars an hour."""
    return attempt.price or price_of(pools, instance_type, zone, spot=spot)


def highest_price(pools: Iterable[Pool], instance_type: str, zone: str) -> float:
    """What an hour of spot can cost at most: the on-demand price, which is the limit of a request that names none; 0.0 when unknown.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-requests.html
    """
    return price_of(pools, instance_type, zone, spot=False)


def spot_prices_request(instance_types: Iterable[str], since: datetime, *, zone: str = "") -> dict[str, Any]:
    """For DescribeSpotPriceHistory's paginator: of each pool the price in force at `since`, and every change after it.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html
    """
    where = {"AvailabilityZone": zone} if zone else {}
    return {"InstanceTypes": list(instance_types), "ProductDescriptions": ["Linux/UNIX"], "StartTime": since, **where}


def read_spot_prices(items: Iterable[Mapping[str, Any]]) -> tuple[PricePoint, ...]:
    """The entries that it answered for one pool, oldest first."""
    points = (PricePoint(build_timestamp(item["Timestamp"]), float(item["SpotPrice"])) for item in items)
    return tuple(sorted(points, key=lambda point: point.at))


def _one_subnet_per_zone(pools: Iterable[Pool]) -> list[Pool]:
    """EC2 refuses a fleet with two subnets in one zone: the first one named for a zone is taken for all its pools."""
    subnets: dict[str, str] = {}
    return [pool for pool in pools if subnets.setdefault(pool.zone, pool.subnet) == pool.subnet]


# ---------------------------------------------------------------- CreateFleet


def instance_tags(names: Names, run: str, attempt: int, deadline: int, *, keep: bool) -> dict[str, str]:
    """Everything an instance is known by. The machine reads them through IMDS, the watchdog through DescribeInstances."""
    tags = names.tags | {
        str(Tag.NAME): f"{names.lab} {run}",
        str(Tag.RUN): run,
        str(Tag.ATTEMPT): str(attempt),
        str(Tag.DEADLINE): str(deadline),
    }
    return tags | {str(Tag.KEEP): "true"} if keep else tags


def client_token(run: str, attempt: int, *, spot: bool, again: int = 0) -> str:
    """At most 64 characters. The same token never starts a second instance; a later request for the same attempt needs another `again`."""
    return f"{run}-{attempt}-{'spot' if spot else 'demand'}-{again}"


def create_fleet_request(
    names: Names,
    launch_template: str,
    pools: Sequence[Pool],
    *,
    run: str,
    attempt: int,
    deadline: int,
    spot: bool,
    keep: bool = False,
    image: str = "",
    again: int = 0,
) -> dict[str, Any]:
    """One instance from any of the pools, now or not at all (type `instant`).

    `deadline` is in seconds since 1970, `image` an AMI that overrides the template's. Spot takes the pool with the best of price and
    free capacity; on-demand takes the pools in the order given.
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
        "ClientToken": client_token(run, attempt, spot=spot, again=again),
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


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": str(key), "Value": str(value)} for key, value in tags.items()]


class Refusal(StrEnum):
    """Why a pool gave nothing."""

    NO_CAPACITY = "no capacity"
    QUOTA = "quota"
    DENIED = "denied"
    OTHER = "other"


CAPACITY_CODES = {
    "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "InsufficientReservedInstanceCapacity",
    "InsufficientFreeAddressesInSubnet", "Unsupported", "UnsupportedOperation", "UnfulfillableCapacity", "SpotMaxPriceTooLow",
    "InvalidFleetConfiguration", "Server.InsufficientInstanceCapacity",
}  # fmt: skip
QUOTA_CODES = {
    "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded", "SpotInstanceCountLimitExceeded",
    "MaxSpotFleetRequestCountExceeded",
}  # fmt: skip
DENIED_CODES = {
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
}


def classify(code: str) -> Refusal:
    """What an error code of CreateFleet or RunInstances means for us. A permission problem is never called a lack of capacity."""
    if code in CAPACITY_CODES:
        return Refusal.NO_CAPACITY
    if code in QUOTA_CODES:
        return Refusal.QUOTA
    return Refusal.DENIED if code in DENIED_CODES else Refusal.OTHER


@dataclass(frozen=True)
class PoolError:
    """One pool and why it gave nothing. `zone` is "" when the answer names neither a zone nor a subnet we know."""

    instance_type: str
    zone: str
    code: str
    message: str

    @property
    def refusal(self) -> Refusal:
        return classify(self.code)


@dataclass(frozen=True)
class Launched:
    """The instance we got."""

    instance: str
    instance_type: str
    zone: str


@dataclass(frozen=True)
class Answer:
    """What CreateFleet said: an instance, or why each pool gave none."""

    launched: Launched | None
    errors: tuple[PoolError, ...]

    @property
    def refusal(self) -> Refusal:
        """The one word for all errors together: what the user can do something about comes first."""
        seen = {error.refusal for error in self.errors}
        return next((one for one in (Refusal.DENIED, Refusal.QUOTA, Refusal.OTHER) if one in seen), Refusal.NO_CAPACITY)

    @property
    def words(self) -> str:
        """Each distinct error once, in one line."""
        return (
            "; ".join(dict.fromkeys(f"{error.instance_type} {error.zone}: {error.code}".strip() for error in self.errors))
            or "EC2 gave no instance and no reason"
        )


def read_create_fleet(response: Mapping[str, Any], pools: Iterable[Pool]) -> Answer:
    """The answer to `create_fleet_request`. EC2 answers 200 with zero instances and a list of errors when no pool could give one."""
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


# ---------------------------------------------------------------- the deadline


def schedule_name(run: str, attempt: int) -> str:
    return f"{run}-{attempt}"


def wake_name(run: str) -> str:
    return f"{run}-wake"


def wake_event(run: str) -> dict[str, Any]:
    """What the alarm clock of a run hands to the watchdog: look after it."""
    return {"wake": {"run": run}}


def wake_request(names: Names, *, run: str, moment: float, role: str) -> dict[str, Any]:
    """The run's alarm clock, one at a time: the watchdog is called at `moment` (seconds since 1970) for what is due then.

    That may be a try for capacity, most of a ceiling, or the end of the money. For create_schedule and update_schedule alike.
    """
    target = {"Arn": names.arn("lambda", f"function:{names.watchdog}"), "RoleArn": role, "Input": json.dumps(wake_event(run))}
    return _schedule(names, wake_name(run), f"looks after run {run}", moment, target)


def deadline_event(run: str, attempt: int) -> dict[str, Any]:
    """What the schedule hands to the watchdog."""
    return {"deadline": {"run": run, "attempt": attempt}}


def create_schedule_request(names: Names, *, run: str, attempt: int, deadline: int, role: str) -> dict[str, Any]:
    """The one-time schedule as it is made before the instance: it calls the watchdog, which finds the instance by its tags.

    `role` is the scheduler role's ARN.
    """
    watchdog = names.arn("lambda", f"function:{names.watchdog}")
    target = {"Arn": watchdog, "RoleArn": role, "Input": json.dumps(deadline_event(run, attempt))}
    return _schedule(names, schedule_name(run, attempt), f"ends attempt {attempt} of run {run}", deadline, target)


def aim_schedule_request(names: Names, *, run: str, attempt: int, deadline: int, role: str, instance: str) -> dict[str, Any]:
    """The same schedule once the instance is known: it terminates it without any code of ours."""
    target = {"Arn": TERMINATE, "RoleArn": role, "Input": json.dumps({"InstanceIds": [instance]})}
    return _schedule(names, schedule_name(run, attempt), f"ends attempt {attempt} of run {run}", deadline, target)


def delete_schedule_request(names: Names, *, run: str, attempt: int) -> dict[str, Any]:
    return {"GroupName": names.schedule_group, "Name": schedule_name(run, attempt)}


def schedule_moment(expression: str) -> datetime:
    """When a one-time schedule goes off, by its `ScheduleExpression`."""
    return datetime.strptime(expression, AT).replace(tzinfo=UTC)


def _schedule(names: Names, name: str, words: str, moment: float, target: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "GroupName": names.schedule_group,
        "Name": name,
        "Description": words,
        "ScheduleExpression": datetime.fromtimestamp(moment, UTC).strftime(AT),
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "State": "ENABLED",
        "Target": {**target, "RetryPolicy": {"MaximumEventAgeInSeconds": HOUR, "MaximumRetryAttempts": 20}},
    }
