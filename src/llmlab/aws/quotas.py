"""vCPU quotas of GPU instances: how many an account may run, and how many it runs. AWS gives new accounts none.

Codes: https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from llmlab.aws.session import Aws, AwsError, BadCredentials, NotFound

CODES = {
    ("G", True): "L-3819A6DF", ("P", True): "L-7212CCBC", ("P5", True): "L-C4BD4855",
    ("G", False): "L-DB2E81BA", ("P", False): "L-417A185B",
}  # fmt: skip
"""By (family, spot): "All P4, P3 and P2 Spot Instance Requests" and "All P5 Spot Instance Requests" are apart, on demand is one for all P.
Which spot quota P6 counts under is not documented alike everywhere; it is looked for under that of P."""
FAMILIES = {"G": ("g", "vt"), "P5": ("p5",), "P": ("p",)}
"""How the types of a family begin; the first that fits counts."""
WORDS = {"G": "G and VT", "P": "P", "P5": "P5"}


@dataclass(frozen=True)
class Quota:
    """The vCPUs of one family in one market. `limit` is None when AWS does not tell."""

    family: str
    spot: bool
    code: str
    limit: float | None
    used: int

    @property
    def free(self) -> float:
        return float("inf") if self.limit is None else self.limit - self.used

    @property
    def words(self) -> str:
        return f"{'spot' if self.spot else 'on-demand'} {WORDS[self.family]} instances"


def family(instance_type: str, *, spot: bool) -> str:
    """The quota family of a GPU instance type in a market: `G` (with VT and GR), `P`, or for spot of P5 its own."""
    name = _family(instance_type) or "G"
    return name if (name, spot) in CODES else name[0]


def _family(instance_type: str) -> str:
    return next((name for name, begins in FAMILIES.items() if instance_type.startswith(begins)), "")


def empty(instance_type: str, *, spot: bool) -> Quota:
    """The quota that a type counts under, its limit and its use not looked up."""
    key = family(instance_type, spot=spot), spot
    return Quota(*key, CODES[key], None, 0)


def read(aws: Aws, types: Iterable[str], markets: Iterable[bool]) -> dict[tuple[str, bool], Quota]:
    """The quotas of these types in these markets (spot or not), by both, and what already runs in the account and region."""
    names = set(types)
    return _read(aws, {(family(name, spot=spot), spot) for name in names for spot in markets})


def every(aws: Aws) -> dict[tuple[str, bool], Quota]:
    """As `read`, for every quota that GPU instances may count under."""
    return _read(aws, CODES)


def _read(aws: Aws, keys: Iterable[tuple[str, bool]]) -> dict[tuple[str, bool], Quota]:
    wanted = sorted(keys)
    with ThreadPoolExecutor(len(CODES) + 1) as pool:
        asked_used = pool.submit(used, aws)
        limits = list(pool.map(lambda key: limit(aws, CODES[key]), wanted))
        running = asked_used.result()
    return {key: Quota(*key, CODES[key], most, running[key]) for key, most in zip(wanted, limits, strict=True)}


def limit(aws: Aws, code: str) -> float | None:
    """An account's quota; AWS's default where the account has none of its own, None where neither can be read."""
    client = aws.client("service-quotas")
    for ask in (client.get_service_quota, client.get_aws_default_service_quota):
        try:
            return float(ask(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"])
        except BadCredentials:
            raise
        except NotFound:
            continue
        except AwsError:
            return None
    return None


def used(aws: Aws) -> dict[tuple[str, bool], int]:
    """The vCPUs of the account's instances that are starting or running, by family and market."""
    filters: Any = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    total = dict.fromkeys(CODES, 0)
    others: list[tuple[tuple[str, bool], str]] = []
    for page in aws.ec2.get_paginator("describe_instances").paginate(Filters=filters):
        for instance in (described for reservation in page["Reservations"] for described in reservation["Instances"]):
            name, spot = str(instance["InstanceType"]), instance.get("InstanceLifecycle") == "spot"
            key = (family(name, spot=spot), spot) if _family(name) else None
            cpu = instance.get("CpuOptions", {})
            if key and cpu:
                total[key] += cpu.get("CoreCount", 0) * cpu.get("ThreadsPerCore", 0)
            elif key:
                others.append((key, name))
    for (key, _), count in zip(others, vcpus(aws, [name for _, name in others]), strict=True):
        total[key] += count
    return total


def vcpus(aws: Aws, types: Sequence[str]) -> list[int]:
    """The vCPUs of each of these types, for instances that do not tell theirs."""
    if not types:
        return []
    filters: Any = [{"Name": "instance-type", "Values": sorted(set(types))}]
    pages = aws.ec2.get_paginator("describe_instance_types").paginate(Filters=filters)
    known = {str(info["InstanceType"]): info["VCpuInfo"]["DefaultVCpus"] for page in pages for info in page["InstanceTypes"]}
    return [known.get(name, 0) for name in types]


def desired(quota: Quota, wanted: int) -> int:
    """The quota to ask for, so that instances of `wanted` vCPUs may run beside what does."""
    return int(max(quota.limit or 0, quota.used) + wanted)


def request_command(quota: Quota, wanted: int, region: str) -> str:
    """The command that asks AWS for more."""
    return (
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        f"--quota-code {quota.code} --desired-value {desired(quota, wanted)} --region {region}"
    )


# ---------------------------------------------------------------- asking for more


OPEN = {"PENDING", "CASE_OPENED"}
"""https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_RequestedServiceQuotaChange.html"""


@dataclass(frozen=True)
class Increase:
    """A request for a larger quota: `case` is the support case, or the request's own id until there is one."""

    code: str
    desired: float
    status: str
    case: str


def pending(aws: Aws, quota: Quota) -> Increase | None:
    """The request for this quota that AWS has not answered yet."""
    pages = (
        aws.client("service-quotas")
        .get_paginator("list_requested_service_quota_change_history_by_quota")
        .paginate(ServiceCode="ec2", QuotaCode=quota.code)
    )
    return next((_increase(requested) for page in pages for requested in page["RequestedQuotas"] if requested["Status"] in OPEN), None)


def request(aws: Aws, quota: Quota, vcpus: int) -> Increase:
    """Ask AWS for a quota of this many vCPUs."""
    answer = aws.client("service-quotas").request_service_quota_increase(ServiceCode="ec2", QuotaCode=quota.code, DesiredValue=float(vcpus))
    return _increase(answer["RequestedQuota"])


def _increase(facts: dict[str, Any]) -> Increase:
    return Increase(facts["QuotaCode"], facts["DesiredValue"], facts["Status"], facts.get("CaseId") or facts["Id"])
