"""After memory ran out a run goes on from its checkpoint with half the batch and twice the accumulation: the same training."""

import json
from pathlib import Path

import pytest

from llmlab import contract
from llmlab.contract import Spec, TrainerExit
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import Interrupting, ask


def test_half_the_batch_from_a_checkpoint_is_the_same_training(tmp_path: Path, model: Path, train: Train) -> None:
    recipe = {"epochs": 2, "batch_size": 4, "accumulate": 1, "lora": {"dropout": 0.0}}
    whole = folders.make(tmp_path / "whole", model, recipe=recipe, count=14)
    code, log = train(whole)
    assert code == 0, log
    work = folders.make(tmp_path / "work", model, recipe=recipe, count=14)
    code, log = train(work, Interrupting(work, 2, ask))
    assert code == TrainerExit.STOPPED_ON_REQUEST, log
    Path(work.request).unlink()
    spec = contract.load(Spec, Path(work.spec).read_text())
    small = contract.shrunk(spec.recipe, contract.HALF_BATCH)
    assert (small["batch_size"], small["accumulate"]) == (2, 2)
    Path(work.spec).write_text(json.dumps(json.loads(Path(work.spec).read_text()) | {"recipe": small}))
    code, log = train(work)
    assert code == 0, log
    assert "resuming: from checkpoint-3" in log
    assert [step for step, _, _ in folders.losses(work)] == list(range(1, 9))
    for (_, loss, norm), (_, other, other_norm) in zip(folders.losses(work), folders.losses(whole), strict=True):
        assert loss == pytest.approx(other, rel=1e-5)
        assert norm == pytest.approx(other_norm, rel=1e-3)
