"""What becomes of a run, rule by rule."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Manifest, Marker, Pool, Spec, Stop
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import Records
from llmlab.watchdog import policy as rules
from llmlab.watchdog.policy import Decision, Mark, Resume, Wait, decide
from llmlab.watchdog.run_snapshot import RunSnapshot

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
START = NOW - timedelta(hours=2)
RUN = "20261123-120000-ab12"
SPEC = Spec(
    run=RUN, lab="lab", region="us-east-1", account="123456789012", recipe={}, data=Manifest("d", (), ""), image="i", ami="",
    launch_template="lab-run",
    pools=(Pool("g6.xlarge", "us-east-1a", "subnet-a", 0.8, 0.3),), spot=True, max_hours=6, created=contract.build_timestamp(START),
)  # fmt: skip


def at(moment: datetime) -> str:
    return contract.build_timestamp(moment)


def attempt(number: int = 1, **changes: Any) -> Attempt:
    made = Attempt(
        RUN, number, at(START), int((START + timedelta(hours=6)).timestamp()), spot=True, by="launch", max_hours=6, instance=f"i-{number}",
        instance_type="g6.xlarge", zone="us-east-1a", price=0.3, launched=at(START),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def machine(state: str = "terminated", cause: str = "Server.SpotInstanceTermination", number: int = 1) -> Instance:
    tags = {"Run": RUN, "Attempt": str(number)}
    return Instance(f"i-{number}", "g6.xlarge", "us-east-1a", state, START, spot=True, state_reason=cause, tags=tags)


def end(number: int, reason: EndReason, *, step: int = 0, hours: float = 1.0, ended: datetime = START) -> AttemptEnd:
    return AttemptEnd(RUN, number, reason, at(ended), "", step, hours, hours * 0.3)


def about(
    *attempts: Attempt, ends: list[AttemptEnd] | None = None, spec: Spec = SPEC, marker: Marker | None = None, stop: Stop | None = None
) -> Records:
    return Records(spec, attempts, {one.number: one for one in ends or []}, marker, stop)


def decided(records: Records, *machines: Instance, now: datetime = NOW) -> Decision:
    return decide(RunSnapshot(records, machines, now), 40, {})


def test_an_interrupted_attempt_is_followed_by_another_with_what_is_left() -> None:
    decision = decided(about(attempt()), machine())
    assert isinstance(decision, Resume)
    assert decision.end == AttemptEnd(
        RUN, 1, EndReason.SPOT_INTERRUPTED, at(NOW), "AWS took the spot instance back", 40, 2.0, 0.6, {"instance": 0.6}
    )
    assert decision.attempt == Attempt(
        RUN,
        2,
        at(NOW),
        int((NOW + timedelta(hours=4)).timestamp()),
        spot=True,
        by="watchdog",
        max_hours=6,
        hours_before=2.0,
        cost_before=0.6,
    )


def test_nothing_is_charged_for_an_interruption_in_the_first_hour() -> None:
    decision = decided(about(attempt()), machine(), now=START + timedelta(minutes=30))
    assert isinstance(decision, Resume)
    assert (decision.attempt.hours_before, decision.attempt.cost_before) == (0.5, 0.0)


@pytest.mark.parametrize("state", ["pending", "running", "stopping"])
def test_a_living_instance_keeps_everybody_away(state: str) -> None:
    assert decided(about(attempt()), machine(state, "")) == Wait("an instance is at it")


def test_an_older_event_does_not_touch_a_newer_attempt() -> None:
    assert isinstance(
        decided(about(attempt(1), attempt(2), ends=[end(1, EndReason.SPOT_INTERRUPTED)]), machine(), machine("running", "", 2)), Wait
    )


def test_a_marker_ends_it_and_one_of_an_earlier_attempt_does_not() -> None:
    marker = Marker(RUN, EndReason.TIMED_OUT, at(START), attempts=1)
    assert decided(about(attempt(), marker=marker), machine()) == Wait("it is over")
    assert isinstance(decided(about(attempt(1), attempt(2), marker=marker), machine(number=2)), Resume)


@pytest.mark.parametrize(
    ("cause", "changes", "reason"),
    [
        ("Client.UserInitiatedShutdown", {}, EndReason.STOPPED_BY_USER),
        ("Client.UserInitiatedShutdown", {"deadline": int(NOW.timestamp())}, EndReason.TIMED_OUT),
        ("Client.InstanceInitiatedShutdown", {"deadline": int(NOW.timestamp()) + 60}, EndReason.TIMED_OUT),
        ("Client.UserInitiatedShutdown", {"max_cost": 0.5}, EndReason.COST_REACHED),
    ],
)
def test_ends_that_are_final(cause: str, changes: dict[str, Any], reason: EndReason) -> None:
    decision = decided(about(attempt(**changes)), machine(cause=cause))
    assert isinstance(decision, Mark)
    assert (decision.reason, decision.end.reason) == (reason, reason)


def test_a_clock_that_is_behind_ec2s_makes_no_deadline_the_users_hand() -> None:
    ended = START + timedelta(hours=6)
    gone = dataclasses.replace(machine(cause="Client.UserInitiatedShutdown"), ended=ended)
    decision = decided(about(attempt()), gone, now=ended - timedelta(minutes=10))
    assert isinstance(decision, Mark)
    assert decision.reason is EndReason.TIMED_OUT


def test_an_instance_that_vanished_is_lost_and_followed() -> None:
    for found in ([], [machine(cause="Client.InstanceInitiatedShutdown")], [machine(cause="Server.InternalError")]):
        decision = decided(about(attempt()), *found)
        assert isinstance(decision, Resume)
        assert decision.end.reason is EndReason.INSTANCE_LOST


def test_the_agents_word_counts_more_than_ec2s() -> None:
    decision = decided(about(attempt(), ends=[end(1, EndReason.TRAINING_ERROR)]), machine())
    assert isinstance(decision, Mark)
    assert decision.reason is EndReason.TRAINING_ERROR


def test_a_new_instance_may_be_invisible_for_a_while() -> None:
    soon = START + timedelta(seconds=60)
    assert decided(about(attempt()), now=soon) == Wait("its instance is not visible yet", START + timedelta(seconds=300))
    asked = decided(about(attempt(instance="", launched="")), now=soon)
    assert asked == Wait("its instance is being asked for", START + timedelta(hours=6))
    ours = decided(about(attempt(instance="", launched="", by="watchdog")), now=soon)
    assert ours == Wait("its instance is being asked for", START + timedelta(seconds=rules.LAUNCH_SECONDS))


def test_a_launch_that_was_cut_short_is_marked_and_not_started_behind_the_users_back() -> None:
    waiting = attempt(instance="", launched="")
    assert isinstance(decided(about(waiting)), Wait)
    decision = decided(about(waiting), now=START + timedelta(hours=7))
    assert isinstance(decision, Mark)
    assert decision.reason is EndReason.INSTANCE_LOST
    assert decision.end.hours == 0


def test_a_start_of_our_own_that_was_cut_short_is_tried_again() -> None:
    decision = decided(about(attempt(1), attempt(2, by="watchdog", instance="", launched=""), ends=[end(1, EndReason.SPOT_INTERRUPTED)]))
    assert isinstance(decision, Resume)
    assert decision.attempt.number == 3


@pytest.mark.parametrize(
    ("spec", "changes", "reason", "words"),
    [
        ({"resume": False}, {}, EndReason.SPOT_INTERRUPTED, "--no-resume"),
        ({}, {"hours_before": 3.99}, EndReason.TIMED_OUT, "6.0 of 6 hours"),
        ({}, {"max_cost": 1.0, "cost_before": 0.5}, EndReason.COST_REACHED, "$1.10 of $1.00"),
        ({"max_attempts": 1}, {}, EndReason.SPOT_INTERRUPTED, "the last of 1 attempts"),
    ],
)
def test_limits(spec: dict[str, Any], changes: dict[str, Any], reason: EndReason, words: str) -> None:
    decision = decided(about(attempt(**changes), spec=dataclasses.replace(SPEC, **spec)), machine())
    assert isinstance(decision, Mark)
    assert decision.reason is reason
    assert words in decision.detail


def test_a_stop_while_it_was_interrupted_counts_and_an_older_one_does_not() -> None:
    interrupted = [end(1, EndReason.SPOT_INTERRUPTED)]
    stopped = decided(about(attempt(), ends=interrupted, stop=Stop(RUN, at(NOW))), machine())
    assert isinstance(stopped, Mark)
    assert stopped.reason is EndReason.STOPPED_BY_USER
    assert isinstance(decided(about(attempt(), ends=interrupted, stop=Stop(RUN, at(START - timedelta(hours=1)))), machine()), Resume)


def test_capacity_is_waited_for_and_then_given_up() -> None:
    def tries(count: int, last: datetime) -> Records:
        waiting = [attempt(number, by="watchdog", instance="", launched="") for number in range(2, count + 2)]
        failed = [end(number, EndReason.NO_CAPACITY, hours=0, ended=last) for number in range(2, count + 2)]
        return about(attempt(1), *waiting, ends=[end(1, EndReason.SPOT_INTERRUPTED), *failed])

    last = NOW - timedelta(seconds=30)
    assert decided(tries(1, last)) == Wait("it waits for capacity", last + timedelta(minutes=1))
    assert decided(tries(20, last)) == Wait("it waits for capacity", last + timedelta(minutes=30))
    again = decided(tries(11, NOW - timedelta(hours=1)))
    assert isinstance(again, Resume)
    assert (again.attempt.number, again.attempt.hours_before) == (13, 0.0)
    given_up = decided(tries(3, NOW - timedelta(hours=24)))
    assert isinstance(given_up, Mark)
    assert given_up.reason is EndReason.NO_CAPACITY


def test_the_pause_for_an_unanswered_start_outlives_the_function_that_asked() -> None:
    from llmlab.aws.lambda_function import TIMEOUT_SECONDS
    from llmlab.watchdog.run_snapshot import VISIBLE_SECONDS

    assert rules.LAUNCH_SECONDS >= TIMEOUT_SECONDS + VISIBLE_SECONDS


def test_an_end_that_ec2_does_not_explain_yet_is_waited_for() -> None:
    assert decided(about(attempt()), machine("shutting-down", "")) == Wait(
        "EC2 does not say yet why its instance ends", NOW + timedelta(seconds=rules.WHY_SECONDS)
    )
    assert isinstance(decided(about(attempt()), machine("shutting-down")), Resume)


def test_a_broken_machine_is_followed_by_another_and_an_idle_one_is_not() -> None:
    assert isinstance(decided(about(attempt(), ends=[end(1, EndReason.HARDWARE_FAILED)]), machine()), Resume)
    assert isinstance(decided(about(attempt(), ends=[end(1, EndReason.STALLED)]), machine()), Mark)


def test_a_machine_whose_gpus_fail_is_left_for_another_once() -> None:
    """At the same step: one that has come further meanwhile has met bad luck, not the same again."""
    broken = EndReason.HARDWARE_FAILED
    last = decided(about(attempt(1), attempt(2), ends=[end(1, broken), dataclasses.replace(end(2, broken), detail="CUDA does not start")]))
    assert isinstance(last, Mark)
    assert (last.reason, last.detail) == (broken, "CUDA does not start, on 2 machines one after another")
    assert isinstance(decided(about(attempt(1), attempt(2), ends=[end(1, broken), end(2, broken, step=40)])), Resume)


def test_one_that_completed_without_its_last_word_is_gone_on_with() -> None:
    assert isinstance(decided(about(attempt(), ends=[end(1, EndReason.COMPLETED)]), machine()), Resume)


def test_memory_that_ran_out_stays_the_reason_when_nothing_is_left() -> None:
    spec = dataclasses.replace(SPEC, recipe={"batch_size": 4})
    decision = decided(about(attempt(hours_before=5.0), ends=[end(1, EndReason.OUT_OF_MEMORY)], spec=spec), machine())
    assert isinstance(decision, Mark)
    assert decision.reason is EndReason.OUT_OF_MEMORY
    assert "6.0 of 6 hours" in decision.detail


def test_lost_again_and_again_without_a_new_checkpoint_is_given_up() -> None:
    attempts = [attempt(number) for number in (1, 2, 3)]
    fruitless = [end(number, EndReason.INSTANCE_LOST, step=40, hours=0.1) for number in (1, 2)]
    decision = decided(about(*attempts, ends=fruitless), machine(cause="", number=3))
    assert isinstance(decision, Mark)
    assert decision.reason is EndReason.INSTANCE_LOST
    moving = [end(number, EndReason.INSTANCE_LOST, step=number, hours=0.1) for number in (1, 2)]
    assert isinstance(decided(about(*attempts, ends=moving), machine(cause="", number=3)), Resume)
