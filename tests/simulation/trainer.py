"""A simulated trainer: it keeps the real one's contract with the agent, file by file, and computes nothing.

It resumes from the newest checkpoint in its folder that has its `COMPLETE`, writes checkpoints under another name, renames them, and
writes `COMPLETE` last; after each step it checks for a stop request, saves, and exits with the code for that. The content of a checkpoint
follows from its step alone, so that anyone can check it.
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from llmlab import contract
from llmlab.contract import ADAPTER, METRICS_FILE, Complete, DataFile, EndReason, LogStream, Outcome, Progress, TrainerExit, WorkFolder
from tests.simulation.timeline import Timeline
from tests.simulation.weather import InstanceFault, Strike


@dataclass(frozen=True)
class Course:
    """The parameters of a training. Times in seconds, those of steps on the slowest pool.

    `save_seconds` is the interval between two saves, `writing_seconds` the time of one, `uploading_seconds` that of its upload.
    """

    steps: int
    step_seconds: float
    save_seconds: float
    loading_seconds: float
    writing_seconds: float
    uploading_seconds: float


PARTS = ("weights", "optimizer")
KEPT = 2
"""How many checkpoints stay on the machine."""
HARDWARE_WORDS = "RuntimeError: CUDA error: uncorrectable ECC error encountered"


def content(part: str, step: int) -> bytes:
    """The content of a checkpoint's file at a step."""
    return f"{part} after step {step}\n".encode()


def holds(folder: Path, step: int) -> bool:
    """Whether a folder holds the complete checkpoint of a step."""
    return all((folder / part).is_file() and (folder / part).read_bytes() == content(part, step) for part in PARTS)


