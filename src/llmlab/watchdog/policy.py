"""The next action for a run. Pure: computed from the run's documents, EC2's description of its instances, and the time.

The rules, in order: a run with its marker is over; a run with a living instance goes on; else its newest attempt has ended, for the reason
the agent wrote, or for the one EC2 gives. Interrupted, lost and broken attempts are followed by another while hours, cost and attempts
last, and so is, once, one that ran out of memory. An attempt that finished training but wrote no SUCCESS is resumed too: only an agent
that has the files can verify and upload them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Spec
from llmlab.lifecycle import billing, refusals
from llmlab.lifecycle.create_fleet import VISIBLE_SECONDS
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import WATCHDOG
from llmlab.watchdog import capacity, usage
from llmlab.watchdog.capacity import LEAST_HOURS, Ask, Prices
from llmlab.watchdog.run_snapshot import ENDING, RunSnapshot

LAUNCH_SECONDS = 600
"""How long an attempt that the watchdog claimed may be without an instance: no call of the function lives that long, and an instance that
it requested is visible by then."""
DEADLINE_SECONDS = 90
"""An instance that was terminated this close to its deadline, or later, counts as terminated by the deadline."""
WHY_SECONDS = 60
"""When to check again an ending instance for which EC2 gives no reason yet."""
FRUITLESS = 3
"""Attempts lost in a row at the same step, after which the run is not resumed again."""
MACHINES = 2
"""Instances whose GPUs failed in a row at the same step: after that the image, the driver or the recipe is suspected."""
LOST = {EndReason.INSTANCE_LOST, EndReason.HARDWARE_FAILED}
INTERRUPTED = {"Server.SpotInstanceTermination", "Server.SpotInstanceShutdown"}
NO_CAPACITY = {"Server.InsufficientInstanceCapacity"}
SPOT_ROLE = "role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
"""The role that the key of an encrypted disk must allow to use it: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/service-linked-roles-spot-instance-requests.html"""
BY_API = "Client.UserInitiatedShutdown"


@dataclass(frozen=True)
class Wait:
    """Nothing to do now; `until` is when to decide again, None if no time is known."""

    why: str
    until: datetime | None = None


@dataclass(frozen=True)
class Mark:
    """The run is over: write its marker. `end` is the newest attempt's end, to be written where it is missing."""

    end: AttemptEnd
    reason: EndReason
    detail: str


@dataclass(frozen=True)
class Resume:
    """Start another attempt after `end`, with the fleet requests `asks`."""

    end: AttemptEnd
    attempt: Attempt
    asks: tuple[Ask, ...]


Decision = Wait | Mark | Resume


def decide(snapshot: RunSnapshot, checkpoint: int, prices: Prices) -> Decision:
    """Decide the next action for a run. `checkpoint` is the newest complete step, `prices` are current spot prices by (type, zone)."""
    if snapshot.records.over:
        return Wait("it is over")
    if snapshot.live:
        return Wait("an instance is at it")
    end = snapshot.end
    if end is None:
        if coming := _still_coming(snapshot):
            return coming
        end = _end(snapshot, checkpoint)
    return _after(snapshot, end, prices)


def _still_coming(snapshot: RunSnapshot) -> Wait | None:
    """A wait for an attempt that may still get its instance, or whose end EC2 does not explain yet; None otherwise."""
    attempt, instance = snapshot.newest, snapshot.mine
    claimed = contract.parse_timestamp(attempt.claimed)
    if instance is not None:
        unexplained = instance.state == ENDING and not instance.state_reason
        return Wait("EC2 does not say yet why its instance ends", snapshot.now + timedelta(seconds=WHY_SECONDS)) if unexplained else None
    if attempt.instance:
        wait = Wait("its instance is not visible yet", _launched(attempt) + timedelta(seconds=VISIBLE_SECONDS))
    elif attempt.by == WATCHDOG:
        wait = Wait("its instance is being asked for", claimed + timedelta(seconds=LAUNCH_SECONDS))
    else:  # a user may be waiting for capacity at the command line
        wait = Wait("its instance is being asked for", datetime.fromtimestamp(attempt.deadline, snapshot.now.tzinfo))
    return wait if wait.until and snapshot.now < wait.until else None


