"""Follow a run until it is over, and report its state each time that has changed."""

from collections.abc import Callable
from datetime import timedelta

from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.errors import Interrupted, LabError
from llmlab.ops.run_status import Run
from llmlab.ops.runs import detail

EVERY_SECONDS = 3
GRACE = timedelta(hours=24)
"""Time to wait beyond the hours that a run may use: for the time between attempts, in which nothing is paid."""


def follow(aws: Aws, run: str, clock: Clock, changed: Callable[[Run], None]) -> Run:
    """Wait for the end of a run; the run as it ended. `changed` is called with each new state.

    Raises:
        LabError: the run is still not over a day after its hours would have been used up.
        Interrupted: Ctrl-C; the run goes on.
    """
    try:
        return _follow(aws, run, clock, changed)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted; {run} goes on", f"llmlab status {run} --watch") from stop


def _follow(aws: Aws, run: str, clock: Clock, changed: Callable[[Run], None]) -> Run:
    seen: Run | None = None
    limit = None
    while True:
        current = detail(aws, run, clock.now())
        if seen is None or _face(current.run) != _face(seen):
            changed(current.run)
        seen = current.run
        if seen.state.final:
            return seen
        hours = current.attempts[-1].max_hours if current.attempts else current.spec.max_hours
        limit = limit or clock.now() + timedelta(hours=hours) + GRACE
        if clock.now() > limit:
            raise LabError(f"waited for the end of {run} until {limit:%Y-%m-%d %H:%M} UTC; it is {seen.state}", f"llmlab status {run}")
        clock.sleep(EVERY_SECONDS)


def _face(run: Run) -> tuple[object, ...]:
    """The fields of a run whose change is reported."""
    return run.state, run.attempt, run.phase, run.step, run.loss, run.reward, run.margin, run.checkpoint
