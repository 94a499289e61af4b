"""Start one attempt of a run.

Claim → old marker away → schedule → CreateFleet → schedule aimed at the instance → the run's alarm clock → its instance noted.

The order is what makes it safe to break off anywhere: the claim keeps two starters apart and makes the watchdog wait, so that a run
that is resumed is never without both a claim and its marker, which the watchdog would then write anew; the schedule exists before there
is an instance to end, and a start that fails or is interrupted takes back what it made, found by tag and not by what it remembers.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from llmlab.aws import documents, fleets, scheduling
from llmlab.aws.fleets import NoPoolHadCapacity, SpotInUse
from llmlab.aws.session import Aws, AwsError
from llmlab.clock import Clock, wait_until
from llmlab.contract import Attempt, Marker, Pool, RunKeys, Spec
from llmlab.errors import ExitCode, Interrupted, LabError, NoCapacity, QuotaExceeded
from llmlab.lifecycle import attempt_start, billing, instances, one_time_schedules, pool_order
from llmlab.lifecycle.create_fleet import PoolError
from llmlab.ops import run_marker

Say = Callable[[str], None]
ROUND_SECONDS = 60
"""Between two rounds over all pools while waiting for capacity."""
FIRST_LOOK_SECONDS = 120
"""When the watchdog first looks at a new instance, to tell that it runs and to set the alarm clock for what is due next."""
LOOK_SECONDS = 60
"""EC2 may take some seconds to show a new instance: how long one is looked for of which EC2 did not say whether it started it."""

NAMED = 5
"""Most instance types that a message names."""


@dataclass
class FleetRequest:
    """The state of the last request to EC2. `open`: there may be an instance, because EC2 has not refused; `started`: there is one."""

    open: bool = False
    started: bool = False


class LeftBehind(LabError):
    """A start broke off, and taking it back failed too."""


@dataclass(frozen=True)
class Patience:
    """What to do when no pool has capacity."""

    fallback_on_demand: bool = False
    wait_minutes: float = 0


def start(aws: Aws, spec: Spec, attempt: Attempt, clock: Clock, say: Say, patience: Patience) -> Attempt:
    """Start an instance for this attempt; returns the attempt with its instance.

    Raises:
        NoCapacity: no pool gave one; nothing is left of the attempt.
        LabError: somebody else has started this attempt, or AWS refused; nothing is left.
        Interrupted: Ctrl-C; nothing is left.
    """
    bucket, key = aws.names.outputs_bucket, RunKeys(spec.run).attempt(attempt.number)
    if not _claim(aws, bucket, key, attempt, clock):
        raise LabError(f"attempt {attempt.number} of {spec.run} has been started already", f"llmlab status {spec.run}")
    former_marker: Marker | None = None
    request = FleetRequest()
    try:
        if attempt.number > 1:
            former_marker = run_marker.failure(aws, spec.run)
            run_marker.clear(aws, spec.run)
        scheduling.put(aws, _schedule(aws, attempt), clock)
        started = _instance(aws, spec, attempt, clock, say, patience, request)
        request.started = True
        _move_deadline(aws, started)
        scheduling.put(aws, alarm(aws, spec.run, clock), clock)
        documents.write(aws, bucket, key, started)
        if attempt.number > 1:
            run_marker.unlist(aws, spec.run)
    except BaseException as error:
        undo(aws, spec.run, attempt.number, clock, error, former_marker, request=request)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted; run {spec.run} was not started and nothing is left of it", "llmlab launch") from error
        raise
    return started


def _claim(aws: Aws, bucket: str, key: str, attempt: Attempt, clock: Clock) -> bool:
    """Whether the attempt is this caller's; a claim that may have been written without an answer is taken back before the error goes on.

    Raises:
        LeftBehind: taking it back failed too.
    """
    try:
        return documents.write_once(aws, bucket, key, attempt, clock)
    except BaseException as error:
        with _taking_back(error, f"the claim of attempt {attempt.number} of {attempt.run} may be left", attempt.run):
            if documents.read(aws, Attempt, bucket, key) == attempt:
                documents.delete(aws, bucket, key)
        raise


@contextmanager
def _taking_back(error: BaseException, left: str, run: str) -> Iterator[None]:
    """Take something back inside, after `error`; `left` says what remains when that fails.

    Raises:
        LeftBehind: taking it back failed, with the first error in its message.
    """
    try:
        yield
    except LabError as second:
        words = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        code = ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else None
        raise LeftBehind(f"{words}; and it could not be undone ({second}): {left}", f"llmlab stop {run}", code) from error


def _instance(aws: Aws, spec: Spec, attempt: Attempt, clock: Clock, say: Say, patience: Patience, request: FleetRequest) -> Attempt:
    """Ask the pools, then those of the other market, then again after a minute, as long as patience lasts."""
    numbers = itertools.count()
    give_up = clock.now().timestamp() + patience.wait_minutes * 60
    hours = (attempt.deadline - clock.now().timestamp()) / billing.HOUR
    over: SpotInUse | None = None
    while True:
        for spot in (True, False) if attempt.spot and patience.fallback_on_demand else (attempt.spot,):
            trying = replace(attempt, spot=spot, deadline=billing.deadline_of(clock.now(), hours))
            if trying.deadline != attempt.deadline:
                _move_deadline(aws, trying)
            request.open = True
            try:
                return _ask(aws, spec, trying, numbers, clock)
            except LabError as error:
                request.open = isinstance(error, AwsError) and error.passing
                if isinstance(error, SpotInUse):
                    over = error
                    say(str(error))
                elif isinstance(error, NoPoolHadCapacity):
                    over = None if spot else over
                    tell(error, spec.pools, say, spot=spot)
                else:
                    raise
        if clock.now().timestamp() + ROUND_SECONDS > give_up:
            raise over or _none_left(spec, attempt, patience)
        say(f"no capacity anywhere; asking again in {ROUND_SECONDS} s, for {(give_up - clock.now().timestamp()) / 60:.0f} more minutes")
        clock.sleep(ROUND_SECONDS)


def _ask(aws: Aws, spec: Spec, attempt: Attempt, numbers: "itertools.count[int]", clock: Clock) -> Attempt:
    """The attempt with the instance that CreateFleet gave: one request for each tier of pools, the best tier first.

    Raises:
        NoPoolHadCapacity: no tier had one; with what each pool answered.
        QuotaExceeded: the account's quota allows none of them.
    """
    tried: list[PoolError] = []
    over: QuotaExceeded | None = None
    for tier in pool_order.tiers(spec.pools, spec.preferred, spot=attempt.spot, beside=billing.beside(spec.charges)):
        try:
            return _ask_tier(aws, spec, attempt, tier, numbers, clock)
        except NoPoolHadCapacity as error:
            named = [pool_error for pool_error in error.tried if pool_error.instance_type]
            unnamed = [
                replace(pool_error, instance_type=pool.instance_type, zone=pool.zone) for pool_error in error.tried[:1] for pool in tier
            ]
            tried += named or unnamed
        except QuotaExceeded as error:
            over = over or error
    if over and not tried:
        raise over
    raise NoPoolHadCapacity(tuple(tried))


def _ask_tier(aws: Aws, spec: Spec, attempt: Attempt, tier: Sequence[Pool], numbers: "itertools.count[int]", clock: Clock) -> Attempt:
    def build(number: int) -> dict[str, object]:
        return attempt_start.fleet_request(aws.names, spec, attempt, tier, again=number)

    launched = fleets.create(aws, build, numbers, tier, clock)
    return attempt_start.with_instance(attempt, launched, tier, clock.now())


def tell(error: NoPoolHadCapacity, pools: tuple[Pool, ...], say: Say, *, spot: bool) -> None:
    """Report one line for each instance type and error code, with the zones; a pool missing from AWS's answer counts as `no answer`."""
    market = "spot" if spot else "on demand"
    answers = {(pool_error.instance_type, pool_error.zone): pool_error.code for pool_error in error.tried}
    zones: dict[tuple[str, str], list[str]] = {}
    for pool in pools:
        if pool_order.price(pool, spot=spot) is not None:
            code = answers.get((pool.instance_type, pool.zone), "no answer")
            zones.setdefault((pool.instance_type, code), []).append(pool.zone)
    for (name, code), where in zones.items():
        say(f"no capacity: {name} in {', '.join(where)}, {market} ({code})")


