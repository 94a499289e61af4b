"""What is watched while training: held-out examples, losses that are no number, checkpoints."""

import json
import math
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.contract import EndReason, TrainerExit, WorkFolder
from llmlab.trainer.training import checkpoints
from llmlab.trainer.training.training_loop import Loop
from tests.sampling import sampled
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import Interrupting, Ticking, ask

HELD = {"share": 0.25, "steps": 2}


def rows(work: WorkFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(work.output, contract.METRICS_FILE).read_text().splitlines()]


def plant(monkeypatch: pytest.MonkeyPatch, step: int, change: Any) -> None:
    """Something done to the model's gradients, or to its loss, in one step (from 0)."""
    import torch

    good = Loop._is_good

    def bad(self: Loop, loss: float) -> bool:
        if self.state.step == step:
            loss = change(self, loss)
        return good(self, loss)

    assert torch.is_grad_enabled()
    monkeypatch.setattr(Loop, "_is_good", bad)


# ------------------------------------------------------------ held-out examples


def test_each_evaluation_has_its_row(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model, count=24, recipe={"epochs": 2, "evaluation": HELD})
    code, log = train(work)
    assert code == 0, log
    told = [row for row in rows(work) if "eval_loss" in row]
    steps = max(row["step"] for row in rows(work))
    assert [row["step"] for row in told] == sorted({0, *range(2, steps + 1, 2), steps // 2, steps})
    for row in told:
        assert row["eval_perplexity"] == pytest.approx(math.exp(row["eval_loss"]))
        assert 0 <= row["eval_token_accuracy"] <= 1
    assert told[-1]["eval_loss"] < told[0]["eval_loss"]
    assert "held out" in log


def test_the_evaluation_is_the_loss_of_each_held_out_example(tmp_path: Path, model: Path, train: Train) -> None:
    """Packed, in batches, or each alone: the same number."""
    seen = []
    for number, changed in enumerate(({"packing": True}, {"packing": False, "batch_size": 1, "accumulate": 4}, {"packing": False})):
        work = folders.make(tmp_path / str(number), model, count=24, recipe={"evaluation": HELD, **changed, "lora": {"dropout": 0.0}})
        code, log = train(work)
        assert code == 0, log
        seen.append(folders.evaluated(work))
    assert len(seen) == 3
    for other in seen[1:]:
        for one, two in zip(seen[0], other, strict=True):
            assert one == pytest.approx(two, rel=1e-5)


def overfitting(**changed: Any) -> dict[str, Any]:
    """Held-out loss falls and rises again within some steps."""
    return {"epochs": 40, "learning_rate": 0.03, "schedule": "constant", "evaluation": {"share": 0.3, "steps": 2, **changed}}


@pytest.mark.parametrize(("method", "steps"), [("lora", 16), ("full", 8)])
def test_the_best_comes_out(tmp_path: Path, model: Path, train: Train, method: str, steps: int) -> None:
    import torch
    from safetensors.torch import load_file

    work = folders.make(tmp_path, model, count=14, recipe=overfitting() | {"method": method, "max_steps": steps, "save_steps": 1})
    code, log = train(work)
    assert code == 0, log
    told = folders.evaluated(work)
    best_step, best = min(told, key=lambda one: one[1])
    assert 0 < best_step < steps - 2, told
    assert f"output: the weights of step {best_step}, whose held-out loss {best:.4f} was the best" in log
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    kept = Path(work.checkpoints, f"checkpoint-{best_step}", name)
    there = {path.name for path in Path(work.checkpoints).iterdir() if path.name.startswith("checkpoint")}
    assert there == {f"checkpoint-{step}" for step in (best_step, steps - 2, steps - 1, steps)}, "the newest three, and the best"
    folder = Path(work.output, contract.WHOLE_MODEL if method == "full" else contract.ADAPTER)
    came_out, were_best = load_file(folder / name), load_file(kept)
    assert came_out.keys() == were_best.keys()
    assert all(torch.equal(came_out[one], were_best[one]) for one in came_out)


def test_it_ends_early_and_stays_ended(tmp_path: Path, model: Path, train: Train) -> None:
    """Also when it is lost after its last checkpoint and started again."""
    work = folders.make(tmp_path, model, count=14, recipe=overfitting(patience=2))
    code, log = train(work)
    assert code == 0, log
    assert "ending early: 2 evaluations without a better loss than" in log
    ended, weights = folders.losses(work), folders.weights(work)
    told = folders.evaluated(work)
    assert len(ended) < 40
    assert min(told, key=lambda one: one[1]) == told[-3]
    shutil.rmtree(work.output)
    code, log = train(work)
    assert code == 0, log
    assert folders.losses(work) == ended
    assert folders.weights(work) == weights


def test_the_best_survives_an_interruption(tmp_path: Path, model: Path, train: Train) -> None:
    """Asked to leave at steps 6 and 8, which are evaluated too: that is made up for."""
    recipe = overfitting() | {"max_steps": 12, "save_steps": None}
    whole, work = (folders.make(tmp_path / name, model, count=14, recipe=recipe) for name in ("whole", "work"))
    assert train(whole)[0] == 0
    for step in (6, 8):
        code, log = train(work, Interrupting(work, step - 1, ask))
        assert code == TrainerExit.STOPPED_ON_REQUEST, log
        assert folders.outcome(work).step == step
        Path(work.request).unlink()
        shutil.rmtree(work.output)
    code, log = train(work)
    assert code == 0, log
    assert folders.losses(work) == folders.losses(whole)
    assert folders.evaluated(work) == folders.evaluated(whole)
    assert folders.weights(work) == folders.weights(whole)


def test_samples_are_written(tmp_path: Path, model: Path, train: Train) -> None:
    prompts = ["How do I restart the old server?", "How do I grow the main volume?"]
    work = folders.make(tmp_path, model, count=8, recipe={"epochs": 2, "evaluation": {"prompts": prompts, "prompt_tokens": 6}})
    code, log = train(work)
    assert code == 0, log
    told = [json.loads(line) for line in Path(work.output, "samples-by-step.jsonl").read_text().splitlines()]
    assert [(one["step"], one["prompt"]) for one in told] == [(step, prompt) for step in (0, 2, 4) for prompt in prompts]
    final = [json.loads(line) for line in Path(work.output, contract.SAMPLES_FILE).read_text().splitlines()]
    assert [one["prompt"] for one in final] == prompts
    assert [(one["base"], one["tuned"]) for one in final] == [(told[at]["text"], told[4 + at]["text"]) for at in (0, 1)]
    assert log.count("sample: ") == 6


# ------------------------------------------------------------ losses that are no number


def infinite(_loop: Loop, _loss: float) -> float:
    return float("nan")


def jumps(_loop: Loop, loss: float) -> float:
    return loss + 5


def poisons(loop: Loop, loss: float) -> float:
    """The loss is a number, and a gradient is not."""
    next(iter(loop.parameters.values())).grad.fill_(float("inf"))  # type: ignore[union-attr]
    return loss


BAD = {"not a number": (infinite, "the loss is nan"), "jump": (jumps, "the loss is"), "gradient": (poisons, "the gradient's norm is")}
GOOD = {"not a number": 11, "jump": 11, "gradient": 12}
"""The step of the last checkpoint that is surely good when step 13 is bad: the weights after step 12 gave the loss."""


def test_no_case_is_missing() -> None:
    assert len(BAD) == 3


@pytest.mark.parametrize("kind", sampled(BAD, "jump"))
def test_a_bad_step_stops_at_the_last_good_checkpoint(
    tmp_path: Path, model: Path, train: Train, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """And going on from there, without what was bad, is the run that had nothing bad."""
    change, words = BAD[kind]
    whole, work = (folders.make(tmp_path / name, model, count=16, recipe={"epochs": 4, "save_steps": 1}) for name in ("whole", "work"))
    assert train(whole)[0] == 0
    with monkeypatch.context() as planted:
        plant(planted, 12, change)
        code, log = train(work)
    assert code == TrainerExit.TRAINING_ERROR, log
    told = folders.outcome(work)
    assert told.reason is EndReason.TRAINING_ERROR
    assert told.detail.startswith(words)
    assert "at step 13" in told.detail
    assert told.detail.endswith(f"; the last good checkpoint is checkpoint-{GOOD[kind]}")
    assert "llmlab launch --set learning_rate=0.00075" in folders.hint(told)
    found = checkpoints.find(Path(work.checkpoints))
    assert (found.step, found.damaged) == (12, ())
    code, log = train(work)
    assert code == 0, log
    assert folders.losses(work) == folders.losses(whole)
    assert folders.weights(work) == folders.weights(whole)


@pytest.mark.parametrize("kind", sampled(BAD, "jump"))
def test_a_bad_step_is_left_out_when_told_to(tmp_path: Path, model: Path, train: Train, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    change, words = BAD[kind]
    work = folders.make(tmp_path, model, count=16, recipe={"epochs": 4, "save_steps": 1, "on_bad_loss": "skip"})
    with monkeypatch.context() as planted:
        plant(planted, 12, change)
        code, log = train(work)
    assert code == 0, log
    assert f"warning: {words}" in log
    assert "this step is left out, the 1. so far" in log
    state = json.loads(Path(work.checkpoints, "checkpoint-16", "state.json").read_text())
    assert (state["step"], state["skipped"]) == (16, 1)
    trained = [row for row in rows(work) if "loss" in row]
    assert len(trained) == 16
    assert [row["step"] for row in trained if "grad_norm" not in row] == [13]
    assert all(math.isfinite(row["loss"]) for row in trained if row["step"] != 13)


# ------------------------------------------------------------ checkpoints


def test_steps_and_minutes_both_ask_for_checkpoints(tmp_path: Path, model: Path, train: Train) -> None:
    recipe = {"epochs": 3, "save_steps": 5, "save_minutes": 4, "keep_checkpoints": 100}
    work = folders.make(tmp_path, model, count=16, recipe=recipe)
    code, log = train(work, Ticking(datetime(2026, 11, 23, tzinfo=UTC)))
    assert code == 0, log
    saved = [int(line.split()[1].removeprefix("checkpoint-")) for line in log.splitlines() if line.startswith("saved ")]
    assert {5, 10, 12} < set(saved)
    assert set(saved) - {5, 10, 12}, "and some by the clock"


def test_a_save_waits_for_the_one_before(tmp_path: Path, model: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk (here each save lasts until training has come to the next), two are never written at once, none is left out."""
    import threading

    from llmlab.trainer.training import async_checkpoint

    publish, writing, most = checkpoints.publish, threading.Semaphore(1), []
    finish, comes = async_checkpoint.Saver.finish, threading.Semaphore(0)

    def counted(self: async_checkpoint.Saver) -> None:
        if self._writing is not None:
            comes.release()
        finish(self)

    def slow(staged: Path, folder: Path, step: int) -> Path:
        most.append(writing.acquire(blocking=False))
        assert comes.acquire(timeout=60), "training never came to its next save"
        writing.release()
        return publish(staged, folder, step)

    monkeypatch.setattr(async_checkpoint.Saver, "finish", counted)
    monkeypatch.setattr(async_checkpoint.checkpoints, "publish", slow)
    work = folders.make(tmp_path, model, count=16, recipe={"epochs": 2, "save_steps": 1, "keep_checkpoints": 100})
    code, log = train(work)
    assert code == 0, log
    assert most == [True] * 8
    assert {path.name for path in Path(work.checkpoints).glob("checkpoint-*")} == {f"checkpoint-{step}" for step in range(1, 9)}


def test_a_disk_that_is_full_ends_the_training_in_words(tmp_path: Path, model: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in the thread that saves is not lost in it."""
    from llmlab.trainer.training import async_checkpoint

    def full(*_given: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(async_checkpoint.checkpoints, "publish", full)
    work = folders.make(tmp_path, model, recipe={"save_steps": 1})
    code, log = train(work)
    assert code == TrainerExit.TRAINING_ERROR, log
    assert "No space left on device" in folders.outcome(work).detail
