"""EC2 instance types and the zones that offer them. A type that cannot train is refused with the reason and those of its class that can."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmlab.aws.session import Aws
from llmlab.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeInfoTypeDef

GPU_TYPES = ("g4dn.*", "g5.*", "g6.*", "gr6.*", "g6e.*", "g7.*", "g7e.*", "p4d.*", "p4de.*", "p5.*", "p5e.*", "p5en.*", "p6-*")
"""The families a run can use, for alternatives: x86, whole NVIDIA GPUs that the open driver supports."""

RETIRED = {
    "p2.xlarge": (1, 12), "p2.8xlarge": (8, 12), "p2.16xlarge": (16, 12),
    "p3.2xlarge": (1, 16), "p3.8xlarge": (4, 16), "p3.16xlarge": (8, 16), "p3dn.24xlarge": (8, 32),
    "g2.2xlarge": (1, 4), "g2.8xlarge": (4, 4), "g3s.xlarge": (1, 8), "g3.4xlarge": (1, 8), "g3.8xlarge": (2, 8), "g3.16xlarge": (4, 8),
}  # fmt: skip
"""Type → GPUs and GiB of each, for types that AWS has retired or the open driver does not run on: alternatives are searched by these."""

ROUNDED_GIB = 1024
SHOWN = 5


@dataclass(frozen=True)
class InstanceType:
    """A type a run can use. `gpu_memory_gib` is of one GPU, as the API reports it."""

    name: str
    gpu: str
    gpus: int
    gpu_memory_gib: float
    vcpus: int
    memory_gib: float
    spot: bool
    nvme_gb: int = 0
    on_demand: bool = True
    """False where AWS sells it in capacity blocks alone."""

    @property
    def words(self) -> str:
        return f"{self.name} ({self.gpus} x {self.gpu}, {self.gpu_memory_gib:.0f} GiB)"


def describe(aws: Aws, names: Sequence[str]) -> dict[str, InstanceType]:
    """The types of these names, in their order.

    Raises:
        UsageError: one of them does not exist in this region, is retired, or cannot train: with those of its class that can.
    """
    infos = {str(info["InstanceType"]): info for info in _ask(aws, names)}
    types: dict[str, InstanceType] = {}
    for name in names:
        reason = why_not(name, infos.get(name), aws.region)
        if reason:
            raise UsageError(*_refusal(aws, name, reason, infos.get(name)))
        types[name] = read(infos[name])
    return types


def offered(aws: Aws, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The zones that offer each type, by type name."""
    zones: dict[str, list[str]] = {name: [] for name in names}
    if not zones:
        return {}
    pages = aws.ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": list(zones)}]
    )
    for page in pages:
        for offer in page["InstanceTypeOfferings"]:
            zones.setdefault(str(offer["InstanceType"]), []).append(offer["Location"])
    return {name: tuple(sorted(offering)) for name, offering in zones.items()}


def why_not(name: str, info: "InstanceTypeInfoTypeDef | Mapping[str, Any] | None", region: str) -> str:
    """Why a run cannot use a type, or "" when it can. `info` is what DescribeInstanceTypes answers."""
    if name in RETIRED:
        return f"{name} is retired"
    if info is None:
        return f"there is no instance type {name} in {region}"
    gpus: list[Any] = list(info.get("GpuInfo", {}).get("Gpus", []))
    if not gpus:
        return f"{name} has no GPU"
    if gpus[0].get("Manufacturer", "").upper() != "NVIDIA":
        return f"{name} has a GPU of {gpus[0].get('Manufacturer')}, and the image needs NVIDIA"
    if "x86_64" not in info.get("ProcessorInfo", {}).get("SupportedArchitectures", []):
        return f"{name} has an arm64 processor, and the image needs x86_64"
    if gpus[0].get("Count", 0) < 1 or gpus[0].get("GpuPartitionSize", 1.0) < 1:
        return f"{name} has a fraction of a GPU"
    return ""


def read(info: "InstanceTypeInfoTypeDef | Mapping[str, Any]") -> InstanceType:
    """A usable type from what DescribeInstanceTypes answers."""
    facts: Any = info
    gpu = facts["GpuInfo"]["Gpus"][0]
    sold = facts.get("SupportedUsageClasses", ["on-demand", "spot"])
    return InstanceType(
        name=str(facts["InstanceType"]),
        gpu=gpu["Name"],
        gpus=int(gpu["Count"]),
        gpu_memory_gib=gpu["MemoryInfo"]["SizeInMiB"] / ROUNDED_GIB,
        vcpus=int(facts["VCpuInfo"]["DefaultVCpus"]),
        memory_gib=facts["MemoryInfo"]["SizeInMiB"] / ROUNDED_GIB,
        spot="spot" in sold,
        nvme_gb=int(facts.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0)),
        on_demand="on-demand" in sold,
    )


def named_or_usable(aws: Aws, names: Sequence[str]) -> list[InstanceType]:
    """The types of these names; every usable one of the region when there are none.

    Raises:
        UsageError: as `describe`.
    """
    return list(describe(aws, names).values()) if names else usable(aws)


def usable(aws: Aws) -> list[InstanceType]:
    """Every type of this region that a run can use, smallest first."""
    infos = _ask(aws, GPU_TYPES)
    types = [read(info) for info in infos if not why_not(str(info["InstanceType"]), info, aws.region)]
    return sorted(types, key=_by_size)


def _by_size(instance_type: InstanceType) -> tuple[int, float, int, str]:
    return instance_type.gpus, instance_type.gpu_memory_gib, instance_type.vcpus, instance_type.name


def _ask(aws: Aws, names: Sequence[str]) -> "list[InstanceTypeInfoTypeDef]":
    pages = aws.ec2.get_paginator("describe_instance_types").paginate(Filters=[{"Name": "instance-type", "Values": list(names)}])
    return [info for page in pages for info in page["InstanceTypes"]]


def _refusal(aws: Aws, name: str, reason: str, info: Any) -> tuple[str, str]:
    """The sentence and the hint for a type that cannot be used."""
    others = alternatives(usable(aws), *_class(name, info))
    if not others:
        return reason, "llmlab estimate"
    return (
        f"{reason}; of its class there are here: {', '.join(instance_type.words for instance_type in others)}",
        f"llmlab launch --instance-type {others[0].name}",
    )


def _class(name: str, info: Any) -> tuple[int, float]:
    """GPUs and GiB of each: of the retired type, of the described one, or one of 16 GiB where neither is known."""
    if name in RETIRED:
        return RETIRED[name]
    gpus = (info or {}).get("GpuInfo", {}).get("Gpus", [])
    if gpus:
        return max(1, int(gpus[0].get("Count", 1))), gpus[0].get("MemoryInfo", {}).get("SizeInMiB", 0) / ROUNDED_GIB
    return 1, 16


def alternatives(types: Iterable[InstanceType], gpus: int, gpu_memory_gib: float) -> list[InstanceType]:
    """The types with at least as many GPUs of about that memory or more, the nearest first, one of each GPU model and count."""
    seen: set[tuple[str, int]] = set()
    nearest: list[InstanceType] = []
    for candidate in sorted(types, key=_by_size):
        if candidate.gpus >= gpus and candidate.gpu_memory_gib >= gpu_memory_gib * 0.9 and (candidate.gpu, candidate.gpus) not in seen:
            seen.add((candidate.gpu, candidate.gpus))
            nearest.append(candidate)
    return nearest[:SHOWN]
