"""The simulated AWS account: its interface to the programs and to the simulator (`Cloud`), and the account in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmlab.lifecycle import one_time_schedules
from tests.simulation.compute import Compute, SimulatedInstance
from tests.simulation.failure import failure
from tests.simulation.storage import Storage


@dataclass(frozen=True)
class Schedule:
    """A one-time schedule of EventBridge Scheduler. `moment` in seconds since 1970."""

    name: str
    moment: float
    target: str
    payload: str


class Cloud(Protocol):
    """An AWS account. Methods, parameters and errors of `call` are boto3's."""

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any: ...

    def listen(self, launched: Callable[[SimulatedInstance], None], ended: Callable[[str], None]) -> None:
        """Set the callbacks for a launch, and for an instance in a call of TerminateInstances."""
        ...

    def turn(self, identity: str, state: str, cause: str = "", words: str = "") -> None:
        """Change the state of an instance."""
        ...

    def schedules(self) -> dict[str, Schedule]: ...

    def drop(self, schedule: str) -> None:
        """Delete a one-time schedule that has fired."""
        ...

    def body(self, bucket: str, key: str) -> bytes | None: ...

    def keys(self, bucket: str, prefix: str = "") -> list[str]: ...

    def messages(self) -> list[tuple[str, str]]:
        """Subject and text of every message published to the topic."""
        ...

    def close(self) -> None:
        """Release the account: no more calls follow."""
        ...


@dataclass
class ControlPlane:
    """Scheduler, SNS and CloudWatch in memory, with the state that matters here: one-time schedules and published messages."""

    one_time: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: list[tuple[str, str]] = field(default_factory=list)

    def create_schedule(self, *, Name: str, **rest: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        if Name in self.one_time:
            raise failure("ConflictException", f"Schedule {Name} already exists.", "CreateSchedule", 409)
        self.one_time[Name] = rest
        return {}

    def update_schedule(self, *, Name: str, **rest: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        self._existing(Name, "UpdateSchedule")
        self.one_time[Name] = rest
        return {}

    def delete_schedule(self, *, Name: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        self._existing(Name, "DeleteSchedule")
        del self.one_time[Name]
        return {}

    def get_schedule(self, *, Name: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        return {"Name": Name, **self._existing(Name, "GetSchedule")}

    def _existing(self, name: str, operation: str) -> dict[str, Any]:
        if name not in self.one_time:
            raise failure("ResourceNotFoundException", f"Schedule {name} does not exist.", operation, 404)
        return self.one_time[name]

    def publish(self, *, Subject: str = "", Message: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.published.append((Subject, Message))
        return {"MessageId": str(len(self.published))}

    def put_metric_data(self, **_: Any) -> dict[str, Any]:
        return {}


@dataclass
class MemoryCloud:
    """The account in memory. `tests/simulation` compares its answers with those of the sandbox's own AWS, call by call."""

    compute: Compute
    storage: Storage = field(default_factory=Storage)
    control: ControlPlane = field(default_factory=ControlPlane)

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        part: Any = {"s3": self.storage, "ec2": self.compute}.get(service, self.control)
        return getattr(part, method)(**parameters)

    def listen(self, launched: Callable[[SimulatedInstance], None], ended: Callable[[str], None]) -> None:
        self.compute.launched, self.compute.ended = launched, ended

    def turn(self, identity: str, state: str, cause: str = "", words: str = "") -> None:
        self.compute.turn(identity, state, cause, words)

    def schedules(self) -> dict[str, Schedule]:
        return {
            name: Schedule(
                name,
                one_time_schedules.schedule_moment(facts["ScheduleExpression"]).timestamp(),
                facts["Target"]["Arn"],
                facts["Target"]["Input"],
            )
            for name, facts in self.control.one_time.items()
        }

    def drop(self, schedule: str) -> None:
        self.control.one_time.pop(schedule, None)

    def body(self, bucket: str, key: str) -> bytes | None:
        return self.storage.body(bucket, key)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        return self.storage.keys(bucket, prefix)

    def messages(self) -> list[tuple[str, str]]:
        return self.control.published

    def close(self) -> None:
        """Do nothing: the memory belongs to this object."""
