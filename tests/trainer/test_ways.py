"""Every way to train learns, resumes, and does the same with activations kept or computed again."""

from pathlib import Path
from typing import Any

import pytest

from tests.sampling import sampled
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import interrupted

WAYS: dict[str, dict[str, Any]] = {
    "rsLoRA": {"lora": {"rank": 4, "alpha": 8, "rslora": True}},
    "DoRA": {"lora": {"rank": 4, "alpha": 8, "dora": True}},
    "one kind of module": {"lora": {"rank": 4, "alpha": 32, "targets": ["v_proj"]}},
    "the head too": {"lora": {"rank": 4, "alpha": 8, "targets": ["q_proj", "lm_head"]}},
    "bf16": {"precision": "bf16"},
    "bf16, full": {"precision": "bf16", "method": "full"},
    "full": {"method": "full"},
    "full, checkpointed": {"method": "full", "gradient_checkpointing": True},
    "checkpointed": {"gradient_checkpointing": True},
}


def test_no_case_is_missing() -> None:
    assert len(WAYS) == 9


@pytest.mark.parametrize("way", sampled(WAYS, "bf16", "full"))
def test_each_way_learns_and_resumes(tmp_path: Path, model: Path, train: Train, way: str) -> None:
    recipe = {"epochs": 3, "learning_rate": 0.01, **WAYS[way]}
    whole, work = (folders.make(tmp_path / name, model, count=16, recipe=recipe) for name in ("whole", "work"))
    code, log = train(whole)
    assert code == 0, log
    losses = folders.losses(whole)
    assert losses[-1][1] < losses[0][1] - 0.1
    interrupted(train, work, 5)
    assert folders.losses(work) == losses
    assert folders.weights(work) == folders.weights(whole)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_recomputing_activations_changes_nothing(tmp_path: Path, model: Path, train: Train, method: str) -> None:
    seen = []
    for checkpointing in (True, False):
        recipe = {"method": method, "gradient_checkpointing": checkpointing}
        work = folders.make(tmp_path / str(checkpointing), model, recipe=recipe)
        code, log = train(work)
        assert code == 0, log
        assert f"gradient checkpointing: {'on' if checkpointing else 'off'}, asked for" in log
        seen.append(folders.losses(work))
    for one, two in zip(*seen, strict=True):
        assert one == pytest.approx(two, rel=1e-6)
