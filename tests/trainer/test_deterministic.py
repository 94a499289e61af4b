"""`deterministic: true`: what torch and cuBLAS are told, for that training alone, and a model with an operator that has no such form."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from llmlab.contract import TrainerExit
from tests.trainer import work as folders
from tests.trainer.conftest import Train

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(CUBLAS, "")
    monkeypatch.delenv(CUBLAS)
    yield
    torch.use_deterministic_algorithms(mode=False)


def test_it_is_on_for_that_training_and_off_for_the_next(tmp_path: Path, model: Path, train: Train) -> None:
    seen = []
    for deterministic in (True, False):
        work = folders.make(tmp_path / str(deterministic), model, recipe={"deterministic": deterministic, "max_steps": 2})
        code, log = train(work)
        assert code == 0, log
        assert ("deterministic: on, the same bits again" in log) is deterministic
        assert torch.are_deterministic_algorithms_enabled() is deterministic
        seen.append(folders.losses(work))
        assert os.environ.get(CUBLAS) == ":4096:8"  # of the process, which is a training's own
    assert seen[0] == seen[1]


def test_an_operator_without_a_deterministic_form_is_named(
    tmp_path: Path, model: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here by a loss through one; on GPUs a model's own."""
    from llmlab.trainer.model import objective

    losses = objective.Objective.token_losses

    def through(self: Any, *arguments: Any) -> Any:
        made, hits = losses(self, *arguments)
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
        return made, hits

    monkeypatch.setattr(objective.Objective, "token_losses", through)
    work = folders.make(tmp_path, model, recipe={"deterministic": True})
    code, log = train(work)
    ended = folders.outcome(work)
    assert code == TrainerExit.SETUP_FAILED, log
    assert ended.detail == "lab:tiny cannot be trained bit by bit: put_ has no deterministic form"
    assert folders.hint(ended) == "llmlab launch --set deterministic=false"
