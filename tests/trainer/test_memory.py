"""The sum that explains memory is held to what torch keeps; what does not fit is explained, with a setting that would."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from llmlab import footprint, recipe as recipes
from llmlab.contract import EndReason
from llmlab.errors import LabError
from llmlab.recipe import Recipe
from llmlab.trainer import failures, memory

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers
TOKENS = 512
GIB = 2**30


class OutOfMemoryError(RuntimeError):
    """Torch's own by name."""


def recipe(**changed: Any) -> Recipe:
    return recipes.check({"model": "some/model", **changed})


def build(kind: str, method: str, dtype: str, *, rank: int = 16, dropout: float = 0.0, **changed: Any) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model(kind, vocab_size=512, tie_word_embeddings=True, head_dim=32, **sizes | changed)
    model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
    if method == "lora":
        model = get_peft_model(model, LoraConfig(r=rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"))
    return model.train()


def cast_nothing(model: Any) -> None:
    """Adapters take their input as it comes, as the trainer has it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False


@contextmanager
def keeping(model: Any) -> Iterator[dict[int, Any]]:
    """What autograd keeps for the backward pass, each storage once, the model's own weights not counted."""
    import torch

    own = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def total(kept: dict[int, Any]) -> int:
    return sum(one.untyped_storage().nbytes() for one in kept.values())


def kept_bytes(model: Any, *, autocast: bool) -> int:
    """Bytes kept of one row, forward through the layers alone."""
    import torch

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    ids = torch.randint(0, 512, (1, TOKENS))
    with keeping(model) as kept, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        hidden = inner.model(input_ids=ids, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    return total(kept)


SHAPES: dict[str, dict[str, Any]] = {
    "llama, 32 bits": {"kind": "llama", "method": "lora", "dtype": "float32"},
    "llama, autocast": {"kind": "llama", "method": "lora", "dtype": "bfloat16"},
    "llama, wide": {"kind": "llama", "method": "lora", "dtype": "bfloat16", "intermediate_size": 640},
    "llama, rank 64": {"kind": "llama", "method": "lora", "dtype": "bfloat16", "rank": 64},
    "llama, dropout": {"kind": "llama", "method": "lora", "dtype": "bfloat16", "dropout": 0.1},
    "llama, full": {"kind": "llama", "method": "full", "dtype": "float32"},
    "qwen2, autocast": {"kind": "qwen2", "method": "lora", "dtype": "bfloat16"},
    "qwen3, autocast": {"kind": "qwen3", "method": "lora", "dtype": "bfloat16"},
}


def test_no_case_is_missing() -> None:
    assert len(SHAPES) == 8


@pytest.mark.parametrize("case", SHAPES)
def test_the_formula_for_activations_is_what_torch_keeps(case: str) -> None:
    """Of models as transformers and PEFT have them."""
    given = SHAPES[case]
    model = build(**given)
    half = given["dtype"] == "bfloat16"
    asked = recipe(method=given["method"], lora={"rank": given.get("rank", 16), "dropout": given.get("dropout", 0.0)})
    shape = memory.shape_of(model)
    assert shape is not None
    said = footprint.activations(asked, replace(shape, fused=False), TOKENS, checkpointing=False, kind=2 if half else 4)
    measured = kept_bytes(model, autocast=half)
    assert 0.85 * measured < said < 1.25 * measured, f"{said / measured:.3f}"


@pytest.mark.parametrize(("method", "dtype"), [("lora", "float32"), ("lora", "bfloat16"), ("full", "float32"), ("full", "bfloat16")])
def test_the_trainers_own_objective_keeps_as_much(method: str, dtype: str) -> None:
    """A packed row of three documents with its loss; full training holds its weights in 32 bits and computes in half of them."""
    import numpy as np
    import torch

    from llmlab.trainer.device import Device
    from llmlab.trainer.model import fusing, varlen_attention
    from llmlab.trainer.model.collate import packed_row
    from llmlab.trainer.model.objective import Objective

    model = build("llama", method, "float32" if method == "full" else dtype)
    varlen_attention.register()
    (model.get_base_model() if method == "lora" else model).set_attn_implementation(varlen_attention.NAME)
    asked = recipe(method=method, precision="bf16" if dtype == "bfloat16" else "fp32")
    cast_nothing(model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        fusing.fuse(model.get_base_model() if method == "lora" else model, model, "cpu")
    objective = Objective(model, asked, Device("cpu", dtype), packed=True, chunked=True)
    draw = np.random.default_rng(0)
    row = packed_row([(draw.integers(0, 512, length), np.ones(length, np.int64)) for length in (200, 200, TOKENS - 400)], 3)
    with keeping(model) as kept:
        objective(row)
    shape = memory.shape_of(model)
    assert shape is not None
    said = footprint.activations(asked, shape, TOKENS, checkpointing=False)
    assert 0.85 * total(kept) < said < 1.25 * total(kept), f"{said / total(kept):.3f}"


@pytest.mark.parametrize("shape", ["llama", "qwen3", "wide", "rank 64"])
@pytest.mark.parametrize("adapters", ["ours", "PEFT's"])
def test_fused_pieces_keep_what_the_formula_says(shape: str, adapters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the adapters are PEFT's own. Shapes as of an 8B model: the gate is 3.5 times as wide as the model."""
    import torch

    from llmlab.trainer.model import fusing

    if adapters == "PEFT's":
        monkeypatch.setattr(fusing, "fuse_adapters", lambda _adapted: 0)
    given: dict[str, Any] = {"llama": {}, "qwen3": {"kind": "qwen3"}, "wide": {"intermediate_size": 640}, "rank 64": {"rank": 64}}[shape]
    model = build(**{"kind": "llama", "method": "lora", "dtype": "bfloat16", "intermediate_size": 448, **given})
    cast_nothing(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert "9 norms, 4 gates" in fusing.fuse(model.get_base_model(), model, "cpu") or shape == "qwen3"
    counted = memory.shape_of(model)
    assert counted is not None
    assert counted.fused
    said = footprint.activations(recipe(lora={"rank": given.get("rank", 16)}), counted, TOKENS, checkpointing=False, kind=2)
    measured = kept_bytes(model, autocast=True)
    assert 0.9 * measured < said < 1.1 * measured, f"{said / measured:.3f}"


@pytest.mark.parametrize("kind", sorted(footprint.FUSED))
def test_what_is_counted_as_fused_is(kind: str) -> None:
    import torch

    from llmlab.trainer.model.fusing import fuse

    model = build(kind, "full", "bfloat16", pad_token_id=0).requires_grad_(False)
    norms = sum(type(module).__name__.endswith("RMSNorm") for module in model.modules())
    with torch.autocast("cpu", torch.bfloat16):
        assert fuse(model, model, "cpu").startswith(f"{norms} norms, 4 gates")
    shape = memory.shape_of(model)
    assert shape is not None
    assert shape.fused


def test_with_checkpointing_each_layers_input_is_kept() -> None:
    model = build("llama", "lora", "float32")
    model.enable_input_require_grads()
    model.get_base_model().activation_checkpointing_enable()
    shape = memory.shape_of(model)
    assert shape is not None
    asked, shape = recipe(), replace(shape, fused=False)
    said = footprint.activations(asked, shape, TOKENS, checkpointing=True, kind=4)
    measured = kept_bytes(model, autocast=False) + TOKENS * footprint.of_layer(asked, shape, 4)  # one layer while it is recomputed
    assert 0.85 * measured < said < 1.25 * measured


def test_trained_weights_are_counted_as_peft_makes_them() -> None:
    for changed in ({}, {"rank": 3}, {"targets": ("q_proj", "down_proj")}, {"dora": True}):
        from peft import LoraConfig, get_peft_model

        asked = recipe(lora=changed)
        targets = asked.lora.targets if isinstance(asked.lora.targets, str) else list(asked.lora.targets)
        config = LoraConfig(r=asked.lora.rank, target_modules=targets, use_dora=asked.lora.dora, task_type="CAUSAL_LM")
        model = get_peft_model(build("qwen3", "full", "float32"), config)
        shape = memory.shape_of(model)
        assert shape is not None
        assert footprint.trained(asked, shape) == pytest.approx(memory.counts(model)["trained"], rel=0.02 if asked.lora.dora else 1e-9)


BIG = {
    "hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "intermediate_size": 12_288, "vocab_size": 151_936, "tie_word_embeddings": False,
}  # fmt: skip


def test_activations_are_recomputed_where_they_would_not_fit() -> None:
    asked = recipe(max_length=4096)
    assert memory.auto_checkpointing(BIG, asked, 20 * GIB, trained=0) == (
        True, "activations of 4,096 tokens take about 27.7 GiB, and 17.6 GiB is free for them",
    )  # fmt: skip
    on, why = memory.auto_checkpointing(BIG, asked, 60 * GIB)
    assert not on
    assert "27.7 GiB, and 53." in why
    assert memory.auto_checkpointing({"d_model": 3}, asked, 1e12)[0], "what is not known is taken to be large"
    assert memory.auto_checkpointing(BIG, recipe(objective="dpo", max_length=4096), 40 * GIB)[0], "two sequences an item"


def test_a_machine_tells_its_memory() -> None:
    assert 0 < memory.free() <= memory.total()
    assert 0 < memory.peak() < memory.total()


def test_out_of_memory_names_what_took_it_and_a_setting_that_would_fit() -> None:
    model = build("llama", "lora", "float32")
    asked = recipe(batch_size=4, max_length=8192, gradient_checkpointing=False)
    with pytest.raises(failures.OutOfMemory) as caught, failures.explained(asked, model, checkpointing=False):
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has\nmore")
    told = caught.value
    assert told.reason is EndReason.OUT_OF_MEMORY
    assert "it needs about: activations of 32,768 tokens 1.1 GiB, weights 4 MiB, gradients and optimizer 2 MiB, loss" in told.message
    assert told.message.endswith("2.50 GiB more was asked for")
    assert "\n" not in told.message
    assert told.hint == "llmlab launch --set batch_size=2 --set accumulate=16"


def test_other_errors_pass_through() -> None:
    with pytest.raises(LabError, match="odd"), failures.explained(recipe(), None):
        raise LabError("odd")


def test_the_setting_fits_by_the_same_sum() -> None:
    shape = footprint.shape(BIG)
    assert shape is not None
    asked = recipe(max_length=8192, batch_size=8, accumulate=1, gradient_checkpointing=False)
    for gib, wanted in (
        (80, {"batch_size": 1, "accumulate": 8}),
        (32, {"batch_size": 1, "accumulate": 8, "gradient_checkpointing": True}),
        (20, {"batch_size": 1, "accumulate": 8, "gradient_checkpointing": True, "method": "qlora"}),
        (11, {"batch_size": 1, "accumulate": 8, "gradient_checkpointing": True, "method": "qlora", "max_length": 4096}),
        (2, {}),
    ):
        found = memory.fits(asked, shape, gib * GIB)
        assert found == wanted, gib
        if found:
            assert sum(footprint.parts(asked.model_copy(update=found), shape).values()) < gib * GIB
    assert memory.hint({}) == "llmlab estimate --all"
    assert memory.hint({"gradient_checkpointing": True}) == "llmlab launch --set gradient_checkpointing=true"
    assert "method" not in memory.fits(asked, shape, 11 * GIB, gpu=False)
