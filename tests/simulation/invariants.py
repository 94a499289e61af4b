"""The invariants that must hold after every schedule, whatever happened in it: one function each, whose name is the invariant's.

They check the simulator's own `History` and the account's raw objects, with arithmetic of their own: of the lab's code only the contract
is used, to read documents.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from llmlab import contract
from llmlab.contract import ADAPTER, Attempt, AttemptEnd, EndReason, Marker, RunKeys
from tests.simulation.callers import NO_PRICES
from tests.simulation.cloud import Cloud
from tests.simulation.history import History, Life
from tests.simulation.machine import FREE_HOUR_WAIT_SECONDS
from tests.simulation.scenario import CHARGES, Scenario
from tests.simulation.traces import HOUR
from tests.simulation.trainer import PARTS, content

MINUTE = 60.0
CENT = 0.01
SLACK_SECONDS = 30.0
"""Seconds for an agent's check interval and a step boundary, in addition to the times of the training."""
RETRY_SECONDS = 180.0
"""Extra seconds until a checkpoint is safe when AWS throttled its upload or its agent crashed."""
T = TypeVar("T")
CHARGED = sum(charge.hourly for charge in CHARGES)


@dataclass(frozen=True)
class After:
    """A finished schedule, with the documents of its run."""

    scenario: Scenario
    history: History
    cloud: Cloud
    bucket: str
    run: str

    @property
    def keys(self) -> RunKeys:
        return RunKeys(self.run)

    def document(self, kind: type[T], key: str) -> T | None:
        body = self.cloud.body(self.bucket, key)
        return None if body is None else contract.load(kind, body)

    @property
    def attempts(self) -> list[Attempt]:
        documents = (self.document(Attempt, self.keys.attempt(number)) for number in range(1, 200))
        return [attempt for attempt in documents if attempt is not None]

    @property
    def marker(self) -> Marker | None:
        return self.document(Marker, self.keys.success) or self.document(Marker, self.keys.failure)

    def end(self, number: int) -> AttemptEnd | None:
        return self.document(AttemptEnd, self.keys.attempt_end(number))


Check = Callable[[After], Iterator[str]]


def one_live_instance(after: After) -> Iterator[str]:
    """At most one instance of the run lives at any moment."""
    for first, second in after.history.together:
        yield f"{first} and {second} lived at once"


def one_instance_an_attempt(after: After) -> Iterator[str]:
    for attempt, count in Counter(life.attempt for life in after.history.lives).items():
        if count > 1:
            yield f"attempt {attempt} had {count} instances"


def claimed(after: After) -> Iterator[str]:
    """Every instance belongs to a claimed attempt, unless a launch that broke off withdrew its claim."""
    numbers = {attempt.number for attempt in after.attempts}
    for life in after.history.lives:
        if life.attempt not in numbers and numbers:
            yield f"{life.instance} is of attempt {life.attempt}, which nobody claimed"


def deadline_holds(after: After) -> Iterator[str]:
    """No instance is older than its deadline plus a minute."""
    for life in after.history.lives:
        late = (life.stopped or after.scenario.horizon.timestamp()) - life.deadline
        if late > MINUTE:
            yield f"{life.instance} lived {late:.0f} s longer than its deadline"


def hours_hold(after: After) -> Iterator[str]:
    """All instances together live no longer than the hours of the newest attempt, plus a minute each.

    The minutes in which an instance whose agent has finished waits for its interruption, at no cost, are not counted.
    """
    allowed = max((attempt.max_hours for attempt in after.attempts), default=0.0) * HOUR
    used = sum(life.stopped - life.launched - _waited(life) for life in after.history.lives if life.stopped)
    if allowed and used > allowed + MINUTE * len(after.history.lives):
        yield f"{used / HOUR:.3f} of {allowed / HOUR:.3f} hours were used"


