"""What becomes of a run: pure, from what is written about it, what EC2 says of its instances, and the time.

The rules, in order: a run with its marker is over; a run with a living instance goes on; else its newest attempt has ended, for the reason
the agent wrote, or for the one EC2 gives. Interrupted and lost attempts are followed by another while hours, cost and attempts last.
"""

from dataclasses import dataclass
from datetime import datetime

from llmlab import contract, money
from llmlab.contract import Attempt, AttemptEnd, EndReason, Spec
from llmlab.watchdog.machines import Machine
from llmlab.watchdog.records import Records

LAUNCH_SECONDS = 900
"""How long an attempt that the watchdog claimed may be without an instance: that call is still asking."""
VISIBLE_SECONDS = 300
"""How long EC2 may hide a new instance from DescribeInstances."""
DEADLINE_SECONDS = 90
"""An instance that was terminated this near to its deadline, or later, was terminated by it."""
LEAST_HOURS = 0.05
"""With less left, an attempt would end before it has trained."""
FRUITLESS = 3
"""Attempts lost one after another at the same step, after which something is wrong that another one does not mend."""
CAPACITY_TRIES = 24
CAPACITY_SECONDS = 600
"""Between two tries for capacity, at least."""
INTERRUPTED = {"Server.SpotInstanceTermination", "Server.SpotInstanceShutdown"}
NO_CAPACITY = {"Server.InsufficientInstanceCapacity"}
WATCHDOG = "watchdog"
"""`Attempt.by` of what is started here."""
BY_API = "Client.UserInitiatedShutdown"


@dataclass(frozen=True)
class Wait:
    """Nothing to do now."""

    why: str


@dataclass(frozen=True)
class Mark:
    """The run is over. `end` is the newest attempt's, to be written where it is not yet."""

    end: AttemptEnd
    reason: EndReason
    detail: str


@dataclass(frozen=True)
class Resume:
    """Another attempt, after `end`."""

    end: AttemptEnd
    attempt: Attempt


Decision = Wait | Mark | Resume


def decide(records: Records, machines: list[Machine], checkpoint: int, now: datetime) -> Decision:
    """What to do with a run. `machines` are all instances with its tag, `checkpoint` the newest whole one's step."""
    if not records.attempts:
        return Wait("no attempt was claimed yet")
    if records.over:
        return Wait("it is over")
    if any(machine.live for machine in machines):
        return Wait("an instance is at it")
    newest = records.attempts[-1]
    mine = next((machine for machine in machines if machine.attempt == newest.number), None)
    end = records.ends.get(newest.number)
    if end is None:
        if why := _still_coming(newest, mine, now):
            return Wait(why)
        end = _end(records.spec, newest, mine, checkpoint, now)
    return _after(records, newest, end, now)


def _still_coming(attempt: Attempt, machine: Machine | None, now: datetime) -> str:
    """Why an attempt without an instance may still get one; "" when it may not."""
    if machine is not None:
        return ""
    if not attempt.instance:
        by_hand = attempt.by != WATCHDOG  # somebody may sit there and wait for capacity
        coming = now.timestamp() < attempt.deadline if by_hand else _age(attempt.claimed, now) < LAUNCH_SECONDS
        return "its instance is being asked for" if coming else ""
    return "its instance is not visible yet" if _age(attempt.launched or attempt.claimed, now) < VISIBLE_SECONDS else ""


def _age(timestamp: str, now: datetime) -> float:
    return (now - contract.parse_timestamp(timestamp)).total_seconds()


