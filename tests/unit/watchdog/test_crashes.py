"""No double attempt and no lost run, whatever the function dies of and in whatever order and number events come.

A function dies right after each of its writing calls in turn, with the answer lost; then the world goes on, by the same event again, by
the alarm clock, or by the sweep alone.
"""

import itertools
import random
from collections.abc import Callable

import pytest

from llmlab.contract import Attempt, EndReason, Notice
from llmlab.lifecycle import one_time_schedules
from tests.unit.watchdog.lab import RUN, Lab, Life, dies, ended, gone, warned


def check(lab: Lab) -> None:
    """What holds at every moment: one living instance at most, and it is the newest attempt's; numbers without a gap, no instance twice."""
    attempts = lab.attempts()
    assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))
    assert len(lab.live()) <= 1
    for instance in lab.live():
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        assert int(tags["Attempt"]) == len(attempts)
    named = [attempt.instance for attempt in attempts if attempt.instance]
    assert len(named) == len(set(named))


def settled(lab: Lab) -> bool:
    """The run has an instance that its newest claim names."""
    (live,) = lab.live() or [{"InstanceId": "none"}]
    return lab.attempts()[-1].instance == live["InstanceId"]


def by_the_same_event(lab: Lab, event: dict[str, object]) -> None:
    """Lambda tries again after a minute and after two; then the alarm clock, if it was set, or the hourly sweep."""
    for seconds in (60, 120):
        lab.clock.sleep(seconds)
        lab.wake(event)
        check(lab)
    by_the_alarm(lab, event)


def by_the_alarm(lab: Lab, _: dict[str, object]) -> None:
    for _ in range(20):
        if settled(lab):
            return
        if lab.alarm and lab.alarm > lab.clock.now():
            lab.sleep_until_alarm()
        else:
            lab.clock.sleep(3600)
            lab.wake({"sweep": True})
        check(lab)


def by_the_sweep(lab: Lab, _: dict[str, object]) -> None:
    for _ in range(4):
        lab.clock.sleep(3600)
        lab.wake({"sweep": True})
        check(lab)


@pytest.mark.parametrize("goes_on", [by_the_same_event, by_the_alarm, by_the_sweep])
@pytest.mark.parametrize("count", range(1, 15))
def test_wherever_a_function_dies_one_attempt_follows(lab: Lab, count: int, goes_on: Callable[[Lab, dict[str, object]], None]) -> None:
    first = lab.launch()
    lab.clock.sleep(1800)
    event = lab.kill(first)
    died = dies(lab, event, count)
    assert died == (count <= CALLS)
    check(lab)
    goes_on(lab, event)
    lab.clock.sleep(60)
    lab.wake({"sweep": True})
    assert settled(lab)
    check(lab)
    with_instance = [attempt for attempt in lab.attempts() if attempt.instance]
    assert len(with_instance) == 2
    assert with_instance[-1].hours_before == pytest.approx(0.5, abs=0.01)
    assert lab.end(1).reason is EndReason.SPOT_INTERRUPTED
    assert {(1, Notice.INTERRUPTION), (with_instance[-1].number, Notice.START)} <= lab.told()
    assert one_time_schedules.schedule_name(RUN, with_instance[-1].number) in lab.schedules()


CALLS = 13
"""Writing calls of one resumption, from the end of the attempt before to the note that people were told; counted below."""


def test_the_calls_of_a_resumption(lab: Lab) -> None:
    life = Life()
    lab.wake(lab.kill(lab.launch()), life)
    assert life.made == [
        "put_object",  # the end of attempt 1
        "put_object",  # the claim of attempt 2
        "create_schedule",  # the alarm, should this be the last call
        "create_schedule",  # the deadline of attempt 2
        "create_fleet",
        "put_object",  # its instance
        "update_schedule",  # its deadline ends it now without us
        "put_object",  # the claim to tell of the interruption
        "publish",
        "put_object",
        "put_object",  # the claim to tell of the start
        "publish",
        "put_object",
    ]


