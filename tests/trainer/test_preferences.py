"""Preferences: the same whatever the batches, exact on resuming, better at telling the two answers apart. `test_yardstick` has the loss."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.contract import WorkFolder
from tests.sampling import sampled
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import interrupted

DPO: dict[str, Any] = {"objective": "dpo", "lora": {"rank": 4, "dropout": 0.0}}


def make(root: Path, model: Path, count: int = 14, **recipe: Any) -> WorkFolder:
    return folders.make(root, model, form="preference", count=count, recipe={**DPO, **recipe})


def rows(work: WorkFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(work.output, contract.METRICS_FILE).read_text().splitlines()]


@pytest.mark.parametrize("method", sampled(["lora", "full"], "lora"))
def test_one_by_four_is_four_by_one_packed_or_not(tmp_path: Path, model: Path, train: Train, method: str) -> None:
    seen = []
    for packing in (True, False):
        for batch, accumulate in ((1, 4), (4, 1), (2, 2)):
            shape = {"packing": packing, "batch_size": batch, "accumulate": accumulate}
            work = make(tmp_path / f"{packing}-{batch}", model, method=method, epochs=2, **shape)
            code, log = train(work)
            assert code == 0, log
            seen.append(folders.losses(work))
    assert len(seen) == 6
    assert len(seen[0]) == 8
    assert seen[0][0][1] == pytest.approx(0.6931472, abs=1e-5), "before the first step the model is its own reference"
    for other in seen[1:]:
        for one, two in zip(seen[0], other, strict=True):
            assert one == pytest.approx(two, rel=2e-4, abs=1e-6)


@pytest.mark.parametrize("method", sampled(["lora", "full"], "lora"))
def test_resumed_is_uninterrupted(tmp_path: Path, model: Path, train: Train, method: str) -> None:
    """Of a full training the reference is the base model, and not the checkpoint that training goes on from."""
    recipe = {"method": method, "epochs": 3, "evaluation": {"share": 0.2, "steps": 2}, "lora": {"rank": 4, "dropout": 0.1}}
    whole, work = (make(tmp_path / name, model, **recipe) for name in ("whole", "interrupted"))
    code, log = train(whole)
    assert code == 0, log
    interrupted(train, work, 4)
    assert folders.losses(work) == folders.losses(whole)
    assert folders.weights(work) == folders.weights(whole)
    told = [(one["step"], one["eval_loss"]) for one in rows(work) if "eval_loss" in one]
    assert told == [(one["step"], one["eval_loss"]) for one in rows(whole) if "eval_loss" in one]
    assert len(told) >= 4


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_learns_to_tell_held_out_answers_apart(tmp_path: Path, model: Path, train: Train, method: str) -> None:
    """The runbook's answer against putting the question off."""
    work = make(tmp_path, model, 64, method=method, batch_size=8, epochs=3, learning_rate=0.003, evaluation={"share": 0.25})
    code, log = train(work)
    assert code == 0, log
    told = [one for one in rows(work) if "eval_loss" in one]
    assert told[0]["step"] == 0
    assert told[0]["eval_preference_accuracy"] == 0, "a tie is not a preference"
    assert told[0]["eval_margin"] == pytest.approx(0, abs=1e-6)
    assert told[0]["eval_loss"] == pytest.approx(0.6931472, abs=1e-5)
    assert told[-1]["eval_preference_accuracy"] >= 0.9
    assert told[-1]["eval_margin"] > 0.5
    trained = [one for one in rows(work) if "loss" in one]
    assert {"preference_accuracy", "margin", "grad_norm"} <= set(trained[-1])
    assert "token_accuracy" not in trained[-1]
    assert trained[-1]["preference_accuracy"] >= 0.9
