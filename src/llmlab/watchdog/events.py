"""What can wake the watchdog."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab import contract

WARNING = "EC2 Spot Instance Interruption Warning"
STATE_CHANGE = "EC2 Instance State-change Notification"


@dataclass(frozen=True)
class Sweep:
    """Every hour: look at everything."""


@dataclass(frozen=True)
class Overdue:
    """Every minute: end what is past its deadline, by EC2's word alone."""


@dataclass(frozen=True)
class Deadline:
    """The one-time schedule of an attempt, which went off before it was aimed at the instance."""

    run: str
    attempt: int


@dataclass(frozen=True)
class Wake:
    """The alarm clock of a run: something about it is due."""

    run: str


@dataclass(frozen=True)
class Warned:
    """AWS takes a spot instance back in two minutes. The agent on it knows, and saves."""

    instance: str


@dataclass(frozen=True)
class Changed:
    """An instance is in another state, since `at`, which a function that is called late or again still hears exactly."""

    instance: str
    state: str
    at: datetime | None = None


@dataclass(frozen=True)
class Unknown:
    """Nothing of ours."""

    what: str


Event = Sweep | Overdue | Deadline | Wake | Warned | Changed | Unknown


def parse(event: Any) -> Event:
    """The event behind what Lambda was handed, any JSON value. Its detail names the instance; its resource ARN is of no consistent form."""
    if not isinstance(event, Mapping):
        return Unknown(type(event).__name__)
    if event.get("sweep"):
        return Sweep()
    if event.get("overdue"):
        return Overdue()
    deadline = event.get("deadline")
    if isinstance(deadline, Mapping) and _is_run(deadline.get("run")) and type(deadline.get("attempt")) is int:
        return Deadline(deadline["run"], deadline["attempt"])
    wake = event.get("wake")
    if isinstance(wake, Mapping) and _is_run(wake.get("run")):
        return Wake(wake["run"])
    kind, detail = event.get("detail-type"), event.get("detail")
    if isinstance(detail, Mapping) and "instance-id" in detail:
        if kind == WARNING:
            return Warned(str(detail["instance-id"]))
        if kind == STATE_CHANGE:
            return Changed(str(detail["instance-id"]), str(detail.get("state", "")), _moment(event.get("time")))
    return Unknown(str(kind or sorted(event)))


def _is_run(value: object) -> bool:
    """Run ids become keys of the bucket: nothing else may."""
    return isinstance(value, str) and contract.RUN_ID.fullmatch(value) is not None


def _moment(text: object) -> datetime | None:
    """An event's `time`, e.g. `2026-11-25T02:28:30Z`; None where it has none.

    https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
    """
    try:
        return contract.parse_timestamp(str(text))
    except ValueError:
        return None
