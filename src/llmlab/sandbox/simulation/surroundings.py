"""What an agent has around it on a simulated machine: time for its work beside the watch, a clock, IMDS, GPUs and a place for numbers."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from llmlab import contract
from llmlab.agent.gpu import Fault, GpuUse
from llmlab.agent.store import StoreError
from llmlab.contract import Metric, WorkFolder
from llmlab.sandbox.simulation.compute import SimulatedInstance
from llmlab.sandbox.simulation.failure import Pause
from llmlab.sandbox.simulation.timeline import Timeline
from llmlab.sandbox.simulation.trainer import Trainer
from llmlab.sandbox.simulation.weather import InstanceFault, Strike


class AgentHost(Protocol):
    """The machine, as far as they need it."""

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
    """The agent's work beside its watch, at the time that it would take. What comes last is waited for by `Pause`."""

    def __init__(self, machine: AgentHost) -> None:
        self.machine = machine
        self.pending: dict[str, float] = {}
        self.last: tuple[float, float] | None = None
        """Since when the last upload is on its way, and how long it takes."""
        self._sent: set[str] = set()

    def forget(self) -> None:
        """The agent has crashed, and what it did beside its watch with it."""
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
        """The time that what has come since the last look takes to upload."""
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
            self._sent.clear()  # it tries again, which takes its time again
            self.machine.say(f"{name}: {error}")


class AgentClock:
    """The agent's clock: to sleep on it is to be left."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline

    def now(self) -> datetime:
        return self.timeline.now()

    def sleep(self, seconds: float) -> None:
        raise Pause(self.timeline.moment + seconds)


class SimulatedImds:
    """IMDS."""

    def __init__(self, machine: AgentHost) -> None:
        self.machine = machine

    def interruption(self) -> datetime | None:
        return self.machine.notice

    def instance(self) -> str:
        return self.machine.instance.id

    def place(self) -> tuple[str, str]:
        return self.machine.instance.instance_type, self.machine.instance.zone


class SimulatedGpus:
    """Busy as long as the trainer trains."""

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
    """CloudWatch's, which nothing here reads."""

    def publish(self, values: Mapping[Metric, float]) -> None:
        """Nobody looks."""