def _end(spec: Spec, attempt: Attempt, machine: Machine | None, checkpoint: int, now: datetime) -> AttemptEnd:
    """How an attempt ended of which the agent left no word."""
    if machine is None and not attempt.instance:
        by_hand = attempt.by != WATCHDOG
        reason = EndReason.INSTANCE_LOST if by_hand else EndReason.NO_CAPACITY
        return AttemptEnd(
            attempt.run, attempt.number, reason, contract.build_timestamp(now), "its start was cut short before it had an instance"
        )
    started = machine.launched if machine else contract.parse_timestamp(attempt.launched or attempt.claimed)
    gone = min(moment for moment in (machine.ended if machine else None, now) if moment)
    hours = money.attempt_hours(started, gone)
    cause = machine.cause if machine else ""
    interrupted = cause in INTERRUPTED
    costs = money.attempt_costs(spec.charges, started, gone, attempt.price, interrupted=interrupted)
    spent = attempt.cost_before + money.total(money.attempt_costs(spec.charges, started, gone, attempt.price))
    if interrupted:
        reason, detail = EndReason.SPOT_INTERRUPTED, "AWS took the spot instance back"
    elif cause in NO_CAPACITY:
        reason, detail = EndReason.NO_CAPACITY, "EC2 could not start the instance for lack of capacity"
    elif gone.timestamp() >= attempt.deadline - DEADLINE_SECONDS:
        reason, detail = EndReason.TIMED_OUT, "the deadline came before the trainer had left"
    elif attempt.max_cost is not None and spent >= attempt.max_cost:
        reason, detail = EndReason.COST_REACHED, "the cost limit was reached before the trainer had left"
    elif cause == BY_API:
        reason, detail = EndReason.STOPPED_BY_USER, "the instance was terminated by hand"
    else:
        reason, detail = EndReason.INSTANCE_LOST, f"the instance vanished without a word{f' ({cause})' if cause else ''}"
    return AttemptEnd(
        attempt.run, attempt.number, reason, contract.build_timestamp(gone), detail, checkpoint, hours, money.total(costs), costs
    )


def _after(records: Records, newest: Attempt, end: AttemptEnd, now: datetime) -> Decision:
    """What follows the end of the newest attempt."""
    again = end.reason.resumable or end.reason is EndReason.NO_CAPACITY
    if not again:
        return Mark(end, end.reason, end.detail)
    if records.stop is not None and records.stop.at >= newest.claimed:
        return Mark(end, EndReason.STOPPED_BY_USER, "stopped while it was interrupted")
    if not newest.instance and newest.by != WATCHDOG and end.hours == 0:
        return Mark(end, end.reason, end.detail)
    hours = newest.hours_before + end.hours
    cost = newest.cost_before + end.cost
    if limit := _limit(records, newest, end, hours, cost):
        return Mark(end, *limit)
    if end.reason is EndReason.NO_CAPACITY and _age(end.ended, now) < CAPACITY_SECONDS and newest.number in records.ends:
        return Wait("it waits for capacity")
    following = Attempt(
        run=newest.run, number=newest.number + 1, claimed=contract.build_timestamp(now),
        deadline=money.deadline_of(now, money.hours_left(newest.max_hours, hours)), spot=newest.spot, by=WATCHDOG,
        max_hours=newest.max_hours, max_cost=newest.max_cost, hours_before=hours, cost_before=cost,
    )  # fmt: skip
    return Resume(end, following)


def _limit(records: Records, newest: Attempt, end: AttemptEnd, hours: float, cost: float) -> tuple[EndReason, str] | None:
    """The reason and its detail why there is no further attempt."""
    spec = records.spec
    ends = [*(records.ends[attempt.number] for attempt in records.attempts[:-1] if attempt.number in records.ends), end]
    if not spec.resume:
        return end.reason, f"{end.detail or end.reason}, and the run was launched with --no-resume"
    if money.hours_left(newest.max_hours, hours) < LEAST_HOURS:
        return EndReason.TIMED_OUT, f"{hours:.1f} of {newest.max_hours:g} hours were used when it was interrupted"
    left = money.cost_left(newest.max_cost, cost)
    if left is not None and left <= 0:
        return EndReason.COST_REACHED, f"${cost:.2f} of ${newest.max_cost:.2f} were used when it was interrupted"
    if sum(attempt.instance != "" for attempt in records.attempts) >= spec.max_attempts:
        return end.reason, f"{end.detail or end.reason}, and that was the last of {spec.max_attempts} attempts"
    if _trailing(ends, EndReason.NO_CAPACITY) >= CAPACITY_TRIES:
        return EndReason.NO_CAPACITY, f"no pool had an instance in {CAPACITY_TRIES} tries: {end.detail}"
    lost = ends[-FRUITLESS:]
    if len(lost) == FRUITLESS and all(one.reason is EndReason.INSTANCE_LOST and one.step == lost[0].step for one in lost):
        return EndReason.INSTANCE_LOST, f"{FRUITLESS} instances were lost one after another without a new checkpoint"
    return None


def _trailing(ends: list[AttemptEnd], reason: EndReason) -> int:
    count = 0
    for end in reversed(ends):
        if end.reason is not reason:
            break
        count += 1
    return count
