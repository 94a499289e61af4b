"""The disks that a machine's instance type has of its own, and how its AMI has left them."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class OwnDisks:
    """`state`: "" mounted by the AMI's unit, `late` mounted in a moment, `raw` without that unit, `used` by something else, or `none`."""

    NAME: ClassVar[str] = "nvme-Amazon_EC2_NVMe_Instance_Storage_"
    """How udev's names of them begin."""
    UNIT: ClassVar[str] = "dlami-nvme.service"
    """Of the Deep Learning AMI."""
    count: int
    state: str = ""

    @property
    def has_unit(self) -> bool:
        return self.state in {"", "late"}


def of(instance_type: str, state: str = "") -> OwnDisks:
    """Of an instance type, as EC2 describes it."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    facts: Any = INSTANCE_TYPES.get(instance_type, {})
    disks = facts.get("InstanceStorageInfo", {}).get("Disks", [])
    return OwnDisks(0 if state == "none" else sum(disk["Count"] for disk in disks), state)
