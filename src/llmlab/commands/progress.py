"""The progress bar of a whole run: boot, data, loading, training, upload, as a share and as a line of text."""

import re
from typing import TYPE_CHECKING

from llmlab.commands.formatting import CENT, dollars, duration
from llmlab.contract import RunState

if TYPE_CHECKING:
    from llmlab.ops.run_status import Run

UPLOAD = 0.95
"""Where the bar stands when the training is done."""
STAGES = {
    "": ("boot and image", 0.0, 0.1),
    "preparing": ("data and model", 0.1, 0.15),
    "loading": ("loading", 0.15, 0.18),
    "tokenizing": ("tokenizing", 0.18, 0.2),
    "training": ("training", 0.2, UPLOAD),
    "evaluating": ("evaluating", 0.2, UPLOAD),
    "saving": ("saving", 0.2, UPLOAD),
    "finished": ("upload", UPLOAD, 1.0),
    "uploading": ("upload", UPLOAD, 1.0),
}
"""Phase of the heartbeat → its label, and where on the bar it begins and ends; phases without a count have a typical share."""
WIDTH = 16
STEP = re.compile(r"step (\d+)/(\d+)")


def stage(run: "Run") -> str:
    return _stage(run)[0]


def _stage(run: "Run") -> tuple[str, float, float]:
    return STAGES.get(run.phase if run.state is RunState.RUNNING else "", STAGES["training"])


def _within(begin: float, end: float, step: int, total: int) -> float:
    """The position on the bar within a stage: only stages before the upload are counted in steps."""
    return begin + (end - begin) * min(1.0, step / total) if total and begin < UPLOAD else begin


def share(run: "Run") -> float:
    """How much of the run is done, from 0 to 1."""
    if run.state.final:
        return 1.0
    _, begin, end = _stage(run)
    return _within(begin, end, run.step or 0, run.total_steps or 0)


def share_of_words(words: str) -> float | None:
    """Parse the share from a line of `run_screens.progress_line`, None for any other line."""
    head, match = words.partition(",")[0], STEP.search(words)
    if not head.startswith(("starting", "running", "succeeded", "failed", "stopped", "interrupted", "pending")):
        return None
    if not head.startswith(("running", "starting", "pending", "interrupted")):
        return 1.0
    phase = head.partition("(")[2].rstrip(")") or ("training" if head == "running" else "")
    _, begin, end = STAGES.get(phase, STAGES[""])
    return _within(begin, end, int(match[1]), int(match[2])) if match and phase in STAGES else begin


def bar(done: float, width: int = WIDTH) -> str:
    """Draw a bar, as `━━━━━━━─────────  30 %`."""
    full = round(width * max(0.0, min(1.0, done)))
    return f"{'━' * full}{'─' * (width - full)} {done:4.0%}"


def line(run: "Run") -> str:
    """The bar of a run with its stage, step, reward or loss, cost and time left."""
    parts = [
        stage(run) + (f", attempt {run.attempt}" if (run.attempt or 0) > 1 else ""),
        f"{run.step or 0}/{run.total_steps}" if run.total_steps else "",
        f"reward {run.reward:.3f}" if run.reward is not None else f"loss {run.loss:.3f}" if run.loss is not None else "",
        dollars(run.cost) if run.cost and run.cost >= CENT / 100 else "",
        f"{duration(run.eta_seconds)} left" if run.eta_seconds else "",
    ]
    return f"{bar(share(run))}  {' · '.join(filter(None, parts))}"
