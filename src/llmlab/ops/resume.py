"""Resume a run from its newest complete checkpoint, as a new attempt with limits of its own.

The run's marker is cleared once the attempt is claimed, and put back when no instance could be started (`start`).
The agent finds the checkpoint.
"""

from dataclasses import dataclass

from llmlab import contract
from llmlab.aws import documents, run_names
from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.contract import COMPLETE, Attempt, EndReason, RunKeys, Spec
from llmlab.errors import Refused, UsageError
from llmlab.lifecycle import billing, instances, pool_order
from llmlab.ops import naming
from llmlab.ops.estimate import START_HOURS
from llmlab.ops.preflight import check_cost, check_hours
from llmlab.ops.runs import Detail, detail
from llmlab.ops.start import LeftBehind, Patience, Say, start


@dataclass(frozen=True)
class Again:
    """Overrides for the new attempt. Hours and dollars are what it and later attempts may use, None for what is left of the old limits."""

    spot: bool | None = None
    fallback_on_demand: bool = False
    max_hours: float | None = None
    max_cost: float | None = None
    wait_minutes: float = 0
    command: str = ""
    """The command line as it was typed."""


@dataclass(frozen=True)
class Resumed:
    """The new attempt, and the step it goes on from (0: from the start)."""

    attempt: Attempt
    step: int
    most_cost: float


@dataclass(frozen=True)
class Prepared:
    """The attempt that would be started, with the most that it may take from now on, wherever it runs."""

    spec: Spec
    attempt: Attempt
    most_hours: float
    most_cost: float


def prepare(aws: Aws, run: str, again: Again, clock: Clock) -> Prepared:
    """Judge whether the run may be started again, and what that may cost; nothing is written.

    Raises:
        Refused: the run is alive, an instance is being asked for, or it has completed.
        UsageError: nothing is left of its hours or dollars and no new limit was given.
    """
    before = detail(aws, run, clock.now())
    _refuse_live(aws, before)
    if before.spec.name:
        naming.check_free(aws, before.spec.name, clock.now(), run)
    attempt = _next(before, again, clock)
    hours = attempt.max_hours - attempt.hours_before
    markets = (True, False) if attempt.spot and (again.fallback_on_demand or before.spec.fallback_on_demand) else (attempt.spot,)
    prices = (pool_order.price(pool, spot=spot) for pool in before.spec.pools for spot in markets)
    dearest = max((price for price in prices if price is not None), default=0.0)
    cost = billing.hourly(before.spec.charges, dearest) * hours
    left = billing.cost_left(attempt.max_cost, attempt.cost_before)
    return Prepared(before.spec, attempt, hours, cost if left is None else min(cost, left))


def resume(aws: Aws, run: str, again: Again, clock: Clock, say: Say) -> Resumed:
    """Start one more attempt of a run.

    Raises:
        Refused: as `prepare`.
        UsageError: as `prepare`.
        NoCapacity: no pool gave an instance; the run is as it was.
    """
    prepared = prepare(aws, run, again, clock)
    spec, attempt = prepared.spec, prepared.attempt
    step = newest_checkpoint(aws, run)
    say(f"going on from checkpoint {step}" if step else "there is no complete checkpoint, so it starts from the beginning")
    patience = Patience(again.fallback_on_demand or spec.fallback_on_demand, again.wait_minutes)
    claimed = bool(spec.name) and naming.claim(aws, spec.name, run, clock)
    try:
        started = start(aws, spec, attempt, clock, say, patience)
    except BaseException as error:
        if claimed and not isinstance(error, LeftBehind):
            run_names.release_newest(aws, spec.name, run)
        raise
    cost = billing.hourly(spec.charges, started.price) * (started.max_hours - started.hours_before)
    return Resumed(started, step, min(cost, billing.cost_left(started.max_cost, started.cost_before) or float("inf")))


