"""The faults of a schedule and their chances: of events, one-time schedules, calls, functions and instances."""

from dataclasses import dataclass
from enum import StrEnum

from tests.simulation.dice import SeededRandom


@dataclass(frozen=True)
class Weather:
    """The fault profile of a schedule: chances from 0 to 1 and times in seconds. By default nothing fails, and nothing takes time."""

    lost_event: float = 0.0
    repeated_event: float = 0.0
    slow_event_seconds: float = 1.0
    """Maximum delay of an event of EC2; a slow event is also overtaken by later ones."""
    lost_schedule: float = 0.0
    """Chance that a one-time schedule never fires."""
    late_schedule_seconds: float = 0.0
    """Maximum delay of a one-time schedule. Scheduler is precise to a minute.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"""
    throttled: float = 0.0
    """Chance that a call is still throttled after the client's own retries."""
    lost_answer: float = 0.0
    """Chance that a call takes effect and its answer is lost: the client repeats it, where it may."""
    conflict: float = 0.0
    """Chance that S3 refuses a conditional write because another write of the same key is in progress, whatever becomes of that."""
    dying_function: float = 0.0
    """Chance that an invocation of the function dies before or after one of its calls."""
    function_calls: int = 30
    """Number of first calls among which a dying invocation's last one is."""
    call_seconds: float = 0.0
    """Maximum duration of each call of a function; meanwhile the other programs go on."""
    hidden_seconds: float = 0.0
    """Maximum time for which DescribeInstances does not show a new instance."""
    broken_timer: float = 0.0
    """Chance that a machine's own power-off at the deadline does not work."""
    dying_laptop: float = 0.0
    """Chance that a launch breaks off, by Ctrl-C or for good."""


def made(dice: SeededRandom) -> Weather:
    """The weather of a seed. One in eight is calm, so that a violation there has no injected fault as its cause."""
    if dice.happens(0.125, "calm"):
        return Weather()
    rough = dice.between(0.2, 1.0, "rough")
    return Weather(
        lost_event=0.25 * rough * dice.roll("lost event"),
        repeated_event=0.6 * rough * dice.roll("repeated event"),
        slow_event_seconds=dice.choice((1.0, 5.0, 60.0, 600.0), "slow event"),
        lost_schedule=0.10 * rough * dice.roll("lost schedule"),
        late_schedule_seconds=60.0 * dice.roll("late schedule"),
        throttled=0.004 * rough * dice.roll("throttled"),
        lost_answer=0.01 * rough * dice.roll("lost answer"),
        conflict=0.1 * rough * dice.roll("conflict"),
        dying_function=0.3 * rough * dice.roll("dying function"),
        call_seconds=dice.choice((0.05, 0.3, 1.0, 2.0), "call"),
        hidden_seconds=dice.choice((0.0, 5.0, 60.0), "hidden"),
        broken_timer=0.1 * rough,
        dying_laptop=0.05 * rough,
    )


class Strike(StrEnum):
    """The fault that strikes an instance before anybody ends it."""

    NONE = "none"
    NOTICE = "interrupted with notice"
    NO_NOTICE = "interrupted without notice"
    AT_BOOT = "interrupted during boot"
    IN_SAVE = "interrupted during a save"
    IN_LAST_UPLOAD = "interrupted during the last upload"
    FROZEN = "the machine freezes"
    """Nothing on the machine works any more, not even its own timer; it must be terminated from outside."""
    LOST = "lost"
    """The machine is terminated, and EC2 does not call it an interruption."""
    CRASH = "the trainer crashes"
    MEMORY = "the trainer runs out of memory"
    HANG = "the trainer hangs"
    HARDWARE = "a GPU is lost"
    AGENT = "the agent crashes and starts again"


INTERRUPTIONS = (Strike.NOTICE, Strike.NO_NOTICE, Strike.AT_BOOT, Strike.IN_SAVE, Strike.IN_LAST_UPLOAD)
TROUBLES = (Strike.CRASH, Strike.MEMORY, Strike.HANG, Strike.HARDWARE, Strike.AGENT, Strike.LOST, Strike.FROZEN)


@dataclass(frozen=True)
class InstanceFault:
    """The fault of one instance. `after` is in seconds after its boot; `count` is the number of the save, for `IN_SAVE`."""

    strike: Strike = Strike.NONE
    after: float = 0.0
    count: int = 1


def fate(dice: SeededRandom, attempt: int, *, spot: bool, mean_hours: float, trouble: float) -> InstanceFault:
    """The fault of an attempt's instance.

    Interruptions strike spot instances, once in `mean_hours` on average; `trouble` is the chance of the other faults.
    """
    name = f"fate {attempt}"
    if dice.happens(trouble, name, "trouble"):
        return InstanceFault(dice.choice(TROUBLES, name, "which trouble"), dice.wait(3600, name, "trouble after"))
    if not spot:
        return InstanceFault()
    after = dice.wait(mean_hours * 3600, name, "after")
    return InstanceFault(dice.choice(INTERRUPTIONS, name, "which"), after, 1 + int(3 * dice.roll(name, "count")))
