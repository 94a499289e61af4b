"""The events that invoke the watchdog."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab import contract

WARNING = "EC2 Spot Instance Interruption Warning"
STATE_CHANGE = "EC2 Instance State-change Notification"


@dataclass(frozen=True)
class Sweep:
    """Hourly rule: reconcile every run and every instance."""


@dataclass(frozen=True)
class Overdue:
    """Rule of every minute: terminate instances past their deadline, using EC2 alone."""


@dataclass(frozen=True)
class Deadline:
    """The deadline schedule of an attempt, which fired before it was aimed at an instance."""

    run: str
    attempt: int


@dataclass(frozen=True)
class Wake:
    """The follow-up schedule of a run: something about it is due."""

    run: str


@dataclass(frozen=True)
class Warned:
    """Spot interruption warning: AWS takes the instance back in two minutes. Its agent saves by itself."""

    instance: str


@dataclass(frozen=True)
class Changed:
    """An instance changed its state; `at` is the event's own time, which stays exact when the event is delivered late or twice."""

    instance: str
    state: str
    at: datetime | None = None


@dataclass(frozen=True)
class Unknown:
    """An event that is not for the watchdog."""

    what: str


Event = Sweep | Overdue | Deadline | Wake | Warned | Changed | Unknown


def parse(event: Any) -> Event:
    """Parse Lambda's input, any JSON value. The instance id is taken from the detail, as the resource ARN has no consistent form."""
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
    """Whether a value is a run id: it becomes part of a key of the bucket."""
    return isinstance(value, str) and contract.RUN_ID.fullmatch(value) is not None


def _moment(text: object) -> datetime | None:
    """Parse an event's `time`, e.g. `2026-11-25T02:28:30Z`; None where it has none.

    https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
    """
    try:
        return contract.parse_timestamp(str(text))
    except ValueError:
        return None
