"""A base model in 4 bits, by bitsandbytes' kernels for CPUs: it learns, resumes, prefers and merges as over a whole one."""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from llmlab import recipe as recipes
from llmlab.contract import METRICS_FILE, EndReason, TrainerExit, WorkFolder
from llmlab.trainer.device import Device
from llmlab.trainer.export import merge
from llmlab.trainer.model.adapted import fuse_adapters
from llmlab.trainer.model.load import load_model, load_tokenizer
from tests.trainer import test_preferences, work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_kernels import Kernels
from tests.trainer.test_objective import apart
from tests.trainer.test_resume import interrupted

QLORA = {"method": "qlora", "epochs": 3, "learning_rate": 0.02, "evaluation": {"share": 0.2, "steps": 2}}


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory, model: Path, train: Train) -> WorkFolder:
    """A run over 4 bits that was never interrupted."""
    work = folders.make(tmp_path_factory.mktemp("quantised"), model, count=20, recipe=QLORA)
    code, log = train(work)
    assert code == 0, log
    return work


def evaluated(work: WorkFolder) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in Path(work.output, METRICS_FILE).read_text().splitlines()]
    return [(row["step"], row["eval_loss"]) for row in rows if "eval_loss" in row]


def load(work: WorkFolder, **changed: Any) -> Any:
    recipe = recipes.check({"model": "lab:tiny", "method": "qlora", **changed})
    return load_model(recipe, work, Device("cpu", "float32"), load_tokenizer(recipe, work))


def test_every_matrix_but_the_head_is_held_in_4_bits(quantised: WorkFolder) -> None:
    from bitsandbytes.nn import Linear4bit

    four, whole = load(quantised), load(quantised, method="lora")
    kinds = {name: type(module) for name, module in four.named_modules()}
    matrices = {name: module for name, module in whole.named_modules() if isinstance(module, torch.nn.Linear)}
    assert {name for name in matrices if kinds[name] is not Linear4bit} == {"lm_head"}
    for name in (name for name, kind in kinds.items() if kind is Linear4bit):
        stored = dict(four.named_modules())[name].weight
        assert (stored.dtype, stored.numel() * 2) == (torch.uint8, matrices[name].weight.numel())


def test_an_evaluation_leaves_the_weights_as_they_are(quantised: WorkFolder) -> None:
    """On a processor with bf16 instructions, bitsandbytes would lay them out anew, in 16 bits."""
    model = load(quantised).eval()
    tokens = torch.arange(12).view(1, -1)
    with torch.no_grad():
        before = model(tokens).logits
    assert torch.equal(model.train()(tokens).logits, before)
    assert not any(getattr(module, "support_avx512bf16_for_cpu", False) for module in model.modules())


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_an_adapted_product_is_pefts_in_fewer_passes(bias: bool) -> None:
    """Values and gradients under autocast. PEFT copies what the matrix gives, scales what the adapter gives and adds it."""
    from bitsandbytes.nn import Linear4bit
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    four = Linear4bit(256, 192, bias=bias, compute_dtype=torch.bfloat16, quant_type="nf4", compress_statistics=True).bfloat16().to("cpu")
    base: Any = torch.nn.Sequential(four)
    base.is_loaded_in_4bit = True  # as transformers marks a model, and PEFT asks
    model: Any = get_peft_model(base, LoraConfig(r=4, lora_alpha=12, target_modules=["0"]))
    module = model.base_model.model[0]
    torch.nn.init.normal_(module.lora_B["default"].weight)
    x, above = torch.randn(2, 9, 256).bfloat16(), torch.randn(2, 9, 192).bfloat16()

    def computed() -> tuple[list[torch.Tensor], Kernels]:
        model.zero_grad()
        states = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16), Kernels() as kernels:
            result = module(states)
            result.backward(above)
        return [result, states.grad, module.lora_A["default"].weight.grad, module.lora_B["default"].weight.grad], kernels  # type: ignore[list-item]

    theirs, by_peft = computed()
    assert fuse_adapters(model) == 1
    ours, by_us = computed()
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.dtype == its.dtype
        assert apart(mine.detach(), its.detach()) < 1e-2
    assert by_us.launches["aten::clone"] + by_us.launches["aten::add"] + by_us.launches["aten::mul"] == 0
    assert min(by_peft.launches[name] for name in ("aten::clone", "aten::add", "aten::mul")) > 0
    with model.disable_adapter():
        assert torch.equal(module(x), four(x))


def test_it_learns(quantised: WorkFolder) -> None:
    losses, held_out = folders.losses(quantised), evaluated(quantised)
    assert losses[-1][1] < losses[0][1] - 0.3
    assert held_out[-1][1] < held_out[0][1] - 0.3
    assert all(math.isfinite(row[1]) for row in losses)


def test_resumed_is_uninterrupted(tmp_path: Path, model: Path, train: Train, quantised: WorkFolder) -> None:
    work = folders.make(tmp_path, model, count=20, recipe=QLORA)
    interrupted(train, work, 5)
    assert folders.losses(work) == folders.losses(quantised)
    assert folders.weights(work) == folders.weights(quantised)
    assert evaluated(work) == evaluated(quantised)


@pytest.mark.slow  # two trainings; in 32 bits above, and the one step of adapter and matrix with it
def test_in_16_bits_its_adapters_are_one_step_each_and_go_on_bit_by_bit(tmp_path: Path, model: Path, train: Train) -> None:
    recipe = {**QLORA, "precision": "bf16", "lora": {"dropout": 0}}
    whole, work = (folders.make(tmp_path / name, model, count=20, recipe=recipe) for name in ("whole", "work"))
    code, log = train(whole)
    assert code == 0, log
    assert re.search(r"\d+ adapters", log)
    interrupted(train, work, 5)
    assert folders.losses(work) == folders.losses(whole)
    assert folders.weights(work) == folders.weights(whole)
    assert folders.losses(whole)[-1][1] < folders.losses(whole)[0][1] - 0.3


def test_it_learns_to_prefer(tmp_path: Path, model: Path, train: Train) -> None:
    """The reference is the same 4 bits without the adapter."""
    work = test_preferences.make(tmp_path, model, 32, method="qlora", batch_size=8, epochs=3, learning_rate=0.01)
    code, log = train(work)
    assert code == 0, log
    losses = folders.losses(work)
    assert losses[0][1] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[-1][1] < losses[0][1] - 0.01


def test_its_adapter_merges_into_the_whole_base(
    tmp_path: Path, model: Path, quantised: WorkFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge.main([str(model), str(Path(quantised.output, "adapter")), str(tmp_path / "merged")]) == 0
    merged = json.loads(capsys.readouterr().out)
    assert (merged["checked"], merged["dtype"]) == (True, "float32")
    assert merged["difference"] < 1e-4 * merged["logit"]
    assert (tmp_path / "merged" / "model.safetensors").is_file()


def test_without_its_package_it_is_refused(tmp_path: Path, model: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    work = folders.make(tmp_path, model, recipe={"method": "qlora"})
    assert train(work)[0] == TrainerExit.SETUP_FAILED
    ended = folders.outcome(work)
    assert (ended.reason, ended.detail) == (EndReason.SETUP_FAILED, "method qlora needs the package bitsandbytes, which is not installed")
    assert folders.hint(ended) == "llmlab launch --set method=lora"
