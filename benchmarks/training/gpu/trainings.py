"""Trainings by the trainer's own entry point in a part's process, on a small model or one that is handed in, and what they left.

No process is started and no library imported for one, so that it takes seconds: the look at the GPU, which is else a process's, is here.
"""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.training import ours
from benchmarks.training.gpu.running import Job
from llmlab import contract
from llmlab.contract import Env, Outcome, Spec, WorkFolder
from llmlab.trainer import cuda_devices
from llmlab.trainer.cuda_devices import Look

ROWS = 32
RECIPE: dict[str, Any] = {
    "model": "lab:bench",
    "max_length": 256,
    "batch_size": 4,
    "accumulate": 2,
    "epochs": 1000,
    "max_steps": 8,
    "learning_rate": 0.01,
    "warmup": 0.0,
    "schedule": "constant",
    "lora": {"rank": 8, "alpha": 16, "dropout": 0.0},
}


class Here:
    """The GPU as this very process sees it."""

    def look(self) -> Look:
        return cuda_devices.seen()

    def device(self, number: int) -> str:
        return f"cuda:{number}"


class Timed(io.StringIO):
    """A training log whose lines know when they were said, in seconds since it was begun."""

    def __init__(self) -> None:
        super().__init__()
        self.began = time.perf_counter()
        self.lines: list[tuple[float, str]] = []

    def write(self, text: str) -> int:
        now = time.perf_counter() - self.began
        self.lines += [(now, line) for line in text.splitlines() if line]
        print(text, end="")  # the part's log keeps it, whatever becomes of the part
        return super().write(text)

    def first(self, words: str) -> float | None:
        """When a line that begins so was said."""
        return next((at for at, line in self.lines if line.startswith(words)), None)


@dataclass(frozen=True)
class Trained:
    """A training that is over, well or badly."""

    work: WorkFolder
    code: int
    log: Timed

    @property
    def outcome(self) -> Outcome:
        return contract.load(Outcome, Path(self.work.outcome).read_bytes())

    @property
    def rows(self) -> list[dict[str, Any]]:
        return ours.metrics(self.work) if Path(self.work.output, contract.METRICS_FILE).is_file() else []

    @property
    def losses(self) -> list[float]:
        return [row["loss"] for row in self.rows]

    @property
    def says(self) -> str:
        """Its losses, or why there are none."""
        if self.code:
            return f"{self.outcome.reason}: {self.outcome.detail}"
        return f"loss {self.losses[0]:.4f} to {self.losses[-1]:.4f} in {len(self.losses)} steps"

    def line(self, words: str) -> str:
        """The line of its log that begins so."""
        return next((line for _, line in self.log.lines if line.startswith(words)), f"nothing was said of {words}")

    @property
    def adapter(self) -> Path:
        return Path(self.work.output, contract.ADAPTER)


def train(job: Job, name: str, assets: Path, recipe: Mapping[str, Any], rows: str = "chat") -> Trained:
    """A new training in a folder of this name."""
    work = ours.work_folder(job.folder / name, assets, rows, {**RECIPE, "device": "cpu" if job.on_cpu else "auto", **recipe})
    return go_on(job, work)


def go_on(job: Job, work: WorkFolder, **changed: Any) -> Trained:
    """The training of a work folder, from its newest checkpoint; with a field of its recipe changed, as another GPU would choose it."""
    from llmlab.trainer.__main__ import main

    if changed:
        spec = contract.load(Spec, Path(work.spec).read_bytes())
        Path(work.spec).write_text(contract.dump(replace(spec, recipe={**spec.recipe, **changed})), encoding="utf-8")
    Path(work.outcome).unlink(missing_ok=True)
    log = Timed()
    code = main({Env.WORK: work.root}, None, log, None if job.on_cpu else Here())
    return Trained(work, code, log)


def small(job: Job) -> Path:
    """Assets of a small model: heads of 64 that share keys on a GPU, as kernels want them, and as little as can be on a CPU."""
    from llmlab.sandbox import examples, model

    place = job.folder / "small"
    if not (place / "chat").is_dir():
        model.make(place / "model", steps=0, hidden=64 if job.on_cpu else 256, layers=2)
        examples.write(place / "chat", rows=ROWS)
    return place