def _none_left(spec: Spec, attempt: Attempt, patience: Patience) -> NoCapacity:
    market = "spot or on-demand" if patience.fallback_on_demand and attempt.spot else "spot" if attempt.spot else "on-demand"
    names = list(dict.fromkeys(pool.instance_type for pool in spec.pools))
    types = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more types" if len(names) > NAMED else "")
    zones = len({pool.zone for pool in spec.pools})
    verb = "launch" if attempt.number == 1 else f"resume {spec.run}"
    hint = (
        f"llmlab {verb} --spot --fallback-on-demand"
        if attempt.spot and not patience.fallback_on_demand
        else f"llmlab {verb} --wait-for-capacity 60"
    )
    return NoCapacity(f"no {market} capacity for {types} in any of {zones} zones of {spec.region}; nothing was started", hint)


def alarm(aws: Aws, run: str, clock: Clock) -> dict[str, object]:
    """The request for the run's alarm clock, which wakes the watchdog; each time it looks it sets the clock anew."""
    return one_time_schedules.wake_request(aws.names, run=run, moment=clock.now().timestamp() + FIRST_LOOK_SECONDS, role=_role(aws))


def _role(aws: Aws) -> str:
    return aws.names.role_arn(aws.names.scheduler_role)


def _schedule(aws: Aws, attempt: Attempt) -> dict[str, object]:
    return attempt_start.deadline_schedule(aws.names, attempt, _role(aws))


