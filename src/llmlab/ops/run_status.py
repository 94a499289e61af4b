"""The state of a run, derived from EC2, the markers, the attempts and the heartbeat: pure functions.

State is derived from EC2 and the markers together, never from the heartbeat alone: a marker ends the run, an instance shows that it is
live, and the heartbeat only tells an instance that prepares from one that trains. `derive` is that rule, and nothing else is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Heartbeat, Marker, Progress, RunState, Spec, typed
from llmlab.lifecycle.create_fleet import VISIBLE_SECONDS
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import Ended
from llmlab.ops import attempt_spending
from llmlab.ops.attempt_spending import Account, AttemptCost

PREPARING = "preparing"


@dataclass(frozen=True)
class Run:
    """The status of a run. Hours are instance hours over all attempts, cost in US dollars; None where they are not known."""

    run: str
    state: RunState
    name: str | None = None
    """The name that the user gave it, None for a run without one."""
    reason: EndReason | None = None
    detail: str = ""
    hint: str = ""
    attempt: int | None = None
    instance: str = ""
    instance_type: str = ""
    zone: str = ""
    spot: bool | None = None
    phase: str = ""
    step: int | None = None
    total_steps: int | None = None
    objective: str | None = None
    """Of the recipe, None where it was not read: a listing reads that of live runs alone."""
    loss: float | None = None
    reward: float | None = None
    """Mean of the newest step's completions, where the objective has rewards."""
    margin: float | None = None
    """By how much good answers are rewarded above bad ones, where the objective compares them."""
    tokens_per_second: float | None = None
    gpu_percent: float | None = None
    gpu_memory_gib: float | None = None
    checkpoint: int | None = None
    """The newest checkpoint that is whole in S3, 0 before the first."""
    hours: float | None = None
    cost: float | None = None
    eta_seconds: float | None = None
    deadline: datetime | None = None
    ended: datetime | None = None
    heard: datetime | None = None
    """When the machine last wrote its heartbeat."""
    attempts: tuple[AttemptCost, ...] | None = None
    """What each attempt has cost so far."""


def derive(
    reason: EndReason | None, instance_states: Sequence[str], attempt: Attempt | None, end: AttemptEnd | None, heartbeat: Heartbeat | None
) -> RunState:
    """The state of a run.

    `reason` is that of the marker, `instance_states` what EC2 says of the run's instances, the rest belongs to the newest attempt.
    A heartbeat of another attempt says nothing.
    """
    if reason is not None:
        return reason.state
    if "running" in instance_states or "pending" in instance_states:
        training = heartbeat and heartbeat.phase != PREPARING and attempt and heartbeat.attempt == attempt.number
        return RunState.RUNNING if "running" in instance_states and training else RunState.STARTING
    if attempt is None or (not attempt.instance and end is None and attempt.number == 1):
        return RunState.PENDING
    return RunState.INTERRUPTED


def hidden(machines: Sequence[Instance], claims: Sequence[Attempt], ends: Sequence[AttemptEnd], now: datetime) -> str:
    """The instance id of the newest attempt that EC2 does not show yet, because it is so new; "" otherwise."""
    claim = claims[-1] if claims else None
    if claim is None or not claim.instance or any(end.number == claim.number for end in ends):
        return ""
    age = now - contract.parse_timestamp(claim.launched or claim.claimed)
    shown = any(instance.id == claim.instance for instance in machines)
    return "" if shown or age.total_seconds() >= VISIBLE_SECONDS else claim.instance


def finished(run: str, ended: Ended, marker: Marker | None) -> Run:
    """A run that is over, by its line in the listing and, where it was read, its marker."""
    if marker is None:
        return Run(run, ended.reason.state, reason=ended.reason, ended=ended.at, hint=_of_a_listing(run, ended.reason.hint(run)))
    return Run(
        run=run,
        state=marker.reason.state,
        reason=marker.reason,
        detail=marker.detail,
        hint=_of_a_listing(run, marker.command(run)),
        attempt=marker.attempts,
        step=marker.step,
        total_steps=marker.total_steps,
        loss=marker.loss,
        reward=marker.reward,
        margin=marker.margin,
        hours=marker.hours,
        cost=marker.cost,
        ended=contract.parse_timestamp(marker.ended),
    )


def _of_a_listing(run: str, hint: str) -> str:
    """A listing reads no spec, so it cannot say which launch would be another of this run: its own screen can."""
    return f"llmlab status {run}" if hint.startswith(f"llmlab {typed.LAUNCH} ") else hint


def unreadable(run: str, why: str, machines: Sequence[Instance]) -> Run:
    """A run whose documents cannot be read, by its newest live instance, if it has one."""
    newest = max((instance for instance in machines if instance.alive), key=lambda instance: instance.launched, default=None)
    if newest is None:
        return Run(run, RunState.UNREADABLE, detail=why, hint=f"llmlab status {run}")
    return Run(
        run=run, state=RunState.UNREADABLE, detail=why, hint=f"llmlab stop {run} --now", attempt=newest.attempt, instance=newest.id,
        instance_type=newest.instance_type, zone=newest.zone, spot=newest.spot,
    )  # fmt: skip