def _waited(life: Life) -> float:
    if not life.taken or life.said_at is None or life.stopped is None:
        return 0.0
    return min(FREE_HOUR_WAIT_SECONDS, life.stopped - life.said_at)


def ceiling_holds(after: After) -> Iterator[str]:
    """The true cost is at most the cost limit plus one minute at the highest price."""
    allowed = [attempt.max_cost for attempt in after.attempts if attempt.max_cost is not None]
    ended = [life for life in after.history.lives if life.stopped]
    if not allowed or not ended:
        return
    cost = sum(life.dollars(CHARGED) for life in ended)
    minute = (after.scenario.market.dearest(ended[0].launched, max(life.stopped or 0.0 for life in ended)) + CHARGED) / 60
    if cost > max(allowed) + minute:
        yield f"it cost ${cost:.4f} of ${max(allowed):.2f}, and a minute is ${minute:.4f}"


def ends_or_resumable(after: After) -> Iterator[str]:
    """The run ends with a marker; a run that was never started has no claimed attempt."""
    marker, attempts = after.marker, after.attempts
    if attempts and marker is None:
        yield f"{len(attempts)} attempts, and no marker"
    if marker and attempts and marker.attempts < attempts[-1].number:
        yield f"the marker is of attempt {marker.attempts} of {attempts[-1].number}"


def whole_checkpoint(after: After) -> Iterator[str]:
    """No attempt starts from an incomplete checkpoint."""
    for life in after.history.lives:
        if not life.whole:
            yield f"attempt {life.attempt} began at step {life.began_at} from a checkpoint that is not whole"


def newest_checkpoint(after: After) -> Iterator[str]:
    """An attempt resumes from the newest complete checkpoint that earlier attempts had uploaded."""
    safe = 0
    for life in after.history.lives:
        if life.began_at is not None and life.began_at < safe:
            yield f"attempt {life.attempt} began at step {life.began_at}, and {safe} was safe"
        safe = max(safe, life.safe)


def needed_checkpoints_stay(after: After) -> Iterator[str]:
    """The newest checkpoints that were ever complete exist and are complete, and at most a few of the others are left."""
    ever = sorted(after.history.saved)
    for step in ever[-after.scenario.keep :]:
        parts = [after.cloud.body(after.bucket, f"{after.keys.checkpoint(step)}{part}") for part in PARTS]
        if parts != [content(part, step) for part in PARTS]:
            yield f"checkpoint {step} was whole, is one of the newest, and is not there any more"
    left = {key.removeprefix(after.keys.checkpoints).split("/")[0] for key in after.cloud.keys(after.bucket, after.keys.checkpoints)}
    if after.marker is not None and len(left) > after.scenario.keep + 2:
        yield f"{len(left)} checkpoints are left, and {after.scenario.keep} are kept: {sorted(left)}"


def work_lost(after: After) -> Iterator[str]:
    """An interruption costs at most the work since the last save: a save interval, and the time until that save is in S3."""
    for life in after.history.lives:
        lost = lost_seconds(after.scenario, life)
        if lost > (allowed := allowed_loss(after)):
            yield f"attempt {life.attempt} lost {lost:.0f} s of work, {allowed:.0f} s may be; step {life.safe} of {life.step} was safe"


def lost_seconds(scenario: Scenario, life: Life) -> float:
    """Seconds of work that was done and not yet uploaded when an instance stopped."""
    if life.began_at is None:
        return 0.0
    return (life.step - max(life.safe, life.began_at)) * scenario.course.step_seconds / life.speed


def allowed_loss(after: After) -> float:
    """Seconds of work that one interruption may cost."""
    course, seen = after.scenario.course, after.history.seen
    hindered = seen["throttled calls"] or seen["the agent crashes and starts again"] or seen["lost answers"]
    beside = course.writing_seconds + course.uploading_seconds + course.step_seconds + SLACK_SECONDS
    return course.save_seconds + beside + (RETRY_SECONDS if hindered else 0.0)