def _refuse_live(aws: Aws, before: Detail) -> None:
    run = before.run
    alive = [instance for instance in instances.find(aws.ec2, aws.names, run=run.run) if instance.alive]
    if alive:
        raise Refused(f"{run.run} has an instance: {alive[0].id} is {alive[0].state}", f"llmlab stop {run.run}")
    if before.unseen:
        raise Refused(f"{run.run} has an instance: {before.unseen} was started just now", f"llmlab stop {run.run}")
    if claim := _without_instance(before):
        words = f"attempt {claim.number} of {run.run} was claimed by {claim.by} at {claim.claimed} and has no instance yet"
        raise Refused(words, f"llmlab stop {run.run}")
    if run.reason is EndReason.COMPLETED:
        raise Refused(f"{run.run} has completed; there is nothing to resume", f"llmlab fetch {run.run}")


def _without_instance(before: Detail) -> Attempt | None:
    """The newest attempt while only its claim is known: whoever wrote it may be asking EC2, and another attempt would run beside it."""
    last = before.attempts[-1] if before.attempts else None
    if last is None or last.instance or before.run.state.final or any(end.number == last.number for end in before.ends):
        return None
    return last


def _next(before: Detail, again: Again, clock: Clock) -> Attempt:
    """The claim of the next attempt, with what earlier ones used."""
    last = before.attempts[-1] if before.attempts else None
    number = last.number + 1 if last else 1
    hours_before, cost_before = before.run.hours or 0.0, before.run.cost or 0.0
    if again.max_hours is not None:
        check_hours(again.max_hours)
    check_cost(again.max_cost)
    allowed_hours = last.max_hours if last else before.spec.max_hours
    allowed_cost = last.max_cost if last else before.spec.max_cost
    max_hours = hours_before + again.max_hours if again.max_hours is not None else allowed_hours
    max_cost = cost_before + again.max_cost if again.max_cost is not None else allowed_cost
    used = []
    if max_hours - hours_before < START_HOURS:
        used.append((f"used {hours_before:.1f} of its {allowed_hours:g} hours", "--max-hours 6"))
    if max_cost is not None and max_cost <= cost_before:
        used.append((f"cost {billing.dollars(cost_before)} of its {billing.dollars(allowed_cost or 0)}", "--max-cost 10"))
    if used:
        raise UsageError(
            f"{before.run.run} has {' and '.join(words for words, _ in used)}; give it more",
            f"llmlab resume {before.run.run} {' '.join(option for _, option in used)}",
        )
    spot = before.spec.spot if again.spot is None else again.spot
    _check_start(before, billing.cost_left(max_cost, cost_before), spot=spot)
    return Attempt(
        run=before.run.run,
        number=number,
        claimed=contract.build_timestamp(clock.now()),
        deadline=billing.deadline_of(clock.now(), billing.hours_left(max_hours, hours_before)),
        spot=spot,
        by="resume",
        max_hours=max_hours,
        max_cost=max_cost,
        hours_before=hours_before,
        cost_before=cost_before,
        shrink=last.shrink if last else 1,
        command=again.command,
    )


def _check_start(before: Detail, left: float | None, *, spot: bool) -> None:
    """Check that the dollars that are left pay for the start of an instance at least.

    Raises:
        UsageError: they do not; the hint names an amount that does.
    """
    price = min((price for pool in before.spec.pools if (price := pool_order.price(pool, spot=spot)) is not None), default=0.0)
    start = billing.hourly(before.spec.charges, price) * START_HOURS
    if left is not None and left < start:
        raise UsageError(
            f"{billing.dollars(left)} end before training begins: the start alone takes about {START_HOURS * 60:.0f} minutes, "
            f"{billing.dollars(start)} there",
            f"llmlab resume {before.run.run} --max-cost {max(1, round(start * 10))}",
        )


def newest_checkpoint(aws: Aws, run: str) -> int:
    """The step of the newest checkpoint whose COMPLETE is there, 0 when there is none."""
    prefix = RunKeys(run).checkpoints
    steps = [
        step
        for key in documents.keys_under(aws, aws.names.outputs_bucket, prefix)
        if key.endswith(f"/{COMPLETE}") and (step := contract.parse_checkpoint_name(key.removeprefix(prefix).split("/")[0]))
    ]
    return max(steps, default=0)
