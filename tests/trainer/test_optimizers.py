"""AdamW with the recipe's numbers is torch's with the same, in 8 bits bitsandbytes'; and either goes on from what a checkpoint keeps."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from llmlab import contract, footprint, recipe as recipes
from llmlab.contract import StopRequest, TrainerExit
from llmlab.trainer import device
from llmlab.trainer.failures import SetupFailed
from llmlab.trainer.model import fsdp
from llmlab.trainer.training import optimizers
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import Interrupting, ask, same

NUMBERS = {"learning_rate": 0.05, "adam_beta1": 0.8, "adam_beta2": 0.9, "adam_epsilon": 1e-3, "weight_decay": 0.1}
needs_bitsandbytes = pytest.mark.skipif(not find_spec("bitsandbytes"), reason="bitsandbytes is not installed")
no_pages = pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
CLASSES = {"adamw_8bit": "AdamW8bit", "paged_adamw_8bit": "PagedAdamW8bit", "paged_adamw_32bit": "PagedAdamW32bit"}
KINDS = ["adamw", *(pytest.param(kind, marks=[needs_bitsandbytes, no_pages]) for kind in CLASSES)]
Parameters = dict[str, nn.Parameter]


def parameters() -> Parameters:
    """One whose moments have 8 bits with bitsandbytes, one too small for it."""
    torch.manual_seed(0)
    return {"large": nn.Parameter(torch.randn(96, 64)), "small": nn.Parameter(torch.randn(8))}


def recipe(**fields: Any) -> recipes.Recipe:
    return recipes.check({"model": "lab:tiny", **NUMBERS, **fields})


def moved(optimizer: torch.optim.Optimizer, trained: Parameters, steps: range) -> Parameters:
    for step in steps:
        torch.manual_seed(step)
        for one in trained.values():
            one.grad = torch.randn_like(one)
        optimizer.step()
    return trained


def equal(some: Parameters, others: Parameters) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some.values(), others.values(), strict=True))


def by_library(kind: str, trained: Parameters) -> torch.optim.Optimizer:
    numbers: dict[str, Any] = {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}
    if kind == "adamw":
        return torch.optim.AdamW(list(trained.values()), fused=True, **numbers)
    optimizer: torch.optim.Optimizer = getattr(import_module("bitsandbytes.optim"), CLASSES[kind])(list(trained.values()), **numbers)
    return optimizer


@pytest.mark.parametrize("kind", KINDS)
def test_it_moves_as_the_librarys_own(kind: str) -> None:
    ours, theirs, usual = parameters(), parameters(), parameters()
    moved(optimizers.build(recipe(optimizer=kind), ours), ours, range(6))
    moved(by_library(kind, theirs), theirs, range(6))
    moved(optimizers.build(recipes.check({"model": "lab:tiny", "learning_rate": 0.05, "optimizer": kind}), usual), usual, range(6))
    assert equal(ours, theirs)
    assert not equal(ours, usual), "the numbers must matter"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_taken_and_put_back_goes_on_the_same(kind: str) -> None:
    whole, before = parameters(), parameters()
    moved(optimizers.build(recipe(optimizer=kind), whole), whole, range(9))
    first = optimizers.build(recipe(optimizer=kind), before)
    moved(first, before, range(5))
    kept = optimizers.take(first, before)
    after = {name: nn.Parameter(one.detach().clone()) for name, one in before.items()}
    second = optimizers.build(recipe(optimizer=kind), after)
    optimizers.put_back(second, after, kept)
    moved(second, after, range(5, 9))
    assert equal(whole, after)
    bare = {name: nn.Parameter(one.detach().clone()) for name, one in before.items()}
    assert not equal(whole, moved(optimizers.build(recipe(optimizer=kind), bare), bare, range(5, 9))), "without them it does not"


@needs_bitsandbytes
@no_pages
def test_what_is_put_back_stays_in_the_librarys_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = parameters()
    optimizer: Any = optimizers.build(recipe(optimizer="paged_adamw_8bit"), trained)
    moved(optimizer, trained, range(2))
    kept = optimizers.take(optimizer, trained)
    second: Any = optimizers.build(recipe(optimizer="paged_adamw_8bit"), trained)
    pages: list[torch.Tensor] = []
    page = second.get_state_buffer
    monkeypatch.setattr(second, "get_state_buffer", lambda *place, **options: pages.append(page(*place, **options)) or pages[-1])
    optimizers.put_back(second, trained, kept)
    held = [second.state[parameter][moment] for parameter in trained.values() for moment in ("state1", "state2")]
    assert all(moment is page for moment, page in zip(held, pages, strict=True))
    assert all(moment.any() for moment in held)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_keeps_what_the_estimate_counts(kind: str) -> None:
    trained = {"one": nn.Parameter(torch.randn(512, 512))}
    optimizer = optimizers.build(recipe(optimizer=kind), trained)
    moved(optimizer, trained, range(1))
    kept = optimizers.take(optimizer, trained)
    sizes = sum(one.numel() * one.element_size() for name, one in kept.items() if not name.endswith(optimizers.STEP))
    assert sizes == footprint.MOMENTS[kind] * 512 * 512
    assert footprint.state(recipe(optimizer=kind)) == 8 + sizes / 512**2


@pytest.mark.slow  # three trainings; what is taken and put back is above
@needs_bitsandbytes
def test_a_training_in_8_bits_is_resumed_as_if_uninterrupted(tmp_path: Path, model: Path, train: Train) -> None:
    fields = {"epochs": 2, "batch_size": 2, "accumulate": 2, "optimizer": "adamw_8bit", "adam_beta2": 0.95, "warmup_steps": 3}
    whole, work, plain = (
        folders.make(tmp_path / name, model, recipe=fields | more, count=14)
        for name, more in (("whole", {}), ("work", {}), ("plain", {"optimizer": "adamw"}))
    )
    for one in (whole, plain):
        code, log = train(one)
        assert code == 0, log
    code, log = train(work, Interrupting(work, 3, ask))
    assert code == TrainerExit.STOPPED_ON_REQUEST, log
    assert contract.load(StopRequest, Path(work.request).read_text()).reason
    Path(work.request).unlink()
    code, log = train(work)
    assert code == 0, log
    assert "resuming: from checkpoint-4" in log
    same(work, whole)
    assert folders.losses(whole) != folders.losses(plain)


def test_moments_in_blocks_are_not_divided_over_gpus() -> None:
    lines: list[str] = []
    gpus: Any = SimpleNamespace(world_size=2, device="cpu")
    assert not fsdp.divides(None, recipe(optimizer="adamw_8bit"), gpus, lines.append)
    assert lines == ["parallel: a copy on each of 2 GPUs, because of optimizer adamw_8bit"]
    assert fsdp.divides(None, recipe(parallel="fsdp"), gpus, lines.append)
    with pytest.raises(SetupFailed, match="optimizer adamw_8bit keeps a copy on each GPU") as raised:
        fsdp.divides(None, recipe(optimizer="adamw_8bit", parallel="fsdp"), gpus, lines.append)
    assert raised.value.hint == "llmlab launch --set parallel=auto"


def test_without_its_package_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_spec", lambda _name: None)
    with pytest.raises(SetupFailed, match="optimizer adamw_8bit needs the package bitsandbytes, which is not installed") as raised:
        optimizers.build(recipe(optimizer="adamw_8bit"), parameters())
    assert raised.value.hint == "llmlab launch --set optimizer=adamw"
