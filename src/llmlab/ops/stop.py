"""Stop a run: ask its agent to save and leave, wait, and end the instances that are left, by their tag.

A run without an instance is marked as stopped, so that the watchdog does not start it again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from llmlab import contract
from llmlab.aws import documents, scheduling
from llmlab.aws.session import Aws
from llmlab.clock import Clock, wait_until
from llmlab.contract import EndReason, RunKeys, Stop
from llmlab.lifecycle import instances, one_time_schedules
from llmlab.ops import run_marker
from llmlab.ops.run_status import Run, unreadable
from llmlab.ops.runs import detail
from llmlab.ops.start import alarm

Say = Callable[[str], None]
SAVE_MINUTES = 10
"""How long the machine may take to reach a step boundary, save and upload."""
POWER_OFF_SECONDS = 60
"""How long the instance may take to power itself off after it wrote the run's marker."""


@dataclass(frozen=True)
class Stopped:
    """The run after the stop. `already`: it was over before; `asked`: its agent answered; `terminated`: instances ended from here."""

    run: Run
    already: bool
    asked: bool
    terminated: tuple[str, ...]


def stop(aws: Aws, run: str, clock: Clock, say: Say, *, now: bool = False, by: str = "", limit_minutes: float = SAVE_MINUTES) -> Stopped:
    """End a run; with `now`, without waiting for a checkpoint. One whose documents cannot be read is ended by its tags, without waiting."""
    try:
        current = detail(aws, run, clock.now())
    except documents.Unreadable as error:
        return _stop_unread(aws, run, clock, say, error.message)
    if current.unseen:
        say(f"waiting for EC2 to show {current.unseen}, which was started just now")
        instances.wait_shown(aws.ec2, current.unseen, clock)
    before = current.run
    machines = [instance.id for instance in instances.find(aws.ec2, aws.names, run=run) if instance.alive]
    if before.state.final and not machines:
        _clear_up(aws, before)  # a stop that was cut short may have come no further
        return Stopped(before, already=True, asked=False, terminated=())
    agent_answered = False
    if not before.state.final:
        documents.write(aws, aws.names.outputs_bucket, RunKeys(run).stop, Stop(run, contract.build_timestamp(clock.now()), by))
        if machines and not now:
            agent_answered = _wait_for_agent(aws, run, clock, say, limit_minutes)
    terminated = _end_machines(aws, run, clock, say, wait=agent_answered)
    after = detail(aws, run, clock.now()).run
    if not after.state.final:
        detail_words = "ended before it could save" if machines else "it had no instance"
        scheduling.put(aws, alarm(aws, run, clock), clock)  # no event will tell the watchdog, which tells people and clears up
        run_marker.stopped(aws, after, clock, f"stopped by the user; {detail_words}")
        after = detail(aws, run, clock.now()).run
    _clear_up(aws, after)
    return Stopped(after, already=False, asked=agent_answered, terminated=terminated)


def _stop_unread(aws: Aws, run: str, clock: Clock, say: Say, why: str) -> Stopped:
    """End the instances of a run whose documents cannot be read."""
    say(why)
    terminated = _end_machines(aws, run, clock, say, wait=False)
    return Stopped(unreadable(run, why, ()), already=not terminated, asked=False, terminated=terminated)


def _clear_up(aws: Aws, run: Run) -> None:
    """List a run that its user ended among those that are over, and leave no deadline to come."""
    bucket, over = aws.names.outputs_bucket, RunKeys(run.run).ended(EndReason.STOPPED_BY_USER)
    if run.reason is EndReason.STOPPED_BY_USER and not documents.exists(aws, bucket, over):
        documents.touch(aws, bucket, over)
    for number in range(1, (run.attempt or 0) + 1):
        one_time_schedules.delete(aws.client("scheduler"), aws.names, one_time_schedules.schedule_name(run.run, number))


def _wait_for_agent(aws: Aws, run: str, clock: Clock, say: Say, limit_minutes: float) -> bool:
    """Wait until the run has its marker, or its instance is gone; whether that came within the limit."""
    bucket, keys = aws.names.outputs_bucket, RunKeys(run)
    say(f"asked {run} to save and leave; waiting up to {limit_minutes:g} minutes for it (Ctrl-C leaves the request standing)")
    started = clock.now()
    reported_minutes = 0

    def gone() -> bool:
        nonlocal reported_minutes
        minutes = int((clock.now() - started).total_seconds() // 60)
        if minutes > reported_minutes:
            reported_minutes = minutes
            say(f"still waiting for its checkpoint, {minutes} min")
        return documents.exists(aws, bucket, keys.failure) or documents.exists(aws, bucket, keys.success) or not _alive(aws, run)

    answered = wait_until(gone, clock, limit_seconds=limit_minutes * 60)
    if not answered:
        say(f"no answer within {limit_minutes:g} minutes")
    return answered


def _end_machines(aws: Aws, run: str, clock: Clock, say: Say, *, wait: bool) -> tuple[str, ...]:
    """Let the machines power themselves off when they said they would, end the others by tag, and see them go."""
    if wait and wait_until(lambda: not _alive(aws, run), clock, limit_seconds=POWER_OFF_SECONDS):
        return ()
    alive = _alive(aws, run)
    if not alive:
        return ()
    say(f"ending {', '.join(alive)}")
    instances.terminate(aws.ec2, alive)
    if not instances.wait_terminated(aws.ec2, alive, clock):
        say(f"EC2 has not finished ending {', '.join(alive)} yet; it will")
    return tuple(alive)


def _alive(aws: Aws, run: str) -> list[str]:
    return [instance.id for instance in instances.find(aws.ec2, aws.names, run=run) if instance.alive]