def assemble(
    run: str,
    spec: Spec,
    machines: Sequence[Instance],
    claims: Sequence[Attempt],
    ends: Sequence[AttemptEnd],
    heartbeat: Heartbeat | None,
    marker: Marker | None,
    now: datetime,
) -> Run:
    """The run as EC2 and its documents describe it. Pure. A marker of an attempt before the newest does not count any more."""
    claim = claims[-1] if claims else None
    if marker and claim and marker.attempts < claim.number:
        marker = None
    end = next((attempt_end for attempt_end in ends if claim and attempt_end.number == claim.number), None)
    states = [*(instance.state for instance in machines), *(["pending"] if hidden(machines, claims, ends, now) else [])]
    state = derive(marker.reason if marker else None, states, claim, end, heartbeat)
    current = heartbeat if heartbeat and claim and heartbeat.attempt == claim.number else None
    progress = current.progress if current else None
    last = heartbeat.progress if heartbeat else None  # of an earlier attempt: how long the training is does not change
    ended = {attempt_end.number: attempt_end for attempt_end in ends}
    attempt_costs = attempt_spending.by_attempt(Account(spec.charges, claims, ended, marker, current if not state.final else None), now)
    hours, cost = used(attempt_costs, claims)
    reason = marker.reason if marker else end.reason if end and state is RunState.INTERRUPTED else None
    return Run(
        run=run,
        state=state,
        name=spec.name or None,
        reason=reason,
        detail=marker.detail if marker else end.detail if end and reason else "",
        hint=marker.command(run, spec) if marker else _hint(run, state, reason, claim),
        attempt=claim.number if claim else 0,
        instance=claim.instance if claim else "",
        instance_type=claim.instance_type if claim else "",
        zone=claim.zone if claim else "",
        spot=claim.spot if claim else spec.spot,
        phase=current.phase if current and not state.final else "",
        step=marker.step if marker else progress.step if progress else end.step if end else 0,
        total_steps=(marker.total_steps if marker else 0) or (last.total_steps if last else 0) or None,
        objective=objective_of(spec),
        loss=_newest("loss", marker, progress, last),
        reward=_newest("reward", marker, progress, last),
        margin=_newest("margin", marker, progress, last),
        tokens_per_second=progress.tokens_per_second if progress else None,
        gpu_percent=current.gpu_percent if current else None,
        gpu_memory_gib=current.gpu_memory_gib if current else None,
        checkpoint=max(heartbeat.checkpoint if heartbeat else 0, *(attempt_end.step for attempt_end in ends), 0),
        hours=marker.hours if marker and not end else hours,
        cost=marker.cost if marker and not end else cost,
        attempts=attempt_costs,
        eta_seconds=remaining(current, ends) if state is RunState.RUNNING else None,
        deadline=datetime.fromtimestamp(claim.deadline, now.tzinfo) if claim and not state.final else None,
        ended=contract.parse_timestamp(marker.ended) if marker else None,
        heard=contract.parse_timestamp(current.at) if current else None,
    )


def objective_of(spec: Spec) -> str:
    """The objective of a run; older specs name none and mean sft."""
    return str(spec.recipe.get("objective", "sft"))


def _newest(what: str, marker: Marker | None, progress: Progress | None, last: Progress | None) -> float | None:
    """A metric of the newest step (loss, reward or margin): by the marker, or by the heartbeat where there is none or it has no number.

    `progress` is that of the newest attempt, `last` that of any.
    """
    numbers: list[float | None] = [getattr(document, what) for document in ((marker, last) if marker else (progress,)) if document]
    return next((number for number in numbers if number is not None), None)


def used(attempt_costs: Sequence[AttemptCost], claims: Sequence[Attempt]) -> tuple[float | None, float | None]:
    """Instance hours and dollars over all attempts, those before the first claim that is still there included; None before an instance."""
    first = claims[0] if claims else None
    if first is None or (not attempt_costs and first.number == 1):
        return None, None
    hours = first.hours_before + sum(attempt_cost.hours for attempt_cost in attempt_costs)
    return hours, first.cost_before + sum(attempt_cost.cost for attempt_cost in attempt_costs)


def remaining(heartbeat: Heartbeat | None, ends: Sequence[AttemptEnd]) -> float | None:
    """Seconds until the last step at the pace of this attempt, which began where the one before it ended; None before its second step."""
    progress = heartbeat.progress if heartbeat else None
    if heartbeat is None or progress is None:
        return None
    begun = max((end.step for end in ends if end.number < heartbeat.attempt), default=0)
    done = progress.step - begun
    return (progress.total_steps - progress.step) * progress.seconds / done if done > 0 and progress.seconds > 0 else None


def _hint(run: str, state: RunState, reason: EndReason | None, claim: Attempt | None) -> str:
    if state is RunState.PENDING:  # a launch may be waiting for capacity, and another start would be a second one
        return f"llmlab stop {run}" if claim else f"llmlab resume {run}"
    if state is RunState.INTERRUPTED:
        return f"llmlab resume {run}" if reason is None else reason.hint(run)
    return reason.hint(run) if reason else f"llmlab logs {run} -f"