def _launched(attempt: Attempt) -> datetime:
    return contract.parse_timestamp(attempt.launched or attempt.claimed)


def _end(snapshot: RunSnapshot, checkpoint: int) -> AttemptEnd:
    """The end of an attempt for which the agent wrote none."""
    attempt, instance, now, spec = snapshot.newest, snapshot.mine, snapshot.now, snapshot.records.spec
    if instance is None and not attempt.instance:
        reason = EndReason.NO_CAPACITY if attempt.by == WATCHDOG else EndReason.INSTANCE_LOST
        detail = "its start was cut short before it had an instance"
        return AttemptEnd(attempt.run, attempt.number, reason, contract.build_timestamp(now), detail, checkpoint)
    started = instance.launched if instance else _launched(attempt)
    gone = min(moment for moment in (instance.ended if instance else None, now) if moment)
    price = usage.price_at_start(spec, attempt, instance) if instance else attempt.price
    interrupted = instance is not None and instance.state_reason in INTERRUPTED
    used = billing.attempt_costs(spec.charges, started, gone, price, snapshot.history)
    costs = billing.attempt_costs(spec.charges, started, gone, price, snapshot.history, interrupted=interrupted)
    ended = instance.ended if instance and instance.ended else now  # EC2's time, even where our clock is behind it
    reason, detail = _why(attempt, instance, ended, attempt.cost_before + billing.total(used))
    hours = billing.attempt_hours(started, gone)
    code, values = _hint(instance, spec) if reason is EndReason.SETUP_FAILED and instance else ("", {})
    return AttemptEnd(
        attempt.run, attempt.number, reason, contract.build_timestamp(gone), detail, checkpoint, hours, billing.total(costs), costs,
        hint_code=code, hint_values=values,
    )  # fmt: skip


def _hint(instance: Instance, spec: Spec) -> tuple[str, dict[str, str]]:
    """Hint code and values for an instance that could not start; values that the hint does not need are ignored."""
    values = {"region": spec.region, "spot_role": f"arn:aws:iam::{spec.account}:{SPOT_ROLE}"}
    return refusals.hint_code(instance.state_reason), values


def _why(attempt: Attempt, instance: Instance | None, gone: datetime, spent: float) -> tuple[EndReason, str]:
    """Why an instance is gone, from EC2's reason and from the attempt's limits."""
    cause = instance.state_reason if instance else ""
    if cause in INTERRUPTED:
        return EndReason.SPOT_INTERRUPTED, "AWS took the spot instance back"
    if cause in NO_CAPACITY:
        return EndReason.NO_CAPACITY, "EC2 could not start the instance for lack of capacity"
    if gone.timestamp() >= attempt.deadline - DEADLINE_SECONDS:
        return EndReason.TIMED_OUT, "the deadline came before the trainer had left"
    if attempt.max_cost is not None and spent >= attempt.max_cost:
        return EndReason.COST_REACHED, "the cost limit was reached before the trainer had left"
    if cause == BY_API:
        return EndReason.STOPPED_BY_USER, "the instance was terminated by hand"
    words = refusals.sentence(cause, instance.state_message if instance else "")
    if cause in refusals.DEATHS:
        return EndReason.SETUP_FAILED, f"{refusals.DEATHS[cause]}; EC2 says: {words}"
    return EndReason.INSTANCE_LOST, f"the instance vanished without a word{f': {words}' if words else ''}"


