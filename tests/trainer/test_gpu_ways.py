"""What is done on a GPU and not on a CPU, as far as a CPU can tell: which kernels are asked for, and that what they replace is the same."""

from pathlib import Path
from typing import Any

import pytest

from llmlab.trainer import failures
from llmlab.trainer.model import varlen_attention
from tests.trainer import architectures
from tests.trainer.test_objective import apart, objective_of

HEADS, SHARED, TOKENS, SIZE = 4, 2, 12, 8


@pytest.fixture
def turing(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The device has no kernel for heads that share keys, as SM 7.5; whether each call of attention wanted one."""
    calls: list[bool] = []
    real = varlen_attention.scaled_dot_product_attention

    def attend(*tensors: Any, enable_gqa: bool, **more: Any) -> Any:
        calls.append(enable_gqa or tensors[0].shape[1] != tensors[1].shape[1])
        return real(*tensors, enable_gqa=enable_gqa, **more)

    monkeypatch.setattr(varlen_attention, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(varlen_attention, "has_grouped_kernel", lambda _device: False)
    return calls


def heads(*counts: int) -> list[Any]:
    import torch

    torch.manual_seed(3)
    return [torch.randn(1, count, TOKENS, SIZE, requires_grad=True) for count in counts]


@pytest.mark.parametrize("window", [None, 5])
def test_before_sm_8_no_head_shares_its_keys_and_the_result_is_the_same(turing: list[bool], window: int | None) -> None:
    import torch

    query, key, value = heads(HEADS, SHARED, SHARED)
    result = varlen_attention._whole(query, key, value, None, None, window)
    assert turing == [False]
    mine = torch.autograd.grad(result.sum(), (query, key, value))
    repeated = [one.repeat_interleave(HEADS // SHARED, dim=1) for one in (key, value)]
    distance = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)[None]
    mask = (distance >= 0) & (distance < (window or TOKENS))
    exact = torch.nn.functional.scaled_dot_product_attention(query, *repeated, attn_mask=mask)
    assert apart(result, exact) < 1e-5
    for one, other in zip(mine, torch.autograd.grad(exact.sum(), (query, key, value)), strict=True):
        assert apart(one, other) < 1e-5


def test_before_sm_8_transformers_own_attention_shares_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models whose attention is not ours keep it; the function it asks is transformers', and may go with another version."""
    from transformers.integrations import sdpa_attention

    monkeypatch.setattr(sdpa_attention, "use_gqa_in_sdpa", sdpa_attention.use_gqa_in_sdpa)  # put back afterwards
    query, key, value = heads(HEADS, SHARED, SHARED)
    assert sdpa_attention.use_gqa_in_sdpa(None, key, value)
    varlen_attention.expand_shared_heads("cpu")
    assert sdpa_attention.use_gqa_in_sdpa(None, key, value), "a CPU has no such lack"
    monkeypatch.setattr(varlen_attention, "has_grouped_kernel", lambda _device: False)
    varlen_attention.expand_shared_heads("cuda:0")
    asked: list[bool] = []
    real = sdpa_attention.torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        sdpa_attention.torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *tensors, **more: (asked.append(bool(more.get("enable_gqa"))), real(*tensors, **more))[1],
    )

    class Module:
        num_key_value_groups = HEADS // SHARED
        is_causal = True
        training = False

    sdpa_attention.sdpa_attention_forward(Module(), query, key, value, None)
    assert asked == [False]