def nothing_left(after: After) -> Iterator[str]:
    """After the run no instance and no one-time schedule is left."""
    for life in after.history.lives:
        if life.terminated is None:
            yield f"{life.instance} is still there"
    for name in after.cloud.schedules():
        yield f"the schedule {name} is still there"


def told(after: After) -> Iterator[str]:
    """The end of every run is published, and twice only where a function died between publishing and recording it."""
    marker = after.marker
    if marker is None or not after.attempts:
        return
    subject = f"run {after.run} {marker.reason.state}"
    count = sum(subject in title for title, _ in after.cloud.messages())
    seen = after.history.seen
    doubles = seen["functions that failed"] + seen["resumed by hand"] + seen["lost answers"]
    if not 1 <= count <= 1 + doubles:
        yield f"the end was told {count} times"


def cost_agrees(after: After) -> Iterator[str]:
    """The cost that the run records for each attempt is the true cost until the recorded end, to the cent.

    Where price calls were throttled, the recorded cost lies between those at the pool's lowest and highest price. Where EC2's event of the
    end was lost or slow, the watchdog counts until it finds out: never too little, and two hours at most. An agent that finished before the
    interruption cannot know that the instance was free.
    """
    for life in after.history.lives:
        end = after.end(life.attempt)
        if end is None or not end.hours or life.stopped is None:
            continue
        moment = life.launched + end.hours * HOUR
        least = most = life.dollars(CHARGED, moment)
        if end.reason is not EndReason.SPOT_INTERRUPTED:
            most = life.paid(CHARGED, moment)
        if moment > life.stopped + MINUTE / 6:
            most = life.paid(CHARGED, moment)
            if moment > life.stopped + found_out_seconds(after.scenario):
                yield f"attempt {life.attempt} ended {moment - life.stopped:.0f} s before the run says"
        if after.history.seen[NO_PRICES] and life.spot:  # then the last price that is known counts
            hours, prices = (moment - life.launched) / HOUR, [price for _, price in life.trace.prices]
            least, most = min(least, (min(prices) + CHARGED) * hours), max(most, (max(prices) + CHARGED) * hours)
        if not least - CENT <= end.cost <= most + CENT:
            yield f"attempt {life.attempt} says ${end.cost:.4f} for {end.hours:.3f} h, and cost ${least:.4f}"


def found_out_seconds(scenario: Scenario) -> float:
    """Seconds until the watchdog knows of an instance's end: with unreliable events, until the sweep after one that fails three times."""
    weather = scenario.weather
    if not (weather.lost_event or weather.dying_function or weather.throttled):
        return MINUTE + weather.slow_event_seconds
    return 2 * HOUR + RETRY_SECONDS + MINUTE


def finished_right(after: After) -> Iterator[str]:
    """A completed run has trained all its steps, and its adapter is the one of the last step."""
    marker = after.document(Marker, after.keys.success)
    if marker is None:
        return
    steps = after.scenario.course.steps
    if marker.reason is not EndReason.COMPLETED or marker.step != steps:
        yield f"the marker says {marker.reason} at step {marker.step} of {steps}"
    if after.cloud.body(after.bucket, f"{after.keys.output}{ADAPTER}/{PARTS[0]}") != content(PARTS[0], steps):
        yield "the adapter is not what the training makes"


ALL: tuple[Check, ...] = (
    one_live_instance, one_instance_an_attempt, claimed, deadline_holds, hours_hold, ceiling_holds, ends_or_resumable, whole_checkpoint,
    newest_checkpoint, needed_checkpoints_stay, work_lost, nothing_left, told, cost_agrees, finished_right,
)  # fmt: skip


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold in the schedule of a seed."""

    seed: int
    invariant: str
    words: str


def check(after: After) -> list[Violation]:
    """The violations of all invariants."""
    return [Violation(after.scenario.seed, invariant.__name__, words) for invariant in ALL for words in invariant(after)]
