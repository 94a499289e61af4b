"""One bar for a whole run: boot, data, loading, training, upload. How far it is, as a share, and as a line of text."""

import re
from typing import TYPE_CHECKING

from llmlab.commands.words import CENT, dollars, duration
from llmlab.contract import RunState

if TYPE_CHECKING:
    from llmlab.ops.run_state import Run

STAGES = {
    "": ("boot and image", 0.0, 0.1),
    "preparing": ("data and model", 0.1, 0.15),
    "loading": ("loading", 0.15, 0.18),
    "tokenizing": ("tokenizing", 0.18, 0.2),
    "training": ("training", 0.2, 0.95),
    "evaluating": ("evaluating", 0.2, 0.95),
    "saving": ("saving", 0.2, 0.95),
    "finished": ("upload", 0.95, 1.0),
    "uploading": ("upload", 0.95, 1.0),
}
"""Phase of the heartbeat → what it is called, and its share of the bar: of what is not counted, a usual one."""
WIDTH = 16
STEP = re.compile(r"step (\d+)/(\d+)")


def stage(run: "Run") -> str:
    return STAGES.get(run.phase if run.state is RunState.RUNNING else "", STAGES["training"])[0]


def share(run: "Run") -> float:
    """How much of the run is done, from 0 to 1."""
    if run.state.final:
        return 1.0
    _, begin, end = STAGES.get(run.phase if run.state is RunState.RUNNING else "", STAGES["training"])
    return begin + (end - begin) * min(1.0, (run.step or 0) / run.total_steps) if run.total_steps and begin < 0.95 else begin


def share_of_words(words: str) -> float | None:
    """The same of a line that `run_screens.progress_line` has written, None for a line of another kind."""
    head, found = words.partition(",")[0], STEP.search(words)
    if not head.startswith(("starting", "running", "succeeded", "failed", "stopped", "interrupted", "pending")):
        return None
    if not head.startswith(("running", "starting", "pending", "interrupted")):
        return 1.0
    phase = head.partition("(")[2].rstrip(")") or ("training" if head == "running" else "")
    _, begin, end = STAGES.get(phase, STAGES[""])
    return begin + (end - begin) * int(found[1]) / int(found[2]) if found and int(found[2]) and phase in STAGES and begin < 0.95 else begin


def bar(done: float, width: int = WIDTH) -> str:
    """`━━━━━━━─────────  30 %`."""
    full = round(width * max(0.0, min(1.0, done)))
    return f"{'━' * full}{'─' * (width - full)} {done:4.0%}"


def line(run: "Run") -> str:
    """The bar with what it stands at: stage, step, loss, dollars, what is left."""
    parts = [
        stage(run) + (f", attempt {run.attempt}" if (run.attempt or 0) > 1 else ""),
        f"{run.step or 0}/{run.total_steps}" if run.total_steps else "",
        f"loss {run.loss:.3f}" if run.loss is not None else "",
        dollars(run.cost) if run.cost and run.cost >= CENT / 100 else "",
        f"{duration(run.eta_seconds)} left" if run.eta_seconds else "",
    ]
    return f"{bar(share(run))}  {' · '.join(filter(None, parts))}"
