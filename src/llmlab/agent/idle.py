"""Whether the training goes on: some GPU works, or the trainer shows something new."""

from dataclasses import dataclass
from datetime import datetime

from llmlab.agent.gpu import GpuUse
from llmlab.contract import Progress

BUSY_PERCENT = 5.0
"""Mean use of all GPUs from which on they count as working; a machine that shows none has 0."""


@dataclass
class Activity:
    """What was last seen to go on. `minutes` is how long nothing may, 0 for ever."""

    minutes: float
    last: datetime
    progress: Progress | None = None

    def look(self, progress: Progress | None, use: GpuUse | None, now: datetime) -> None:
        """Any difference in the progress counts: a step, a phase, or what the trainer counts within one."""
        if progress != self.progress or (use is not None and use.percent >= BUSY_PERCENT):
            self.last = now
        self.progress = progress

    def idle_minutes(self, now: datetime) -> float:
        return (now - self.last).total_seconds() / 60

    def stalled(self, now: datetime) -> bool:
        return 0 < self.minutes <= self.idle_minutes(now)

    def words(self, use: GpuUse | None, now: datetime) -> str:
        """What a user reads about a training that has stalled."""
        step = f"at step {self.progress.step} of {self.progress.total_steps}, {self.progress.phase}" if self.progress else "before it began"
        gpus = f"the GPUs at {use.percent:.0f} %" if use else "no GPU to be seen"
        return f"nothing moved for {self.idle_minutes(now):.0f} minutes {step}, with {gpus}"
