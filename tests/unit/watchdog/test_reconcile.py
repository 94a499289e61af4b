"""The watchdog at work on an account in this process: events in, instances, documents and numbers out."""

import json

import pytest

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Marker
from llmlab.lifecycle import one_time_schedules
from llmlab.watchdog import events, notifications
from llmlab.watchdog.policy import Mark, Resume, decide
from llmlab.watchdog.reconcile import Watchdog
from llmlab.watchdog.run_snapshot import RunSnapshot, load_snapshot
from tests.unit.watchdog.lab import BY_API, KEYS, RUN, Lab, ended, gone


def test_an_interruption_becomes_one_new_attempt_however_often_it_is_told(lab: Lab) -> None:
    first = lab.launch()
    lab.clock.sleep(1800)
    event = lab.kill(first)
    assert lab.wake(gone(first, "shutting-down")) == ["resumed", "wait", "told", "told"]
    for _ in range(3):
        assert lab.wake(event) == ["wait"]
    (instance,) = lab.live()
    second = lab.read(Attempt, KEYS.attempt(2))
    assert (second.instance, second.by, second.hours_before) == (instance["InstanceId"], "watchdog", pytest.approx(0.5, abs=0.01))
    assert second.price == 0.3
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert (tags["Attempt"], tags["Deadline"]) == ("2", str(second.deadline))
    assert lab.end(1).reason is EndReason.SPOT_INTERRUPTED
    schedule = lab.aws.client("scheduler").get_schedule(
        GroupName=lab.aws.names.schedule_group, Name=one_time_schedules.schedule_name(RUN, 2)
    )
    assert schedule["Target"]["Arn"] == one_time_schedules.TERMINATE
    assert json.loads(schedule["Target"]["Input"]) == {"InstanceIds": [second.instance]}


def test_two_watchdogs_at_once_start_one_instance(lab: Lab) -> None:
    """The one that comes second to the claim finds it taken, also when it had decided before."""
    from llmlab.watchdog import start_attempt

    lab.kill(lab.launch())
    ours = lab.watchdog()
    sight = load_snapshot(ours, RUN)
    assert sight
    decision = decide(sight, 0, {})
    assert isinstance(decision, Resume)
    start_attempt.start(ours, sight, decision)
    start_attempt.start(ours, sight, decision)
    assert [name for name, _ in lab.logged] == ["resumed", "wait"]
    assert len(lab.live()) == 1


def test_strangers_are_not_ours(lab: Lab) -> None:
    stranger = lab.stranger()
    assert lab.wake(gone(stranger)) == []
    lab.clock.sleep(100 * 3600)
    assert lab.wake({"sweep": True}) == ["ignored", "swept"]  # our run has no attempt yet
    assert [instance["InstanceId"] for instance in lab.live()] == [stranger]
    assert lab.wake({"something": "else"}) == ["ignored"]
    assert lab.wake(one_time_schedules.wake_event("../../etc")) == ["ignored"]


def test_the_deadline_event_ends_the_attempts_instance_and_no_other(lab: Lab) -> None:
    first, second = lab.launch(1), lab.launch(2)
    ended(lab, 1, EndReason.SPOT_INTERRUPTED)
    assert lab.wake(one_time_schedules.deadline_event(RUN, 1))[0] == "terminated"
    assert [instance["InstanceId"] for instance in lab.live()] == [second.instance]
    assert first.instance != second.instance


def test_the_sweep_ends_what_is_past_its_deadline_also_without_a_tag(lab: Lab) -> None:
    lab.launch()
    lab.stranger(lab.aws.names.tags)
    lab.clock.sleep(6 * 3600 - 120)
    decisions = lab.wake({"sweep": True})
    assert decisions.count("scheduled") == 2
    assert "terminated" not in decisions
    lab.clock.sleep(240)
    assert lab.wake({"sweep": True}).count("terminated") == 2
    assert lab.live() == []
    marker = lab.marker()
    assert marker
    assert marker.reason is EndReason.TIMED_OUT
    assert lab.aws.s3.head_object(Bucket=lab.aws.names.outputs_bucket, Key=KEYS.ended(EndReason.TIMED_OUT))


def test_the_sweep_mends_a_missing_schedule(lab: Lab) -> None:
    attempt = lab.launch()
    assert lab.wake({"sweep": True}) == ["wait", "told", "scheduled", "swept"]
    assert lab.wake({"sweep": True}) == ["wait", "swept"]
    schedule = lab.aws.client("scheduler").get_schedule(
        GroupName=lab.aws.names.schedule_group, Name=one_time_schedules.schedule_name(RUN, 1)
    )
    assert json.loads(schedule["Target"]["Input"]) == {"InstanceIds": [attempt.instance]}


def test_the_sweep_aims_a_schedule_whose_start_was_cut_short(lab: Lab) -> None:
    """It would call the watchdog, and the instance's end would wait for code of ours."""
    attempt, scheduler = lab.launch(), lab.aws.client("scheduler")
    role = lab.aws.names.role_arn(lab.aws.names.scheduler_role)
    scheduler.create_schedule(
        **one_time_schedules.create_schedule_request(lab.aws.names, run=RUN, attempt=1, deadline=attempt.deadline, role=role)
    )
    assert "scheduled" in lab.wake({"sweep": True})
    assert "scheduled" not in lab.wake({"sweep": True})
    schedule = scheduler.get_schedule(GroupName=lab.aws.names.schedule_group, Name=one_time_schedules.schedule_name(RUN, 1))
    assert schedule["Target"]["Arn"] == one_time_schedules.TERMINATE
    assert json.loads(schedule["Target"]["Input"]) == {"InstanceIds": [attempt.instance]}


