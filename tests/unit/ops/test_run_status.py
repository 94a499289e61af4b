"""How a run is: the table of what EC2, the markers, the attempts and the heartbeat can say together."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Heartbeat, Manifest, Marker, Progress, RunState, Spec
from llmlab.lifecycle.instances import Instance
from llmlab.ops.run_status import assemble, derive, remaining

RUN = "20261124-000000-abcd"
START = datetime(2026, 11, 24, tzinfo=UTC)
NOW = START + timedelta(hours=1)


def attempt(number: int = 1, *, instance: str = "i-1") -> Attempt:
    launched = contract.build_timestamp(START) if instance else ""
    deadline = int((START + timedelta(hours=6)).timestamp())
    return Attempt(RUN, number, launched, deadline, spot=True, by="launch", max_hours=6, instance=instance, price=0.5, launched=launched)


def end(reason: EndReason, number: int = 1, step: int = 40) -> AttemptEnd:
    return AttemptEnd(RUN, number, reason, contract.build_timestamp(NOW), step=step, hours=0.5, cost=0.25)


def beat(phase: str, number: int = 1) -> Heartbeat:
    progress = Progress(phase, step=50, total_steps=100, loss=1.5, tokens_per_second=900.0, seconds=100)
    return Heartbeat(RUN, number, contract.build_timestamp(NOW), "i-1", phase, progress, gpu_percent=90.0, checkpoint=40)


def marker(reason: EndReason) -> Marker:
    return Marker(RUN, reason, contract.build_timestamp(NOW), 2, step=100, total_steps=100, loss=0.5, hours=1.5, cost=0.75)


def machine(state: str) -> Instance:
    return Instance("i-1", "g6.xlarge", "us-east-1a", state, START, spot=True, tags={"Run": RUN, "Attempt": "1"})


def spec() -> Spec:
    data = Manifest("sums", (), "2026-11-24T00:00:00Z")
    return Spec(RUN, "lab", "us-east-1", "1", {}, data, "image", "ami-1", "t", (), spot=True, max_hours=6, created="2026-11-24T00:00:00Z")


Row = tuple[EndReason | None, list[str], Attempt | None, AttemptEnd | None, Heartbeat | None, RunState]
TABLE: tuple[Row, ...] = (
    # marker, instances, newest attempt, its end, heartbeat → state
    (None, [], None, None, None, RunState.PENDING),
    (None, [], attempt(instance=""), None, None, RunState.PENDING),
    (None, ["pending"], attempt(), None, None, RunState.STARTING),
    (None, ["running"], attempt(), None, None, RunState.STARTING),
    (None, ["running"], attempt(), None, beat("preparing"), RunState.STARTING),
    (None, ["running"], attempt(), None, beat("training"), RunState.RUNNING),
    (None, ["running"], attempt(), None, beat("loading"), RunState.RUNNING),
    (None, ["running"], attempt(2), None, beat("training", 1), RunState.STARTING),  # the heartbeat of the attempt before
    (None, ["pending"], attempt(), None, beat("training"), RunState.STARTING),
    (None, ["terminated", "running"], attempt(2), None, beat("training", 2), RunState.RUNNING),
    (None, ["terminated"], attempt(), None, beat("training"), RunState.INTERRUPTED),  # a heartbeat alone says nothing
    (None, ["shutting-down"], attempt(), end(EndReason.SPOT_INTERRUPTED), beat("training"), RunState.INTERRUPTED),
    (None, [], attempt(), None, beat("training"), RunState.INTERRUPTED),
    (None, [], attempt(), end(EndReason.INSTANCE_LOST), None, RunState.INTERRUPTED),
    (None, [], attempt(2, instance=""), None, None, RunState.INTERRUPTED),
    (None, ["stopped"], attempt(), None, None, RunState.INTERRUPTED),
    (EndReason.COMPLETED, ["running"], attempt(), None, beat("uploading"), RunState.SUCCEEDED),
    (EndReason.COMPLETED, [], attempt(), None, None, RunState.SUCCEEDED),
    (EndReason.STOPPED_BY_USER, ["running"], attempt(), None, beat("training"), RunState.STOPPED),
    (EndReason.TIMED_OUT, [], attempt(), None, None, RunState.STOPPED),
    (EndReason.COST_REACHED, [], attempt(), None, None, RunState.STOPPED),
    (EndReason.OUT_OF_MEMORY, [], attempt(), None, None, RunState.FAILED),
    (EndReason.INSTANCE_LOST, ["terminated"], attempt(), None, beat("training"), RunState.FAILED),
)


@pytest.mark.parametrize(("reason", "states", "claim", "ended", "heartbeat", "state"), TABLE)
def test_state(
    reason: EndReason | None,
    states: list[str],
    claim: Attempt | None,
    ended: AttemptEnd | None,
    heartbeat: Heartbeat | None,
    state: RunState,
) -> None:
    assert derive(reason, states, claim, ended, heartbeat) is state


def test_the_table_has_every_state() -> None:
    assert {row[-1] for row in TABLE} == set(RunState) - {RunState.UNREADABLE}


def test_a_live_run_costs_by_its_time_and_knows_what_is_left() -> None:
    run = assemble(RUN, spec(), [machine("running")], [attempt()], [], beat("training"), None, NOW)
    assert (run.state, run.step, run.total_steps, run.loss) == (RunState.RUNNING, 50, 100, 1.5)
    assert (run.hours, run.cost) == (1.0, 0.5)
    assert run.eta_seconds == 100
    assert run.checkpoint == 40
    assert run.hint == f"llmlab logs {RUN} -f"


def test_the_pace_is_that_of_this_attempt() -> None:
    assert remaining(beat("training", 2), [end(EndReason.SPOT_INTERRUPTED, step=40)]) == pytest.approx(50 * 100 / 10)
    assert remaining(beat("training", 2), [end(EndReason.SPOT_INTERRUPTED, step=50)]) is None


def test_an_interrupted_run_says_why_and_stops_costing() -> None:
    run = assemble(RUN, spec(), [], [attempt()], [end(EndReason.SPOT_INTERRUPTED)], beat("training"), None, NOW + timedelta(hours=9))
    assert (run.state, run.reason, run.hours, run.cost) == (RunState.INTERRUPTED, EndReason.SPOT_INTERRUPTED, 0.5, 0.25)


def test_an_instance_that_vanished_costs_at_most_until_its_deadline() -> None:
    run = assemble(RUN, spec(), [], [attempt()], [], None, None, START + timedelta(hours=50))
    assert (run.state, run.hours) == (RunState.INTERRUPTED, 6.0)


def test_a_marker_of_an_attempt_before_the_newest_is_not() -> None:
    run = assemble(RUN, spec(), [machine("running")], [attempt(2), attempt(3)], [], beat("training", 3), marker(EndReason.TIMED_OUT), NOW)
    assert (run.state, run.reason, run.ended) == (RunState.RUNNING, None, None)


def test_a_marker_is_the_last_word() -> None:
    claim = dataclasses.replace(attempt(2), hours_before=1.0, cost_before=0.5)
    ends = [end(EndReason.COMPLETED, 2)]
    run = assemble(RUN, spec(), [machine("running")], [claim], ends, beat("training", 2), marker(EndReason.COMPLETED), NOW)
    assert (run.state, run.step, run.loss, run.hours, run.cost, run.eta_seconds) == (RunState.SUCCEEDED, 100, 0.5, 1.5, 0.75, None)
    assert run.hint == f"llmlab fetch {RUN}"