def _after(snapshot: RunSnapshot, end: AttemptEnd, prices: Prices) -> Decision:
    """The decision after the newest attempt has ended."""
    records, newest, now = snapshot.records, snapshot.newest, snapshot.now
    smaller = end.reason is EndReason.OUT_OF_MEMORY and contract.may_shrink(records.spec.recipe, newest.shrink)
    if not (smaller or end.reason.resumable or end.reason in {EndReason.NO_CAPACITY, EndReason.COMPLETED}):
        return Mark(end, end.reason, end.detail)
    if records.stop is not None and records.stop.at >= newest.claimed:
        return Mark(end, EndReason.STOPPED_BY_USER, "stopped while it was interrupted")
    if not newest.instance and newest.by != WATCHDOG and end.hours == 0:
        return Mark(end, end.reason, end.detail)
    ends = [*(records.ends[attempt.number] for attempt in records.attempts[:-1] if attempt.number in records.ends), end]
    hours, cost = newest.hours_before + end.hours, newest.cost_before + end.cost
    left = billing.cost_left(newest.max_cost, cost)
    waiting = capacity.outage(ends)
    if limit := _limit(snapshot, ends, hours, cost):
        return Mark(end, end.reason if smaller else limit[0], limit[1])
    if waiting and snapshot.end is not None and now < (again := capacity.next_try(records.spec, waiting, records.attempts)):
        return Wait("it waits for capacity", again)
    asks = capacity.asks(records.spec, records.attempts, ends, prices, left, now)
    if not asks and left is not None and capacity.asks(records.spec, records.attempts, ends, prices, None, now):
        words = f"the {billing.dollars(left)} that are left of {billing.dollars(newest.max_cost)} do not pay for another start"
        return Mark(end, end.reason if smaller else EndReason.COST_REACHED, words)
    following = Attempt(
        run=newest.run, number=newest.number + 1, claimed=contract.build_timestamp(now),
        deadline=billing.deadline_of(now, billing.hours_left(newest.max_hours, hours)),
        spot=asks[0].spot if asks else newest.spot, by=WATCHDOG, max_hours=newest.max_hours, max_cost=newest.max_cost,
        hours_before=hours, cost_before=cost, shrink=contract.HALF_BATCH if smaller else newest.shrink,
    )  # fmt: skip
    return Resume(end, following, asks)


def _limit(snapshot: RunSnapshot, ends: Sequence[AttemptEnd], hours: float, cost: float) -> tuple[EndReason, str] | None:
    """The end reason and detail when a limit forbids another attempt, else None. `ends` are all attempts' ends, the newest last."""
    spec, newest, end, waiting = snapshot.records.spec, snapshot.newest, ends[-1], capacity.outage(ends)
    words = end.detail or end.reason
    if not spec.resume:
        return end.reason, f"{words}, and the run was launched with --no-resume"
    if billing.hours_left(newest.max_hours, hours) < LEAST_HOURS:
        return EndReason.TIMED_OUT, f"{hours:.1f} of {newest.max_hours:g} hours were used when it was interrupted"
    if newest.max_cost is not None and cost >= newest.max_cost:
        return EndReason.COST_REACHED, f"{billing.dollars(cost)} of {billing.dollars(newest.max_cost)} were used when it was interrupted"
    if sum(attempt.instance != "" for attempt in snapshot.records.attempts) >= spec.max_attempts:
        return end.reason, f"{words}, and that was the last of {spec.max_attempts} attempts"
    if waiting and snapshot.now >= capacity.given_up_at(spec, waiting):
        return EndReason.NO_CAPACITY, f"no pool had an instance in {spec.wait_hours:g} hours and {len(waiting)} tries: {end.detail}"
    lost = ends[-FRUITLESS:]
    if len(lost) == FRUITLESS and all(attempt_end.reason in LOST and attempt_end.step == end.step for attempt_end in lost):
        return end.reason, f"{FRUITLESS} instances were lost one after another without a new checkpoint"
    broken = ends[-MACHINES:]
    if len(broken) == MACHINES and all(
        attempt_end.reason is EndReason.HARDWARE_FAILED and attempt_end.step == end.step for attempt_end in broken
    ):
        return end.reason, f"{words}, on {MACHINES} machines one after another"
    return None
