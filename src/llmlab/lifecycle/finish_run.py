"""The end of an attempt and of its run: what is written, the same from agent, watchdog and laptop."""

from typing import Any, Protocol, TypeVar

from llmlab.contract import AttemptEnd, EndReason, Marker, Progress, RunKeys

T = TypeVar("T")


class Outputs(Protocol):
    """The documents of the outputs bucket, as much as is needed here: `lifecycle.object_store.ObjectStore`, and the agent's store."""

    def load(self, kind: type[T], key: str) -> T | None: ...

    def write_once(self, key: str, document: Any) -> bool: ...


def write_attempt_end(outputs: Outputs, end: AttemptEnd) -> EndReason:
    """Write the end of an attempt unless it has one; returns the reason that counts, which is that of whoever was first."""
    key = RunKeys(end.run).attempt_end(end.number)
    if outputs.write_once(key, end):
        return end.reason
    written = outputs.load(AttemptEnd, key)
    return written.reason if written else end.reason


def marker_of(end: AttemptEnd, *, hours_before: float, cost_before: float, progress: Progress | None = None) -> Marker:
    """The marker of a run that is over with this attempt.

    Args:
        end: how the attempt ended; `step` is its newest complete checkpoint.
        hours_before: instance hours of the attempts before it.
        cost_before: their cost in US dollars.
        progress: the trainer's last words. Of a trainer that was interrupted while it loaded they say step 0, so the checkpoint counts.
    """
    return Marker(
        end.run, end.reason, end.ended, end.number, end.detail,
        step=max(progress.step if progress else 0, end.step),
        total_steps=progress.total_steps if progress else 0,
        loss=progress.loss if progress else None,
        hours=hours_before + end.hours,
        cost=cost_before + end.cost,
        hint_code=end.hint_code,
        hint_values=end.hint_values,
        reward=progress.reward if progress else None,
        margin=progress.margin if progress else None,
    )  # fmt: skip
