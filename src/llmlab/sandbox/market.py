"""The sandbox's supply of instances: pools without capacity, and the account's vCPU quotas. Tests set both.

The state lies on moto's EC2 and Service Quotas backends of a region, so that a reset clears it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llmlab.sandbox.completion import fail, kept
from llmlab.sandbox.completion_lambda import now
from llmlab.sandbox.refusals.checking import refused
from llmlab.sandbox.refusals.switch import amount, holds

ACCOUNT = "123456789012"
SPOT = "spot"
ON_DEMAND = "on-demand"
ANY = "*"


@dataclass(frozen=True)
class SandboxQuota:
    """An EC2 quota in vCPUs. `families` are the prefixes of its instance types."""

    code: str
    name: str
    families: tuple[str, ...]
    market: str
    value: float


QUOTAS = (
    SandboxQuota("L-DB2E81BA", "Running On-Demand G and VT instances", ("g", "vt"), ON_DEMAND, 64),
    SandboxQuota("L-3819A6DF", "All G and VT Spot Instance Requests", ("g", "vt"), SPOT, 64),
    SandboxQuota("L-417A185B", "Running On-Demand P instances", ("p",), ON_DEMAND, 0),
    SandboxQuota("L-C4BD4855", "All P5 Spot Instance Requests", ("p5",), SPOT, 0),
    SandboxQuota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", ("p",), SPOT, 0),
    SandboxQuota("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", tuple("acdhimrtz"), ON_DEMAND, 1920),
    SandboxQuota("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", tuple("acdhimrtz"), SPOT, 1920),
)
"""The quotas of an account that was granted G instances; AWS starts G and P at 0. An instance counts under the first that fits it."""


def refuse(
    region: str, instance_type: str = ANY, zone: str = ANY, market: str = ANY, *, code: str = "InsufficientInstanceCapacity"
) -> None:
    """Let every pool that matches fail with `code` from now on."""
    kept(_ec2(region), "refused")[instance_type, zone, market] = code


def allow(region: str) -> None:
    """Give every pool capacity again."""
    kept(_ec2(region), "refused").clear()


def _refused(backend: Any) -> dict[tuple[str, str, str], str]:
    """The refused pools of an EC2 backend, with their error codes."""
    return kept(backend, "refused")


def set_quota(region: str, code: str, value: float) -> None:
    """Change a quota, in vCPUs. Raises KeyError for an unknown code."""
    if code not in {quota.code for quota in QUOTAS}:
        raise KeyError(code)
    kept(_quotas(region), "quotas")[code] = float(value)


def quota_value(region: str, quota: SandboxQuota) -> float:
    usual = 0.0 if holds("quotas-of-a-new-account") and quota.families[0][0] in "gp" else quota.value
    return float(kept(_quotas(region), "quotas").get(quota.code, usual))


def quota_of(instance_type: str, market: str) -> SandboxQuota | None:
    """The quota that an instance of this type counts under, or None."""
    return next((quota for quota in QUOTAS if quota.market == market and instance_type.startswith(quota.families)), None)


def check_pool(backend: Any, instance_type: str, zone: str, market: str) -> None:
    """Raise EC2's error when this pool cannot start an instance: not offered in the zone, over quota, or no capacity."""
    if instance_type not in offered(backend.region_name).get(zone, ()):
        raise refused("type-not-in-zone", kind=instance_type, zone=zone)
    _check_quota(backend, instance_type, market)
    for pool, code in _refused(backend).items():
        if all(wanted in {ANY, actual} for wanted, actual in zip(pool, (instance_type, zone, market), strict=True)):
            raise _refusal(code, instance_type, zone)


def _refusal(code: str, instance_type: str, zone: str) -> Exception:
    from llmlab.sandbox.refusals.ec2_market import BY_CODE

    if code in BY_CODE:
        return refused(BY_CODE[code], kind=instance_type, zone=zone)
    return fail(code, f"{code}: {instance_type} in {zone}")


def _check_quota(backend: Any, instance_type: str, market: str) -> None:
    quota = quota_of(instance_type, market)
    if quota is None:
        return
    counted = living(backend)
    used = sum(vcpus(item.instance_type) for item in counted if quota_of(item.instance_type, _market(item)) == quota)
    limit = quota_value(backend.region_name, quota)
    if used + vcpus(instance_type) > limit:
        if market == ON_DEMAND:
            raise refused("on-demand-quota", limit=f"{limit:.0f}")
        raise refused("p5-spot-quota" if quota.families == ("p5",) else "spot-quota")
    if market == SPOT and holds("spot-vcpus-freed-late"):
        ended = [item for item in backend.all_instances() if item not in counted and quota_of(item.instance_type, _market(item)) == quota]
        late = sum(vcpus(item.instance_type) for item in ended if _just_ended(item))
        if used + late + vcpus(instance_type) > limit:
            raise refused("spot-vcpus-freed-late")


def _just_ended(instance: Any) -> bool:
    moment = vars(instance).get("_llmlab_new_end")
    return moment is not None and (now() - moment).total_seconds() < amount("spot-vcpus-freed-late")


def living(backend: Any) -> Iterable[Any]:
    """The instances of an EC2 backend that are neither terminated nor stopped."""
    return [item for item in backend.all_instances() if item.state not in {"terminated", "stopped"}]


def _market(instance: Any) -> str:
    return SPOT if instance.lifecycle == SPOT else ON_DEMAND


def vcpus(instance_type: str) -> int:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return int(INSTANCE_TYPES.get(instance_type, {}).get("VCpuInfo", {}).get("DefaultVCpus", 2))


def offered(region: str) -> dict[str, set[str]]:
    """The instance types offered in a region, by zone."""
    if region not in _offered:
        from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

        zones: dict[str, set[str]] = {}
        for item in INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, []):
            zones.setdefault(item["Location"], set()).add(item["InstanceType"])
        _offered[region] = zones
    return _offered[region]


_offered: dict[str, dict[str, set[str]]] = {}


def _ec2(region: str) -> Any:
    from moto.ec2.models import ec2_backends

    return ec2_backends[ACCOUNT][region]


def _quotas(region: str) -> Any:
    from moto.servicequotas.models import servicequotas_backends

    return servicequotas_backends[ACCOUNT][region]
