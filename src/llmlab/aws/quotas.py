"""vCPU quotas of GPU instances: how many an account may run, and how many it runs. AWS gives new accounts none.

Codes: https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmlab.aws.session import Aws, NotFound

CODES = {("G", True): "L-3819A6DF", ("P", True): "L-7212CCBC", ("G", False): "L-DB2E81BA", ("P", False): "L-417A185B"}
"""By (family, spot)."""
FAMILIES = {"G": ("g", "vt"), "P": ("p",)}
"""How the types of a family begin."""


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
        kinds = {"G": "G and VT", "P": "P"}[self.family]
        return f"{'spot' if self.spot else 'on-demand'} {kinds} instances"


def family(instance_type: str) -> str:
    """The quota family of a GPU instance type: `G` (with VT and GR) or `P`."""
    return "P" if instance_type.startswith("p") else "G"


def read(aws: Aws, family: str, *, spot: bool) -> Quota:
    """The quota of a family in one market, and what already runs in the account and region."""
    code = CODES[family, spot]
    return Quota(family, spot, code, limit(aws, code), used(aws, family, spot=spot))


def limit(aws: Aws, code: str) -> float | None:
    """An account's quota; AWS's default where the account has none of its own, None where nobody tells."""
    client = aws.client("service-quotas")
    for ask in (client.get_service_quota, client.get_aws_default_service_quota):
        try:
            return float(ask(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"])
        except NotFound:
            continue
    return None


def used(aws: Aws, family: str, *, spot: bool) -> int:
    """The vCPUs of the account's instances of a family that are starting or running in one market."""
    filters: Any = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    total = 0
    others: list[str] = []
    for page in aws.ec2.get_paginator("describe_instances").paginate(Filters=filters):
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                ours = str(instance["InstanceType"]).startswith(FAMILIES[family])
                if ours and (instance.get("InstanceLifecycle") == "spot") == spot:
                    cpu = instance.get("CpuOptions", {})
                    total += cpu.get("CoreCount", 0) * cpu.get("ThreadsPerCore", 0)
                    others += [] if cpu else [str(instance["InstanceType"])]
    return total + sum(vcpus(aws, others))


def vcpus(aws: Aws, types: Sequence[str]) -> list[int]:
    """The vCPUs of each of these types, for instances that do not tell theirs."""
    if not types:
        return []
    filters: Any = [{"Name": "instance-type", "Values": sorted(set(types))}]
    pages = aws.ec2.get_paginator("describe_instance_types").paginate(Filters=filters)
    known = {str(info["InstanceType"]): info["VCpuInfo"]["DefaultVCpus"] for page in pages for info in page["InstanceTypes"]}
    return [known.get(name, 0) for name in types]


def request_command(quota: Quota, wanted: int, region: str) -> str:
    """The command that asks AWS for more."""
    value = int((quota.limit or 0) + wanted) if quota.limit else wanted
    return (
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        f"--quota-code {quota.code} --desired-value {value} --region {region}"
    )
