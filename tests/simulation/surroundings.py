"""The agent's surroundings on a simulated machine: background jobs, a clock, IMDS, GPUs and CloudWatch metrics."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from llmlab import contract
from llmlab.agent.gpu import Fault, GpuUse
from llmlab.agent.s3_store import StoreError
from llmlab.contract import Metric, WorkFolder
from tests.simulation.compute import SimulatedInstance
from tests.simulation.failure import Pause
from tests.simulation.timeline import Timeline
from tests.simulation.trainer import Trainer
from tests.simulation.weather import InstanceFault, Strike


class AgentHost(Protocol):
    """The interface of a simulated machine to the agent's surroundings."""

    timeline: Timeline
    instance: SimulatedInstance
    fate: InstanceFault
    folder: WorkFolder
    trainer: Trainer | None
    notice: datetime | None
    uploading_seconds: float

    @property
    def works(self) -> bool: ...

    def guarded(self, work: Callable[[], None]) -> None: ...

    def say(self, words: str) -> None: ...


class SimulatedJobs:
    """The agent's background jobs, with the time that they would take. The last upload is waited for by `Pause`."""

    def __init__(self, machine: AgentHost) -> None:
        self.machine = machine
        self.pending: dict[str, float] = {}
        self.last: tuple[float, float] | None = None
        """The last upload: the moment until which it is waited for, and by how many seconds it exceeds its time limit."""
        self._sent: set[str] = set()

    def forget(self) -> None:
        """Drop all jobs, because the agent has crashed."""
        self.pending.clear()
        self.last = None
        self._sent.clear()

    def start(self, name: str, work: Callable[[], object]) -> None:
        if name in self.pending:
            return
        seconds = self._seconds() if name == "uploads" else 0.0
        if not seconds:
            self._guarded(name, work)
            return
        moment = self.pending[name] = self.machine.timeline.moment + seconds
        self.machine.timeline.at(moment, lambda: self._arrive(name, moment, work))

    def within(self, name: str, seconds: float, work: Callable[[], object], going: Callable[[], bool] = lambda: True) -> bool:
        if name != "uploads":
            self._guarded(name, work)
            return True
        now = self.machine.timeline.moment
        if self.last is None:
            takes = max(0.0, self.pending.get(name, now) - now) + self._seconds()
            self.last = (now + min(takes, max(0.0, seconds)), takes - seconds)
        arrives, late = self.last
        if now < arrives:
            raise Pause(arrives)
        if late > 0 or not going():
            return False
        self._guarded(name, work)
        return True

    def _seconds(self) -> float:
        """Seconds to upload the checkpoints that are new since the last call."""
        checkpoints = {path.parent.name for path in Path(self.machine.folder.checkpoints).glob(f"*/{contract.COMPLETE}")}
        fresh = len(checkpoints - self._sent)
        self._sent |= checkpoints
        return fresh * self.machine.uploading_seconds if self.machine.trainer else 0.0

    def _arrive(self, name: str, moment: float, work: Callable[[], object]) -> None:
        if self.machine.works and self.pending.get(name) == moment:
            del self.pending[name]
            self.machine.guarded(lambda: self._guarded(name, work))

    def _guarded(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except (StoreError, OSError) as error:
            self._sent.clear()  # the upload is tried again, and takes its time again
            self.machine.say(f"{name}: {error}")


class AgentClock:
    """The agent's clock: `sleep` raises `Pause`."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline

    def now(self) -> datetime:
        return self.timeline.now()

    def sleep(self, seconds: float) -> None:
        raise Pause(self.timeline.moment + seconds)


class SimulatedImds:
    """The instance metadata service that the agent reads."""

    def __init__(self, machine: AgentHost) -> None:
        self.machine = machine

    def interruption(self) -> datetime | None:
        return self.machine.notice

    def instance(self) -> str:
        return self.machine.instance.id

    def place(self) -> tuple[str, str]:
        return self.machine.instance.instance_type, self.machine.instance.zone


class SimulatedGpus:
    """The machine's GPUs: busy as long as the trainer trains."""

    def __init__(self, machine: AgentHost) -> None:
        self.machine = machine

    def read(self) -> GpuUse | None:
        trainer = self.machine.trainer
        busy = trainer is not None and not trainer.hung and not trainer.left
        return GpuUse(90.0 if busy else 0.0, 20.0)

    def fault(self) -> Fault | None:
        trainer, struck = self.machine.trainer, self.machine.fate.strike is Strike.HARDWARE
        return (
            Fault("GPU 0: 1 uncorrectable memory errors since it was started") if struck and trainer is not None and trainer.left else None
        )


class SimulatedMetrics:
    """The agent's CloudWatch metrics, which nothing here reads."""

    def publish(self, values: Mapping[Metric, float]) -> None:
        """Drop the values."""
