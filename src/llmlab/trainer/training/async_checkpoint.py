"""What a checkpoint holds, and how it is written while training goes on.

The trainer stops for a copy of what learns and of the optimizer's two moments; a thread writes, syncs and publishes it. One at a time:
the next save waits for the one before. Nothing random is in it, because a step's random numbers follow from seed and step.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from llmlab.contract import CHECKPOINT_STATE as STATE, METRICS_FILE, checkpoint_name
from llmlab.trainer.training import checkpoints
from llmlab.trainer.training.trainable_state import Named, TrainableState

OPTIMIZER = "optimizer.safetensors"
BEST = "best.safetensors"


@dataclass
class TrainerState:
    """How far a training is: a checkpoint's state without its tensors."""

    step: int = 0
    tokens: int = 0
    best_step: int = 0
    best_loss: float | None = None
    worse: int = 0
    """Evaluations since the best one."""
    owes_evaluation: bool = False
    """Whether this step's was put off to leave sooner."""
    skipped: int = 0
    """Steps left out for a bad loss."""
    unmoved: int = 0
    """Steps in a row after which the optimizer did not move: their gradients were no numbers, or they were left out."""
    moves: int | None = None
    """How often the optimizer has moved; None in checkpoints that do not say."""
    dtype: str = ""
    """The number format that it was trained in last, by torch's name; "" in checkpoints that do not say."""
    losses: list[float] = field(default_factory=list)
    """The newest losses, by which a jump is known."""
    scaler: dict[str, Any] = field(default_factory=dict)
    packed: bool | None = None
    """Whether rows were packed, which decides where dropout falls; None in checkpoints that do not say."""


def read_state(checkpoint: Path) -> TrainerState:
    kept = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return TrainerState(**{attribute.name: kept[attribute.name] for attribute in fields(TrainerState) if attribute.name in kept})


def read_best(checkpoint: Path) -> Named | None:
    """The best weights so far, by the names of the model's parameters."""
    path = checkpoint / BEST
    return load_file(path) if path.is_file() else None


def read_optimizer(checkpoint: Path) -> Named:
    """What `optimizers.take` took."""
    return load_file(checkpoint / OPTIMIZER)


class Saver:
    """Writes checkpoints aside and in the background."""

    def __init__(self, folder: Path, keep: int, say: Callable[[str], None]) -> None:
        self.folder, self.keep, self.say = folder, keep, say
        self.staging = folder / checkpoints.STAGING
        self._best_file: Path | None = None
        self._best_step = -1
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        shutil.rmtree(self.staging, ignore_errors=True)

    def save(
        self, state: TrainerState, trained: TrainableState, optimizer: dict[str, Tensor], best: Named | None, metrics: Path, began: float
    ) -> None:
        """Hand over copies; `began` is when training stopped for them."""
        self.finish()
        text = json.dumps(asdict(state))
        rows = metrics.read_bytes() if metrics.is_file() else b""
        self._writing = self._pool.submit(
            self._write, state.step, state.best_step, text, trained, optimizer, best, rows, time.perf_counter() - began
        )

    def finish(self) -> None:
        """Wait until what was handed over is on the disk; what went wrong there is raised here."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        self.finish()
        self._pool.shutdown()

    def _write(
        self,
        step: int,
        best_step: int,
        state: str,
        trained: TrainableState,
        optimizer: dict[str, Tensor],
        best: Named | None,
        rows: bytes,
        stall: float,
    ) -> None:
        began = time.perf_counter()
        staged = self.staging / checkpoint_name(step)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        trained.save(staged)
        save_file(optimizer, staged / OPTIMIZER)
        if best is not None:
            self._best(best_step, best, staged / BEST)
        (staged / METRICS_FILE).write_bytes(rows)
        (staged / STATE).write_text(state, encoding="utf-8")
        final = checkpoints.publish(staged, self.folder, step)
        if best is not None:
            self._best_file = final / BEST
        checkpoints.keep_newest(self.folder, self.keep, step, best=best_step)
        self.say(f"saved {checkpoint_name(step)} in {time.perf_counter() - began:.2f} s, training waited {stall:.2f} s")

    def _best(self, step: int, best: Named, path: Path) -> None:
        """The best weights are the same file in every checkpoint until there are better ones."""
        before = self._best_file
        if before is not None and before.is_file() and self._best_step == step:
            os.link(before, path)
        else:
            save_file(best, path)
        self._best_step = step
