"""Our loop's curves are those of TRL's trainers on the same tokens, in the same order, from the same weights."""

import math
from pathlib import Path
from typing import Any

import pytest

from llmlab import recipe as recipes
from llmlab.trainer.training import lr_schedule
from tests.sampling import sampled
from tests.trainer import work as folders, yardstick
from tests.trainer.conftest import Train

STEPS = 6
SFT = {"lora": ("lora", 1), "full": ("full", 1), "lora, accumulated": ("lora", 2)}
DPO = {"lora": ("lora", 0.0), "full": ("full", 0.0), "lora, smoothed": ("lora", 0.2)}


def test_no_case_is_missing() -> None:
    assert len(SFT) == 3
    assert len(DPO) == 3


@pytest.mark.parametrize("case", sampled(SFT, "lora"))
def test_sft_is_trls(tmp_path: Path, model: Path, train: Train, case: str) -> None:
    """In 32 bits, over steps whose losses fall."""
    method, accumulate = SFT[case]
    recipe = {"method": method, "accumulate": accumulate, "batch_size": 4 // accumulate}
    compare(tmp_path, model, train, recipe, "messages", yardstick.sft)


@pytest.mark.parametrize("case", sampled(DPO, "lora, smoothed"))
def test_dpo_is_trls(tmp_path: Path, model: Path, train: Train, case: str) -> None:
    method, smoothing = DPO[case]
    batch = {"batch_size": 1, "accumulate": 4} if smoothing else {"batch_size": 4}
    recipe = {"method": method, "objective": "dpo", "dpo": {"beta": 0.3, "label_smoothing": smoothing}, **batch}
    compare(tmp_path, model, train, recipe, "preference", yardstick.dpo)


def compare(root: Path, model: Path, train: Train, recipe: dict[str, Any], form: str, peer: Any) -> None:
    common = {"max_steps": STEPS, "lora": {"rank": 4, "dropout": 0.0}, "learning_rate": 0.003}
    work = folders.make(root, model, form=form, count=16, recipe={**common, **recipe})
    code, log = train(work)
    assert code == 0, log
    ours, its = folders.losses(work), peer(work, STEPS)
    assert len(ours) == len(its.losses) == len(its.norms) == STEPS
    for (step, loss, norm), other, size in zip(ours, its.losses, its.norms, strict=True):
        assert loss == pytest.approx(other, abs=1e-4), step
        assert norm == pytest.approx(size, rel=2e-4), step
    assert ours[-1][1] < ours[0][1] - 0.02


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_the_learning_rate_is_transformers(kind: str) -> None:
    import torch
    from transformers import get_scheduler

    names = {"constant": "constant_with_warmup"}
    seen = 0
    for steps, warmup in ((1, 0.0), (7, 0.0), (10, 0.25), (100, 0.03)):
        recipe = recipes.check({"model": "a/b", "schedule": kind, "warmup": warmup})
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        its = get_scheduler(names.get(kind, kind), optimizer, math.ceil(warmup * steps), steps)
        for step in range(steps):
            assert lr_schedule.lr_factor(recipe, step, steps) == pytest.approx(its.get_last_lr()[0])
            optimizer.step()
            its.step()
            seen += 1
    assert seen == 118


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_a_warm_up_in_steps_is_transformers(kind: str) -> None:
    import torch
    from transformers import TrainingArguments, get_scheduler

    names = {"constant": "constant_with_warmup"}
    seen = set()
    for steps, warmup in ((1, 0), (7, 3), (10, 10), (5, 20)):
        recipe = recipes.check({"model": "a/b", "schedule": kind, "warmup": 0.5, "warmup_steps": warmup})
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        arguments = TrainingArguments(warmup_steps=warmup, use_cpu=True, report_to=[])
        its = get_scheduler(names.get(kind, kind), optimizer, arguments.get_warmup_steps(steps), steps)
        for step in range(steps):
            assert lr_schedule.lr_factor(recipe, step, steps) == pytest.approx(its.get_last_lr()[0])
            optimizer.step()
            its.step()
            seen.add((steps, step))
    assert len(seen) == 23
