"""How many kernels a layer launches on a GPU, and how many bytes they move, counted on tensors without data.

The layer is that of Llama 3.1 8B with LoRA of rank 16 on all its matrices, one packed row of 8,192 tokens in bf16, with the pieces in their
places that a GPU gets. An operator is one kernel, views and empty tensors are none; the exceptions stand in `KERNELS`. Bytes are those of
the tensors that go in and come out, so no cache is counted.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers
TOKENS = 8192
DOCUMENTS = (0, 2048, 4096, 6144, TOKENS)
LLAMA_8B = {
    "hidden_size": 4096, "intermediate_size": 14_336, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "num_hidden_layers": 1, "vocab_size": 8,
}  # fmt: skip
KERNELS = {
    "torch_attn::_varlen_attn_backward": 5,
    "aten::slice_backward": 2,
    "aten::empty": 0, "aten::empty_like": 0, "aten::new_empty": 0, "aten::empty_strided": 0, "aten::_unsafe_view": 0, "aten::detach": 0,
}  # fmt: skip
"""FlashAttention 2's way back is three kernels, and two sums where keys are shared (`mha_varlen_bwd` of pytorch's flash_api.cpp,
https://github.com/pytorch/pytorch/tree/main/aten/src/ATen/native/transformers/cuda/flash_attn); a slice's is zeros and a copy."""
PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_", "torch_attn::_varlen_attn", "torch_attn::_varlen_attn_backward")
"""Bound by arithmetic; all others by memory."""


class Kernels(TorchDispatchMode):
    """Counts by operator."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, _types: Any, inputs: Any = (), options: Any = None) -> Any:
        result = function(*inputs, **(options or {}))
        name = function._schema.name
        count = 0 if function.is_view else KERNELS.get(name, 1)
        tensors = [leaf for leaf in tree_leaves((inputs, options, result)) if isinstance(leaf, torch.Tensor)]
        self.launches[name] += count
        self.bytes[name] += sum(tensor.numel() * tensor.element_size() for tensor in tensors) if count else 0
        return result

    @property
    def pointwise(self) -> int:
        return sum(count for name, count in self.bytes.items() if name not in PRODUCTS)


@torch.library.custom_op("llmlab_counted::rms_norm", mutates_args=())
def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """One kernel, `_fused_rms_norm` of CUDA (aten/src/ATen/native/cuda/layer_norm_kernel.cu); without data, torch would show its parts."""
    raise NotImplementedError


@torch.library.custom_op("llmlab_counted::rms_norm_backward", mutates_args=())
def rms_norm_backward(slope: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """One kernel, as the weight does not learn."""
    raise NotImplementedError


@rms_norm.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(x), x.new_empty(x.shape[:-1], dtype=torch.float32)


@rms_norm_backward.register_fake
def _(slope: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[1])
    ctx.set_materialize_grads(False)  # as torch's own operators, whose numbers a token have no gradient


def _way_back(ctx: Any, slope: torch.Tensor, _scale: Any) -> tuple[torch.Tensor, None, None]:
    return rms_norm_backward(slope, *ctx.saved_tensors), None, None


rms_norm.register_autograd(_way_back, setup_context=_keep)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Kernels, Kernels]]]:
    """One layer forward and backward, with adapters and rotation as ours, or as PEFT's and transformers'."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from llmlab.trainer.model import adapted, fusing, rotation, varlen_attention
    from tests.trainer.test_memory import cast_nothing

    def attend(_module: Any, query: Any, key: Any, value: Any, *_rest: Any, documents: Any, scaling: float, **_more: Any) -> Any:
        return varlen_attention._in_one_call(query, key, value, documents, scaling, None), None

    monkeypatch.setattr(varlen_attention, "attend", attend)
    varlen_attention.register()

    def count(*, fused: bool) -> tuple[Kernels, Kernels]:
        with torch.device("meta"):
            config = AutoConfig.for_model("llama", **LLAMA_8B)
            model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation=varlen_attention.NAME)
            lora = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
            model = get_peft_model(model.requires_grad_(False), lora).train().to(torch.bfloat16)  # as autocast has the adapter
            cast_nothing(model)
            for module in model.modules():
                if fusing._norm(module):
                    module.forward = MethodType(lambda norm, x: rms_norm(x, norm.weight, norm.variance_epsilon)[0], module)
                elif fusing._gate(module):
                    module.forward = fusing._gate(module)
            with torch.device("cpu"):
                turned = rotation.fuse_rotations(model, torch.bfloat16, torch.device("cpu")) if fused else 0
            assert turned == fused
            assert adapted.fuse_adapters(model) == 7 if fused else True
            inner = model.get_base_model().model
            states = torch.empty(1, TOKENS, config.hidden_size, dtype=torch.bfloat16, requires_grad=True)
            angles = [each.detach() for each in inner.rotary_emb(states, torch.arange(TOKENS)[None])]
            documents = varlen_attention.Documents(DOCUMENTS, torch.tensor(DOCUMENTS, dtype=torch.int32), 2048)
            forward, backward = Kernels(), Kernels()
            with forward:
                result = inner.layers[0](states, position_embeddings=angles, attention_mask=None, documents=documents)
            slope = torch.empty_like(result)
            with backward:
                result.backward(slope)
        return forward, backward

    yield count
    monkeypatch.undo()
    varlen_attention.register()  # which transformers keeps by name


def test_a_layer_keeps_to_its_budget(layer: Callable[..., tuple[Kernels, Kernels]]) -> None:
    """Two are zeros that `varlen_attn` has made for what has no gradient."""
    forward, backward = layer(fused=True)
    launches = forward.launches.total() + backward.launches.total()
    moved = (forward.pointwise + backward.pointwise) / 1e9
    assert launches <= 93, (forward.launches, backward.launches)
    assert moved <= 6.7, (forward.bytes, backward.bytes)


def test_the_products_are_those_of_the_arithmetic(layer: Callable[..., tuple[Kernels, Kernels]]) -> None:
    """Seven frozen matrices, forward and for their inputs' gradients, and each adapter's two with two gradients each way: nothing twice."""
    forward, backward = layer(fused=True)
    assert [sum(kernels.launches[name] for name in PRODUCTS[:3]) for kernels in (forward, backward)] == [3 * 7, 5 * 7]


def test_without_ours_a_layer_launches_more_and_moves_more(layer: Callable[..., tuple[Kernels, Kernels]]) -> None:
    """139 kernels and 14.9 GB with PEFT's own adapters and transformers' own rotation."""
    ours, theirs = layer(fused=True), layer(fused=False)
    launches = [sum(kernels.launches.total() for kernels in both) for both in (ours, theirs)]
    moved = [sum(kernels.pointwise for kernels in both) for both in (ours, theirs)]
    assert launches[0] < launches[1] - 40
    assert moved[0] < 0.5 * moved[1]
    assert math.isfinite(moved[0])
