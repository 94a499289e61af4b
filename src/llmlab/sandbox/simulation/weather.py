"""What goes wrong in a schedule, and how often: of events, schedules, calls, functions and machines."""

from dataclasses import dataclass
from enum import StrEnum

from llmlab.sandbox.simulation.dice import SeededRandom


@dataclass(frozen=True)
class Weather:
    """Chances from 0 to 1 and times in seconds. The default is a calm day: nothing fails, and nothing takes time."""

    lost_event: float = 0.0
    repeated_event: float = 0.0
    slow_event_seconds: float = 1.0
    """At most, of an event of EC2; who is slow is also overtaken."""
    lost_schedule: float = 0.0
    """A one-time schedule that never goes off."""
    late_schedule_seconds: float = 0.0
    """At most. Scheduler promises a minute. https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"""
    throttled: float = 0.0
    """A call that still fails after the client's own tries."""
    lost_answer: float = 0.0
    """A call that took effect and whose answer never came: the client makes it again, where it may."""
    conflict: float = 0.0
    """A conditional write that S3 refuses because another one of the same key is under way, whatever becomes of that."""
    dying_function: float = 0.0
    """An invocation that breaks off before or after one of its calls."""
    function_calls: int = 30
    """Among how many first calls that is."""
    call_seconds: float = 0.0
    """How long each call of a function takes at most; meanwhile everybody else goes on."""
    hidden_seconds: float = 0.0
    """How long DescribeInstances does not show a new instance, at most."""
    broken_timer: float = 0.0
    """A machine whose own power-off at the deadline does not come."""
    dying_laptop: float = 0.0
    """A launch that breaks off, by Ctrl-C or for good."""


def made(dice: SeededRandom) -> Weather:
    """The weather of a seed: one in eight is calm, so that what fails there fails by itself."""
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
    """What becomes of an instance by itself, before anybody ends it."""

    NONE = "none"
    NOTICE = "interrupted with notice"
    NO_NOTICE = "interrupted without notice"
    AT_BOOT = "interrupted during boot"
    IN_SAVE = "interrupted during a save"
    IN_LAST_UPLOAD = "interrupted during the last upload"
    FROZEN = "the machine freezes"
    """Nothing on it works any more, its own timer neither; only somebody else can end it."""
    LOST = "lost"
    """The machine is gone, and EC2 does not call it an interruption."""
    CRASH = "the trainer crashes"
    MEMORY = "the trainer runs out of memory"
    HANG = "the trainer hangs"
    HARDWARE = "a GPU is lost"
    AGENT = "the agent crashes and starts again"


INTERRUPTIONS = (Strike.NOTICE, Strike.NO_NOTICE, Strike.AT_BOOT, Strike.IN_SAVE, Strike.IN_LAST_UPLOAD)
TROUBLES = (Strike.CRASH, Strike.MEMORY, Strike.HANG, Strike.HARDWARE, Strike.AGENT, Strike.LOST, Strike.FROZEN)


@dataclass(frozen=True)
class InstanceFault:
    """What strikes one instance. `after` is in seconds after its boot; `count` which save, for `IN_SAVE`."""

    strike: Strike = Strike.NONE
    after: float = 0.0
    count: int = 1


def fate(dice: SeededRandom, attempt: int, *, spot: bool, mean_hours: float, trouble: float) -> InstanceFault:
    """What strikes an attempt's instance.

    Interruptions come to spot instances, once in `mean_hours`; `trouble` is the chance of the rest.
    """
    name = f"fate {attempt}"
    if dice.happens(trouble, name, "trouble"):
        return InstanceFault(dice.choice(TROUBLES, name, "which trouble"), dice.wait(3600, name, "trouble after"))
    if not spot:
        return InstanceFault()
    after = dice.wait(mean_hours * 3600, name, "after")
    return InstanceFault(dice.choice(INTERRUPTIONS, name, "which"), after, 1 + int(3 * dice.roll(name, "count")))
