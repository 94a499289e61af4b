"""How a training ended, in one word and one sentence, from everything that is known about it."""

import re
from dataclasses import dataclass

from llmlab.contract import EndReason, Outcome, Request, TrainerExit

DETAIL_LENGTH = 400


@dataclass(frozen=True)
class TrainingExit:
    """What the host saw: the container's exit code, and whether the kernel killed it for memory."""

    code: int
    killed_for_memory: bool = False

    @staticmethod
    def parse(text: str) -> "TrainingExit | None":
        """The content of the `training_exit` file; None while it is not there or not whole."""
        match = re.fullmatch(r"(-?\d+) (true|false)\s*", text)
        return TrainingExit(int(match[1]), match[2] == "true") if match else None


@dataclass(frozen=True)
class Verdict:
    reason: EndReason
    detail: str = ""
    hint: str = ""


def judge(end: TrainingExit | None, request: Request | None, outcome: Outcome | None, last_words: str = "") -> Verdict:
    """The end reason. `end` is None when the trainer had not left in time.

    A request explains any end but success: a trainer that dies on its way out was still stopped by the user. Without one, the trainer's
    own word counts as long as its exit code does not contradict it.
    """
    if end is not None and end.code == TrainerExit.COMPLETED:
        return Verdict(EndReason.COMPLETED, outcome.detail if outcome else "")
    if request is not None:
        if end is None:
            return Verdict(request.reason, "the trainer did not save in time, earlier checkpoints count")
        if end.code == TrainerExit.STOPPED_ON_REQUEST:
            return Verdict(request.reason, outcome.detail if outcome else "")
        return Verdict(request.reason, f"the trainer ended with exit code {end.code} before it had saved, earlier checkpoints count")
    if end is None:
        return Verdict(EndReason.TRAINING_ERROR, "the trainer did not end")
    reason = TrainerExit.reason(end.code, killed_for_memory=end.killed_for_memory)
    if end.killed_for_memory:
        return Verdict(reason, "the machine ran out of memory and killed the trainer")
    if outcome is not None and outcome.reason.state is reason.state:
        return Verdict(outcome.reason, outcome.detail, outcome.hint)
    if end.code > 128:
        return Verdict(reason, f"the trainer was killed by signal {end.code - 128}")
    return Verdict(reason, last_words or f"the trainer ended with exit code {end.code}")


def last_words(log: str) -> str:
    """The last line of a log that says something, as the detail of a marker."""
    lines = [line.strip() for line in log.splitlines()]
    return next((line.rstrip(".")[:DETAIL_LENGTH] for line in reversed(lines) if line), "")
