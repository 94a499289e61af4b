"""The instance store disks of a machine's instance type, and the state in which its AMI leaves them."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class OwnDisks:
    """The instance store disks of a machine, and their state.

    `state`: "" mounted by the AMI's unit, `late` mounted in a moment, `raw` without that unit, `used` by something else, or `none`.
    """

    NAME: ClassVar[str] = "nvme-Amazon_EC2_NVMe_Instance_Storage_"
    """Prefix of the disks' udev names."""
    UNIT: ClassVar[str] = "dlami-nvme.service"
    """The Deep Learning AMI's unit that mounts the disks."""
    count: int
    state: str = ""

    @property
    def has_unit(self) -> bool:
        return self.state in {"", "late"}


def of(instance_type: str, state: str = "") -> OwnDisks:
    """The disks of an instance type, as EC2 describes it."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    facts: Any = INSTANCE_TYPES.get(instance_type, {})
    disks = facts.get("InstanceStorageInfo", {}).get("Disks", [])
    return OwnDisks(0 if state == "none" else sum(disk["Count"] for disk in disks), state)