def _move_deadline(aws: Aws, attempt: Attempt) -> None:
    """Give the attempt's schedule its new deadline, or its instance as target.

    Raises:
        LabError: there is no such schedule any more, because `llmlab stop` was called meanwhile, which deletes it.
    """
    if not one_time_schedules.update(aws.client("scheduler"), _schedule(aws, attempt)):
        raise LabError(f"run {attempt.run} was stopped while it started, so it was not started", f"llmlab status {attempt.run}")


def undo(
    aws: Aws, run: str, number: int, clock: Clock, error: BaseException, former_marker: Marker | None = None, *, request: FleetRequest
) -> None:
    """Take back what an attempt that broke off may have made. The schedule goes last: it is the safety net for the rest.

    `former_marker` is the run's marker from before: it is back before the claim goes, and stays away where an instance may be left.

    Raises:
        LeftBehind: taking it back failed too; says what may be left.
    """
    with _taking_back(error, f"an instance of {run} may be left, which ends at its deadline", run):
        if not wait_until(lambda: _end(aws, run, number), clock, limit_seconds=LOOK_SECONDS if request.open else 0) and request.started:
            raise LabError(f"EC2 did not show its instance within {LOOK_SECONDS} seconds")
        if former_marker:
            run_marker.put_back(aws, former_marker, clock)
        documents.delete(aws, aws.names.outputs_bucket, RunKeys(run).attempt(number))
        for name in (one_time_schedules.wake_name(run), one_time_schedules.schedule_name(run, number)):
            one_time_schedules.delete(aws.client("scheduler"), aws.names, name)


def _end(aws: Aws, run: str, number: int) -> bool:
    """Whether EC2 shows an attempt's instance ending; a live one is terminated."""
    mine = [instance for instance in instances.find(aws.ec2, aws.names, run=run) if instance.attempt == number]
    alive = [instance.id for instance in mine if instance.alive]
    instances.terminate(aws.ec2, alive)
    return bool(mine) and not alive