def test_a_sweep_goes_on_past_a_run_that_cannot_be_looked_after(lab: Lab) -> None:
    """One run's document is not readable; the other one is interrupted and followed up."""
    other = "20261123-110000-aaaa"
    lab.aws.s3.put_object(Bucket=lab.aws.names.outputs_bucket, Key=contract.RunKeys(other).spec, Body=b"{")
    lab.kill(lab.launch())
    decisions = lab.wake({"sweep": True})
    assert "unreadable" in decisions
    assert "resumed" in decisions


def test_a_finished_machine_that_does_not_switch_off_is_ended(lab: Lab) -> None:
    lab.launch()
    end = ended(lab, 1, EndReason.COMPLETED)
    lab.write(KEYS.success, Marker(RUN, EndReason.COMPLETED, end.ended, 1))
    assert "terminated" not in lab.wake({"sweep": True})
    assert lab.alarm
    assert 900 <= (lab.alarm - lab.clock.now()).total_seconds() <= 902
    assert lab.sleep_until_alarm()[0] == "terminated"
    assert lab.schedules() == {}


def test_a_marker_of_an_attempt_before_a_resume_is_replaced(lab: Lab) -> None:
    lab.launch(1)
    second = lab.launch(2)
    lab.write(KEYS.failure, Marker(RUN, EndReason.STOPPED_BY_USER, contract.build_timestamp(lab.clock.now()), 1))
    for attempt in (lab.read(Attempt, KEYS.attempt(1)), second):
        lab.kill(attempt, BY_API)
    assert lab.wake(gone(second)) == ["marked", "wait", "told"]
    assert lab.read(Marker, KEYS.failure).attempts == 2


def test_a_run_that_is_resumed_while_the_watchdog_judges_it_is_not_marked(lab: Lab) -> None:
    first = lab.launch(1)
    lab.kill(first, BY_API)
    sight = load_snapshot(lab.watchdog(), RUN)
    assert sight
    end = AttemptEnd(RUN, 1, EndReason.STOPPED_BY_USER, contract.build_timestamp(lab.clock.now()))
    lab.write(KEYS.attempt(2), Attempt(RUN, 2, end.ended, first.deadline, spot=True, by="resume", max_hours=6))
    lab.watchdog().mark(sight, Mark(end, end.reason, ""))
    assert lab.read(Marker, KEYS.failure) is None


def test_a_run_that_is_resumed_while_people_are_told_is_not_listed_as_over(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt is claimed and the listing taken away after the watchdog has seen that the run is over, and before it lists it."""
    attempt = lab.launch()
    end = ended(lab, 1, EndReason.STOPPED_BY_USER)
    lab.write(KEYS.failure, Marker(RUN, EndReason.STOPPED_BY_USER, end.ended, 1))
    event = lab.kill(attempt, "Client.InstanceInitiatedShutdown")

    def resume(watchdog: Watchdog, sight: RunSnapshot) -> bool:
        lab.launch(2, by="resume", max_hours=6)
        lab.aws.s3.delete_object(Bucket=lab.aws.names.outputs_bucket, Key=KEYS.failure)
        return True

    monkeypatch.setattr(notifications, "notify", resume)
    lab.wake(event)
    assert lab.watchdog().bucket.over() == set()
    assert lab.alarm, "the one that the resume had set may be gone"
    assert (lab.alarm - lab.clock.now()).total_seconds() <= 61


def test_the_word_of_an_agent_that_comes_while_the_watchdog_judges_counts(lab: Lab) -> None:
    """Nothing is started and nothing marked on a judgement that was overtaken."""
    from llmlab.watchdog import start_attempt

    lab.kill(lab.launch(), "Client.InstanceInitiatedShutdown")
    ours = lab.watchdog()
    sight = load_snapshot(ours, RUN)
    assert sight
    decision = decide(sight, 0, {})
    assert isinstance(decision, Resume)
    ended(lab, 1, EndReason.COMPLETED)
    start_attempt.start(ours, sight, decision)
    ours.mark(sight, Mark(decision.end, EndReason.INSTANCE_LOST, ""))
    assert lab.live() == []
    assert lab.marker() is None
    assert len(lab.attempts()) == 1


def test_a_marker_whose_listing_is_missing_gets_it(lab: Lab) -> None:
    attempt = lab.launch()
    end = ended(lab, 1, EndReason.TRAINING_ERROR)
    lab.write(KEYS.failure, Marker(RUN, EndReason.TRAINING_ERROR, end.ended, 1))
    lab.wake(lab.kill(attempt, "Client.InstanceInitiatedShutdown"))
    assert lab.watchdog().bucket.over() == {RUN}


def test_the_events_that_are_understood() -> None:
    assert events.parse(one_time_schedules.wake_event(RUN)) == events.Wake(RUN)
    assert events.parse(one_time_schedules.deadline_event(RUN, 3)) == events.Deadline(RUN, 3)
    assert events.parse({"wake": "now"}) == events.Unknown("['wake']")


@pytest.mark.parametrize("minutes", [90, 2 * 24 * 60 + 7])
def test_the_age_of_the_oldest_instance_is_measured(lab: Lab, minutes: int) -> None:
    """Also of one that has lived for days: the alarm on what runs too long reads it."""
    lab.launch(deadline=int(lab.clock.now().timestamp()) + 100 * 3600, max_hours=100)
    lab.clock.sleep(minutes * 60)
    lab.wake({"sweep": True})
    assert lab.measured()["RunAgeMinutes"] == [minutes]
