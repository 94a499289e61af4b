"""Superseded checkpoints leave S3 with all their versions; what a resume, the best loss or nobody yet needs stays."""

import json

import pytest
from hypothesis import given, strategies as st

from llmlab import contract
from llmlab.contract import COMPLETE, EndReason
from llmlab.watchdog import checkpoint_retention
from llmlab.watchdog.checkpoint_retention import NotDeletedError, superseded
from tests.unit.watchdog.lab import KEYS, RUN, Lab, ended, gone


def save(lab: Lab, step: int, *, whole: bool = True, best: int = 0, versions: int = 1) -> None:
    for _ in range(versions):
        lab.put(KEYS.checkpoint(step) + "model.safetensors", b"weights")
        lab.put(KEYS.checkpoint(step) + contract.CHECKPOINT_STATE, json.dumps({"step": step, "best_step": best}).encode())
    if whole:
        lab.put(KEYS.checkpoint(step) + COMPLETE, contract.dump(contract.Complete(step, ())).encode())


def steps(lab: Lab) -> set[int]:
    return set(checkpoint_retention.folders(KEYS, lab.keys(KEYS.checkpoints)))


def versions(lab: Lab) -> list[str]:
    """The keys of every version of every checkpoint, delete markers too."""
    pages = lab.aws.s3.get_paginator("list_object_versions").paginate(Bucket=lab.aws.names.outputs_bucket, Prefix=KEYS.checkpoints)
    return [key for page in pages for key, _ in checkpoint_retention.versions_of(page)]


def test_the_newest_stay_and_the_others_go_with_all_their_versions_while_the_run_goes_on(lab: Lab) -> None:
    lab.launch()
    for step in range(10, 80, 10):
        save(lab, step, versions=2)
    save(lab, 80, whole=False)
    assert lab.wake({"sweep": True}).count("superseded") == 4
    assert steps(lab) == {50, 60, 70, 80}
    assert {key.split("/")[3] for key in versions(lab)} == {f"checkpoint-{step}" for step in (50, 60, 70, 80)}
    assert lab.keys(KEYS.spec) == [KEYS.spec]


def test_the_best_stays_whatever_its_age(lab: Lab) -> None:
    lab.launch()
    for step in range(10, 80, 10):
        save(lab, step, best=min(step, 20))
    lab.wake({"sweep": True})
    assert steps(lab) == {20, 50, 60, 70}


@pytest.mark.parametrize("state", [b"[", b'{"best_step": -1}', b'{"best_step": "x"}', b"{}", b" " * (contract.DOCUMENT_BYTES + 1)])
def test_a_state_that_nobody_can_read_names_no_best_one(lab: Lab, state: bytes) -> None:
    lab.launch()
    for step in range(10, 80, 10):
        save(lab, step)
    lab.put(KEYS.checkpoint(70) + contract.CHECKPOINT_STATE, state)
    lab.wake({"sweep": True})
    assert steps(lab) == {50, 60, 70}


@pytest.mark.parametrize("state", [b"[", b'{"best_step": "x"}'])
def test_where_the_newest_state_cannot_be_read_the_one_before_names_the_best(lab: Lab, state: bytes) -> None:
    lab.launch()
    for step in range(10, 80, 10):
        save(lab, step, best=min(step, 20))
    lab.put(KEYS.checkpoint(70) + contract.CHECKPOINT_STATE, state)
    lab.wake({"sweep": True})
    assert steps(lab) == {20, 50, 60, 70}


def test_the_recipe_says_how_many(lab: Lab) -> None:
    for said, stay in (
        (2, 2),
        (5, 5),
        (1, checkpoint_retention.FEWEST),
        ("many", checkpoint_retention.KEPT),
        (True, checkpoint_retention.KEPT),
    ):
        lab.change(recipe={"keep_checkpoints": said})
        if not lab.live():
            lab.launch()
        for step in range(10, 100, 10):
            save(lab, step)
        lab.wake({"sweep": True})
        assert len(steps(lab)) == stay, said