@pytest.mark.parametrize("count", range(1, 8))
def test_wherever_a_function_dies_while_there_is_no_capacity(lab: Lab, count: int) -> None:
    first = lab.launch()
    lab.refuse()
    event = lab.kill(first)
    dies(lab, event, count)
    lab.allow()
    by_the_same_event(lab, event)
    assert settled(lab)


@pytest.mark.parametrize("count", range(1, 12))
def test_wherever_a_function_dies_the_end_is_marked_and_told(lab: Lab, count: int) -> None:
    first = lab.launch()
    ended(lab, 1, EndReason.TRAINING_ERROR)
    event = lab.kill(first, "Client.InstanceInitiatedShutdown")
    dies(lab, event, count)
    lab.clock.sleep(3600)
    lab.wake({"sweep": True})
    marker = lab.marker()
    assert marker
    assert marker.reason is EndReason.TRAINING_ERROR
    assert lab.watchdog().bucket.over() == {RUN}
    assert (1, Notice.END) in lab.told()
    assert len({subject for subject, _ in lab.sent()}) == 1
    assert lab.schedules() == {}


@pytest.mark.parametrize("count", range(1, 6))
def test_wherever_a_function_dies_an_instance_without_money_is_gone_for_its_cost(lab: Lab, count: int) -> None:
    lab.launch(max_cost=0.3)
    lab.clock.sleep(3600)
    dies(lab, one_time_schedules.wake_event(RUN), count)
    lab.clock.sleep(60)
    lab.wake(one_time_schedules.wake_event(RUN))
    assert lab.live() == []
    marker = lab.marker()
    assert marker
    assert marker.reason is EndReason.COST_REACHED


def events_of(first: Attempt) -> list[dict[str, object]]:
    return [
        warned(first), gone(first, "shutting-down"), gone(first), {"sweep": True},
        one_time_schedules.wake_event(RUN), gone(first, "running"),
    ]  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(6)))[::60])
def test_events_in_any_order_twice_each(lab: Lab, order: tuple[int, ...]) -> None:
    first = lab.launch()
    lab.clock.sleep(1800)
    events = events_of(first)
    lab.kill(first)
    for number in (*order, *reversed(order)):
        lab.wake(events[number])
        check(lab)
    assert len(lab.attempts()) == 2
    assert settled(lab)
    assert sorted(subject.split()[-1] for subject, _ in lab.sent() if "interrupted" in subject) == ["interrupted"]
    assert sum("goes on" in subject for subject, _ in lab.sent()) == 1


@pytest.mark.parametrize("seed", range(8))
def test_interruptions_deaths_and_refusals_by_chance(lab: Lab, seed: int) -> None:
    """Forty happenings a seed; afterwards the run lives or has its last word."""
    chance = random.Random(seed)
    first = lab.launch(max_hours=1000, deadline=int(lab.clock.now().timestamp()) + 3600 * 1000)
    lab.change(max_attempts=1000, max_hours=1000)
    happened = []
    for _ in range(40):
        what = chance.choice(["kill", "event", "sweep", "alarm", "refuse", "allow", "pass"])
        happened.append(what)
        newest = lab.attempts()[-1]
        if what == "kill" and lab.live():
            lab.kill(lab.live()[0]["InstanceId"], chance.choice(["Server.SpotInstanceTermination", "Server.InternalError"]))
        elif what == "refuse":
            lab.refuse()
        elif what == "allow":
            lab.allow()
        elif what == "pass":
            lab.clock.sleep(chance.choice([5, 70, 700]))
        elif what != "kill":
            event = {"event": gone(chance.choice([newest.instance or first.instance, first.instance])), "sweep": {"sweep": True}}
            dies(lab, event.get(what, one_time_schedules.wake_event(RUN)), chance.choice([1, 2, 3, 5, 7, 9, 1000, 1000]))
        check(lab)
    lab.allow()
    for _ in range(12):
        lab.clock.sleep(1200)
        lab.wake({"sweep": True})
        check(lab)
    marker = lab.marker()
    assert settled(lab) or marker, happened
    assert not (marker and lab.live())
