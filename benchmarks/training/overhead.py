"""What a run costs besides training: imports, loading, tokenizing, the last save, for 10,000 examples; each phase as the agent sees it.

The trainer writes its phase into the control folder; it is read here as the agent reads it, every few milliseconds.
"""

import json
from pathlib import Path

from benchmarks.training import assets, ours
from benchmarks.training.contest import wait_for_quiet
from llmlab.contract import WorkFolder

ROWS = 10_000
STEPS = 2
RUNS = 3
MOST_SECONDS = 20
TRAINING = "training"


class Phases:
    """Seconds by phase. What comes before the first is Python's start and the imports."""

    def __init__(self, work: WorkFolder) -> None:
        self.file = Path(work.progress)
        self.now = "start and imports"
        self.since = 0.0
        self.seconds: dict[str, float] = {}

    def look(self, wall: float) -> None:
        try:
            phase = str(json.loads(self.file.read_bytes())["phase"])
        except (OSError, ValueError):
            return
        if phase != self.now:
            self.turn(phase, wall)

    def turn(self, phase: str, wall: float) -> None:
        self.seconds[self.now] = self.seconds.get(self.now, 0.0) + wall - self.since
        self.now, self.since = phase, wall


def measure(peers: Path, scratch: Path) -> list[str]:
    """Print the phases of the quickest of `RUNS`; the result is what is not met."""
    made = assets.make(peers / "assets", assets.SMALL, ROWS)
    steps, phases = min((one_run(made, scratch) for _ in range(RUNS)), key=lambda run: sum(run[1].values()))
    besides = sum(phases.values())
    print(f"\n### around training, {ROWS:,} chats, the quickest of {RUNS}\n\n| phase | seconds |\n|---|---|")
    for phase, seconds in phases.items():
        print(f"| {'between steps' if phase == TRAINING else phase} | {seconds:.2f} |")
    print(f"| all but the {STEPS} steps, which took {steps:.2f} | {besides:.2f} (limit {MOST_SECONDS}) |", flush=True)
    return [f"overhead: {besides:.1f} s around training, at most {MOST_SECONDS} wanted"] if besides > MOST_SECONDS else []


def one_run(made: Path, scratch: Path) -> tuple[float, dict[str, float]]:
    """Seconds of the steps, and of each phase without them."""
    wait_for_quiet()
    work = ours.work_folder(scratch / "overhead", made, "chat", {**ours.RECIPE, "max_steps": STEPS})
    phases = Phases(work)
    ended = ours.run(work, phases.look)
    phases.turn("gone", ended.wall)
    steps = sum(row["seconds"] for row in ours.metrics(work))
    phases.seconds[TRAINING] -= steps
    return steps, phases.seconds