def test_after_the_end_what_never_became_whole_goes_too(lab: Lab) -> None:
    attempt = lab.launch()
    for step in (10, 20, 30, 40):
        save(lab, step)
    save(lab, 15, whole=False)
    save(lab, 50, whole=False)
    ended(lab, 1, EndReason.TRAINING_ERROR)
    lab.wake(lab.kill(attempt))
    assert lab.marker()
    assert steps(lab) == {20, 30, 40}
    assert lab.aws.cloud.keys(lab.aws.names.outputs_bucket, contract.ENDED)


def test_an_instance_that_is_not_gone_may_still_upload(lab: Lab) -> None:
    attempt = lab.launch()
    for step in (10, 20, 30):
        save(lab, step)
    save(lab, 25, whole=False)
    ended(lab, 1, EndReason.TRAINING_ERROR)
    lab.wake(gone(attempt, "shutting-down"))
    assert 25 in steps(lab)
    lab.wake(lab.kill(attempt))
    assert steps(lab) == {10, 20, 30}


def test_runs_that_were_over_before_are_come_to(lab: Lab) -> None:
    """One that ended before checkpoints were deleted, or whose last look was cut short."""
    attempt = lab.launch()
    ended(lab, 1, EndReason.TRAINING_ERROR)
    lab.wake(lab.kill(attempt))
    lab.clock.sleep(7200)
    assert lab.wake({"sweep": True}) == ["swept"]
    for step in range(10, 80, 10):
        save(lab, step)
    assert lab.wake({"sweep": True})[-1] == "swept"
    assert steps(lab) == {50, 60, 70}


def test_a_look_deletes_so_much_and_the_alarm_clock_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_retention, "MOST_VERSIONS", 6)
    attempt = lab.launch()
    for step in range(10, 110, 10):
        save(lab, step)
    ended(lab, 1, EndReason.TRAINING_ERROR)
    lab.wake(lab.kill(attempt))
    assert steps(lab) == set(range(30, 110, 10))
    while lab.alarm:
        lab.sleep_until_alarm()
    assert steps(lab) == {80, 90, 100}


class Refusing:
    """S3 that keeps what it is to delete, and says so inside a 200."""

    def __init__(self, client: object) -> None:
        self.client = client

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    def delete_objects(self, **_: object) -> dict[str, object]:
        return {"Errors": [{"Key": "k", "Code": "AccessDenied", "Message": "Access Denied"}]}


def test_what_s3_keeps_fails_the_look_and_nothing_else_of_it(lab: Lab) -> None:
    attempt = lab.launch()
    for step in range(10, 80, 10):
        save(lab, step)
    ended(lab, 1, EndReason.TRAINING_ERROR)
    lab.kill(attempt)
    watchdog = lab.watchdog()
    watchdog.bucket.client = Refusing(watchdog.bucket.client)
    with pytest.raises(NotDeletedError, match=r"kept 1 versions under .*checkpoint-10/, the first of them k: Access Denied"):
        watchdog.look_after(RUN)
    assert lab.marker()
    assert lab.keys(contract.ENDED)
    assert any("failed" in subject for subject, _ in lab.sent())


@given(st.dictionaries(st.integers(0, 30), st.booleans()), st.integers(2, 5), st.booleans())
def test_which(found: dict[int, bool], kept: int, uploading: bool) -> None:
    """However it stands: the newest whole ones stay, doing it again changes nothing, and little is left."""
    go = set(superseded(found, kept, uploading=uploading))
    whole = sorted(step for step, complete in found.items() if complete)
    assert not go & set(whole[-kept:])
    left = {step: complete for step, complete in found.items() if step not in go}
    assert superseded(left, kept, uploading=uploading) == []
    assert len([step for step in left if left[step]]) <= kept
    if not uploading:
        assert set(left) == set(whole[-kept:])
    elif len(whole) < kept:
        assert not go