def test_an_attention_that_refuses_the_way_back_leaves_packing_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels exist that do a head size forward and not backward."""
    import torch

    from llmlab.trainer.model import objective as objectives

    class OneWay(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, states: Any) -> Any:
            return states.clone()

        @staticmethod
        def backward(ctx: Any, *above: Any) -> Any:
            raise RuntimeError("FlashAttention backward for head dim > 192 requires A100/A800 or H100/H800")

    folder = architectures.make(tmp_path, "llama")
    assert objective_of(folder, "float32").packed
    real = varlen_attention.attend

    def attend(*given: Any, **more: Any) -> Any:
        result, nothing = real(*given, **more)
        return (OneWay.apply(result) if more.get("documents") else result), nothing  # type: ignore[no-untyped-call]

    monkeypatch.setattr(varlen_attention, "attend", attend)
    assert not objective_of(folder, "float32").packed
    monkeypatch.setattr(objectives.varlen_attention, "try_on", lambda *_arguments: None)
    assert not objective_of(folder, "float32").packed, "the model itself is tried backward, too"


def test_a_device_that_refuses_a_models_sizes_leaves_packing_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are to be divided are tried in the CPU's memory, so the device is asked by itself; want of memory is no such answer."""
    folder = architectures.make(tmp_path, "llama")
    says = "mha_bwd: head size 224 is not supported on this GPU"

    def refuse(*_arguments: object) -> None:
        raise RuntimeError(says)

    monkeypatch.setattr(varlen_attention, "try_on", refuse)
    assert not objective_of(folder, "float32").packed
    says = "CUDA error: out of memory"
    with pytest.raises(RuntimeError, match="out of memory"):
        objective_of(folder, "float32")


@pytest.mark.parametrize(
    "says",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "NCCL error in: ProcessGroupNCCL.cpp:3690, unhandled cuda error, NCCL version 2.28.9\nLast error:\nCuda failure 2 'out of memory'",
        "[enforce fail at alloc_cpu.cpp:128] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes",
    ],
)
def test_want_of_memory_is_known_in_the_words_of_every_library(says: str) -> None:
    from llmlab import recipe as recipes

    ended = failures.of(RuntimeError(says), recipes.check({"model": "a/b", "batch_size": 4}))
    assert isinstance(ended, failures.OutOfMemory), ended
    assert ended.hint.startswith("llmlab launch --set ")


@pytest.mark.parametrize("says", ["CUDA error: an illegal memory access was encountered", "NCCL error: unhandled system error", "no room"])
def test_other_errors_are_not_want_of_memory(says: str) -> None:
    assert not isinstance(failures.of(RuntimeError(says), None), failures.OutOfMemory)


class Piece:
    """A tensor whose parts lie in several processes."""

    def __init__(self, size: int, calls: list[int]) -> None:
        self.size, self.calls = size, calls

    def detach(self) -> "Piece":
        return self

    def full_tensor(self) -> Any:
        import torch

        self.calls.append(self.size)
        return torch.ones(self.size)


def test_processes_but_the_first_take_part_in_a_save_and_keep_nothing() -> None:
    """A copy of weights and moments in each of eight processes is more than a machine has."""
    from llmlab.trainer.training import trainable_state

    calls: list[int] = []
    pieces: dict[str, Any] = {"a": Piece(2, calls), "b": Piece(3, calls)}
    assert trainable_state.take(pieces, keep=False) == {}
    assert calls == [2, 3]
    assert {name: len(tensor) for name, tensor in trainable_state.take(pieces).items()} == {"a": 2, "b": 3}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_fused_on_a_gpu_is_the_models_own(dtype: str) -> None:
    """Forward and backward; dropout and adapters are left to torch and PEFT, whose kernels are quicker on a GPU than the CPU's pieces."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from llmlab.trainer.model.fusing import fuse

    torch.manual_seed(5)
    kind = getattr(torch, dtype)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **architectures.SIZE)).to(kind).eval()
    model.add_module("dropout", torch.nn.Dropout(0.5))
    ids = torch.arange(10)[None]
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    slope = torch.randn(embedded.shape)  # the sum of a norm's squares has no slope but rounding's

    def both_ways() -> tuple[Any, Any]:
        with torch.autocast("cpu", kind, enabled=kind != torch.float32):
            states = model.model(inputs_embeds=embedded).last_hidden_state
        return states, torch.autograd.grad((states.float() * slope).sum(), embedded)[0]

    before = both_ways()
    assert fuse(model, model, "cuda") == "5 norms, 2 gates, 2 rotations"
    assert type(model.dropout) is torch.nn.Dropout
    norm = model.model.norm
    assert norm(embedded).dtype == kind
    for one, other in zip(both_ways(), before, strict=True):
        assert apart(one, other) < (1e-4 if dtype == "float32" else 3e-2)
