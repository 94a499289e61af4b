"""Detects a training that stalls (no GPU works, and the trainer reports nothing new), and a GPU that has failed."""

from dataclasses import dataclass, field
from datetime import datetime

from llmlab.agent.gpu import Fault, Gpus, GpuUse
from llmlab.clock import Clock
from llmlab.contract import EndReason, Progress

BUSY_PERCENT = 5.0
"""Mean use of all GPUs from which on they count as working; a machine that shows none has 0."""
SILENT_SECONDS = 60.0
"""GPUs that have not been read for so long do not answer."""


@dataclass
class StallDetector:
    """Detects a stalled run: no progress and idle GPUs for `minutes`, 0 for never."""

    gpus: Gpus
    minutes: float
    clock: Clock
    progress: Progress | None = None
    _use: GpuUse | None = None
    _fault: Fault | None = None
    _read: datetime = field(init=False)
    _moved: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start counting: the training may begin now, and the time before does not count."""
        self._read = self._moved = self.clock.now()

    def read(self) -> None:
        """Read the GPUs; a GPU that hangs never answers, so this runs beside the agent's watch."""
        self._use, self._fault = self.gpus.read(), self.gpus.fault()
        self._read = self.clock.now()

    def look(self, progress: Progress | None) -> None:
        """Note the trainer's progress. Any difference counts: a step, a phase, or the activity within one."""
        if progress != self.progress or (self.use is not None and self.use.percent >= BUSY_PERCENT):
            self._moved = self.clock.now()
        self.progress = progress

    @property
    def use(self) -> GpuUse | None:
        """GPU use as last read; None when that is too long ago."""
        return None if self._silent else self._use

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the GPUs."""
        return self._fault or (Fault("the GPUs do not answer", certain=False) if self._silent else None)

    @property
    def stalled(self) -> bool:
        return 0 < self.minutes <= self._idle_minutes

    @property
    def broken(self) -> bool:
        """Whether a GPU has failed; one that only does not answer counts when the training has stalled too."""
        return self.fault is not None and (self.fault.certain or self.stalled)

    def words(self, reason: EndReason) -> str:
        """What a user reads about why a training is ended for its machine or for doing nothing; "" for other reasons."""
        if reason is EndReason.HARDWARE_FAILED and self.fault:
            return self.fault.says
        if reason is not EndReason.STALLED:
            return ""
        step = f"at step {self.progress.step} of {self.progress.total_steps}, {self.progress.phase}" if self.progress else "before it began"
        gpus = f"the GPUs at {self.use.percent:.0f} %" if self.use else "no GPU to be seen"
        minutes = round(self._idle_minutes)
        return f"nothing moved for {minutes} minute{'' if minutes == 1 else 's'} {step}, with {gpus}"

    @property
    def _silent(self) -> bool:
        return (self.clock.now() - self._read).total_seconds() > SILENT_SECONDS

    @property
    def _idle_minutes(self) -> float:
        return (self.clock.now() - self._moved).total_seconds() / 60
