"""The data types of `llmlab doctor`: the lab that is checked, one check's answer, and all answers together."""

from dataclasses import dataclass
from enum import StrEnum

from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.config import Settings


class Health(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One check of `doctor` and its result. `hint` is a command, "" where nothing is to be done."""

    name: str
    health: Health
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Checkup:
    """The checks of `doctor`, in a fixed order."""

    lab: str
    region: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        return all(check.health is not Health.FAILED for check in self.checks)


@dataclass(frozen=True)
class Patient:
    """The lab that is checked: its settings, its AWS account and a clock."""

    settings: Settings
    aws: Aws
    clock: Clock
