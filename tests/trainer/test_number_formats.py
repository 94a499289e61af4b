"""fp16 and bf16, as the GPUs of one run may differ in them: moving between the two, and an fp16 training that learns nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import EndReason, TrainerExit, WorkFolder
from llmlab.trainer import device as machines
from llmlab.trainer.device import Device
from llmlab.trainer.training import training_loop
from llmlab.trainer.training.training_loop import Loop
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import Interrupting, ask

RECIPE: dict[str, Any] = {"epochs": 3, "batch_size": 2, "accumulate": 2, "lora": {"rank": 4, "dropout": 0.0}}
COUNT = 14
STEPS = 12

Choose = Callable[[str], None]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Have the machine be one that computes in this format, as a GPU would."""

    def chosen(dtype: str) -> None:
        monkeypatch.setattr(machines, "choose", lambda *_arguments: Device("cpu", dtype))

    return chosen


def run(train: Train, work: WorkFolder, interrupted_at: int | None = None) -> tuple[int, str]:
    """Trained to its end, or to a step at which somebody asks to leave; the output is that of this attempt alone."""
    Path(work.request).unlink(missing_ok=True)
    shutil.rmtree(work.output)
    return train(work, Interrupting(work, interrupted_at, ask) if interrupted_at else None)


@pytest.mark.parametrize(("first", "second"), [("bfloat16", "float16"), ("float16", "bfloat16")])
def test_a_run_goes_on_in_the_other_format_and_says_so(
    tmp_path: Path, model: Path, train: Train, choose: Choose, first: str, second: str
) -> None:
    """The losses stay near those of one format; and back again the first one's scale of gradients is found."""
    choose(first)
    whole = folders.make(tmp_path / "whole", model, recipe=RECIPE, count=COUNT)
    assert run(train, whole)[0] == 0
    work = folders.make(tmp_path / "work", model, recipe=RECIPE, count=COUNT)
    assert run(train, work, 2)[0] == TrainerExit.STOPPED_ON_REQUEST
    choose(second)
    code, log = run(train, work, 5)
    assert code == TrainerExit.STOPPED_ON_REQUEST, log
    assert f"warning: the checkpoint was trained in {first}, from here on in {second}" in log
    choose(first)
    code, log = run(train, work)
    assert code == 0, log
    assert f"warning: the checkpoint was trained in {second}, from here on in {first}" in log
    assert len(folders.losses(work)) == STEPS
    for moved, stayed in zip(folders.losses(work), folders.losses(whole), strict=True):
        assert moved[1] == pytest.approx(stayed[1], rel=0.05)


def test_one_format_is_no_news(tmp_path: Path, model: Path, train: Train, choose: Choose) -> None:
    choose("float16")
    work = folders.make(tmp_path, model, recipe=RECIPE, count=COUNT)
    assert run(train, work, 2)[0] == TrainerExit.STOPPED_ON_REQUEST
    code, log = run(train, work)
    assert code == 0, log
    assert "was trained in" not in log


def spoil_gradients(monkeypatch: pytest.MonkeyPatch, at: Callable[[int], bool]) -> None:
    """One gradient of each step that is meant is infinite, as those of a model whose activations leave fp16's range are."""
    move = Loop._move

    def spoiled(loop: Loop, rate: float) -> float:
        if at(loop.state.step):
            next(one.grad for one in loop.parameters.values() if one.grad is not None).view(-1)[0] = float("inf")
        return move(loop, rate)

    monkeypatch.setattr(Loop, "_move", spoiled)


def test_a_training_that_never_moved_has_failed(
    tmp_path: Path, model: Path, train: Train, choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("float16")
    spoil_gradients(monkeypatch, lambda _step: True)
    work = folders.make(tmp_path, model, recipe=RECIPE, count=COUNT)
    code, log = run(train, work)
    ended = folders.outcome(work)
    assert (code, ended.reason) == (TrainerExit.TRAINING_ERROR, EndReason.TRAINING_ERROR), log
    assert ended.detail == f"nothing is learned in float16; none of {STEPS} steps had finite gradients"
    assert folders.hint(ended) == "llmlab launch --instance-type g6.xlarge,g5.xlarge"


def test_a_training_ends_after_many_steps_in_a_row_that_taught_nothing(
    tmp_path: Path, model: Path, train: Train, choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a row over an interruption, too; and a few such steps, by which a scale of gradients is found, are none of them."""
    monkeypatch.setattr(training_loop, "UNMOVED", 6)
    choose("float16")
    spoil_gradients(monkeypatch, lambda step: step >= 4 or step < 3)
    work = folders.make(tmp_path, model, recipe={**RECIPE, "save_steps": 6}, count=COUNT)
    assert run(train, work, 7)[0] == TrainerExit.STOPPED_ON_REQUEST
    code, log = run(train, work)
    assert code == TrainerExit.TRAINING_ERROR, log
    assert folders.outcome(work).detail == "nothing is learned in float16; the last 6 steps had no finite gradients"
    assert "step 9/" in log
    assert "step 10/" not in log