class Trainer:
    """The trainer process of one machine. `alive` tells whether the machine still runs; `soon` wakes its agent in so many seconds."""

    def __init__(
        self,
        course: Course,
        folder: WorkFolder,
        timeline: Timeline,
        fate: InstanceFault,
        speed: float,
        alive: Callable[[], bool],
        soon: Callable[[float], None],
    ) -> None:
        self.course = course
        self.folder = folder
        self.timeline = timeline
        self.fate = fate
        self.step_seconds = course.step_seconds / speed
        self.alive = alive
        self.soon = soon
        self.base = 0
        self.whole = True
        self.began = math.inf
        self.saved = -math.inf
        self.hung = False
        self.left = False
        self.struck = False
        self._written = -math.inf
        self._stop_requested = False
        self._last: int | None = None
        """The step at which the trainer stopped training."""

    # ------------------------------------------------------------ life

    def begin(self) -> None:
        """Load the newest complete checkpoint, then train."""
        checkpoints = Path(self.folder.checkpoints)
        steps = [contract.parse_checkpoint_name(path.parent.name) for path in checkpoints.glob(f"*/{contract.COMPLETE}")]
        self.base = max((step for step in steps if step is not None), default=0)
        self.whole = self.base == 0 or holds(checkpoints / contract.checkpoint_name(self.base), self.base)
        self.began = self.saved = self.timeline.moment + self.course.loading_seconds
        self._plan(self.began, self._save_in_time)
        self._plan(self._moment(self.course.steps), self._finish)
        if self.fate.strike in {Strike.CRASH, Strike.MEMORY, Strike.HANG, Strike.HARDWARE}:
            self._plan(self.began + self.fate.after, self._struck)

    def _plan(self, moment: float, action: Callable[[], None]) -> None:
        """Plan an action, which is skipped if the trainer does not run any more at that moment."""
        self.timeline.at(moment, lambda: None if self.left or self.hung or not self.alive() else action())

    @property
    def step(self) -> int:
        """The number of finished steps."""
        if self._last is not None:
            return self._last
        if self.timeline.moment < self.began:
            return self.base
        return min(self.course.steps, self.base + int((self.timeline.moment - self.began) / self.step_seconds + 1e-9))

    def _moment(self, step: int) -> float:
        """The moment when a step is finished."""
        return self.began + (step - self.base) * self.step_seconds

    def _next_step(self) -> int:
        return min(self.course.steps, self.base if self.timeline.moment <= self.began else self.step + 1)

    # ------------------------------------------------------------ saving

    def _save_in_time(self) -> None:
        """Plan the next save: at the end of the first step after the save interval."""
        steps = math.ceil((self.saved + self.course.save_seconds - self.began) / self.step_seconds - 1e-9)
        if self.base + steps < self.course.steps:
            self._plan(self._moment(self.base + steps), lambda: self._save(self._save_in_time))

    def _save(self, then: Callable[[], None]) -> None:
        """Save a checkpoint, after the save before has finished; then call `then`."""
        if self.timeline.moment < self._written:
            self._plan(self._written, lambda: self._save(then))
            return
        step = self.step
        self.saved = self.timeline.moment
        self._written = self.timeline.moment + self.course.writing_seconds
        part = Path(self.folder.checkpoints) / f"part-{step}"
        part.mkdir(exist_ok=True)
        (part / PARTS[0]).write_bytes(content(PARTS[0], step))
        self._plan(self._written, lambda: self._publish(step, part, then))

    def _publish(self, step: int, part: Path, then: Callable[[], None]) -> None:
        (part / PARTS[1]).write_bytes(content(PARTS[1], step))
        final = part.with_name(contract.checkpoint_name(step))
        if not final.exists():
            part.rename(final)
            files = tuple(DataFile(name, len(content(name, step)), sha256(content(name, step)).hexdigest()) for name in PARTS)
            (final / contract.COMPLETE).write_text(contract.dump(Complete(step, files)), encoding="utf-8")
        else:
            shutil.rmtree(part)
        self._drop_old()
        self.soon(5.0)
        then()

    def _drop_old(self) -> None:
        folders = {step: path for path in Path(self.folder.checkpoints).iterdir() if (step := contract.parse_checkpoint_name(path.name))}
        for step in sorted(folders)[:-KEPT]:
            shutil.rmtree(folders[step])

    # ------------------------------------------------------------ leaving

    def look_for_request(self) -> None:
        """Check for a stop request, as after each step; the trainer saves and exits at the next step."""
        if not self._stop_requested and Path(self.folder.request).exists():
            self._stop_requested = True
            ready = self._moment(self._next_step())
            self._plan(max(ready, self.timeline.moment), self._save_and_leave)

    def _save_and_leave(self) -> None:
        self.stand_still()
        self._save(self._leave)

    def _leave(self) -> None:
        step = self.step
        reason = EndReason.STOPPED_BY_USER  # the agent knows the actual reason, and records it
        self._outcome(Outcome(reason, f"saved at step {step} on request", step=step, total_steps=self.course.steps))
        self._exit(TrainerExit.STOPPED_ON_REQUEST)

    def _finish(self) -> None:
        """Finish the training: a last save, the output, and a successful exit."""
        self._save(self._hand_in)

    def _hand_in(self) -> None:
        adapter = Path(self.folder.output) / ADAPTER
        adapter.mkdir(parents=True, exist_ok=True)
        (adapter / PARTS[0]).write_bytes(content(PARTS[0], self.course.steps))
        (Path(self.folder.output) / METRICS_FILE).write_text(f'{{"step": {self.course.steps}}}\n', encoding="utf-8")
        self._outcome(Outcome(EndReason.COMPLETED, step=self.course.steps, total_steps=self.course.steps))
        self._exit(TrainerExit.COMPLETED)

    def _struck(self) -> None:
        strike, self.struck = self.fate.strike, True
        self.stand_still()
        if strike is Strike.HANG:
            self.hung = True
        elif strike is Strike.MEMORY:
            self._outcome(Outcome(EndReason.OUT_OF_MEMORY, "the GPU ran out of memory", step=self.step, total_steps=self.course.steps))
            self._exit(TrainerExit.OUT_OF_MEMORY)
        else:
            words = HARDWARE_WORDS if strike is Strike.HARDWARE else "ValueError: loss is not a number"
            Path(f"{self.folder.logs}/{LogStream.TRAINING}.log").write_text(f"{words}\n", encoding="utf-8")
            self._exit(TrainerExit.TRAINING_ERROR)

    def stand_still(self) -> None:
        """Stop stepping: no further step is finished."""
        self._last = self.step

    def _outcome(self, outcome: Outcome) -> None:
        Path(self.folder.outcome).write_text(contract.dump(outcome), encoding="utf-8")

    def _exit(self, code: int) -> None:
        self.report()
        self.left = True
        Path(self.folder.training_exit).write_text(f"{code} false\n", encoding="utf-8")
        self.soon(1.0)

    def report(self) -> None:
        """Write the progress document, unless the trainer hangs or has exited."""
        if self.hung or self.left:
            return
        step, seconds = self.step, max(0.0, self.timeline.moment - self.began)
        phase = "loading" if self.timeline.moment < self.began else "training"
        progress = Progress(
            phase, step, self.course.steps, loss=1.0, tokens=step * 1000, tokens_per_second=1000 / self.step_seconds, seconds=seconds
        )
        Path(self.folder.progress).write_text(contract.dump(progress), encoding="utf-8")
