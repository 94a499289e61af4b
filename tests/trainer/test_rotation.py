"""The rotation by positions with its gradient by hand, beside that of transformers' families and beside more digits."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from llmlab.trainer.model.fusing import fuse
from llmlab.trainer.model.rotation import Rotation, _same, fuse_rotations, rotate
from tests.trainer import architectures

CPU = torch.device("cpu")
SHAPE = (2, 3, 7, 16)
SAME = ["llama", "qwen2", "qwen3", "qwen3_moe", "mistral", "gemma", "gemma3", "granite", "phi3", "gpt_neox", "glm4_moe", "qwen3_next"]
OTHERS = {
    "glm4": "neighbours are turned",
    "cohere2": "neighbours are turned",
    "gpt_oss": "angles of half a head",
    "gemma4": "one tensor at a time",
    "olmo2": "the result is rounded to 16 bits beside angles in 32",
}


def family(name: str) -> Callable[..., Any]:
    """transformers' own function of a family."""
    own: Callable[..., Any] = import_module(f"transformers.models.{name}.modeling_{name}").apply_rotary_pos_emb
    return own


def angles(size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    turns = torch.outer(torch.arange(SHAPE[2]).double(), 10_000.0 ** -(torch.arange(0, size, 2) / size).double())
    whole = torch.cat([turns, turns], dim=-1)[None]
    return whole.cos().to(dtype), whole.sin().to(dtype)


def with_slope(function: Callable[..., Any], x: Tensor, slope: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """What a function makes of queries and angles of their type, and the gradient."""
    x = x.detach().requires_grad_()
    made, _ = function(x, x.detach(), *angles(size, x.dtype))
    return made.detach(), torch.autograd.grad(made, x, slope)[0]


@pytest.mark.parametrize("name", SAME)
def test_a_family_that_turns_halves_is_served(name: str) -> None:
    assert _same(family(name), torch.bfloat16, CPU)


@pytest.mark.parametrize("name", OTHERS)
def test_a_family_with_a_way_of_its_own_is_left(name: str) -> None:
    assert not _same(family(name), torch.bfloat16, CPU)


@pytest.mark.parametrize("size", [16, 8])
def test_the_gradient_is_that_of_the_function(size: int) -> None:
    """In 64 bits, against differences; of half heads the other half is handed through."""
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    cos, sin = (part[:, None] * (1 + torch.arange(size) / 100) for part in angles(size, torch.float64))  # halves differ
    assert torch.autograd.gradcheck(lambda x: Rotation.apply(x, cos, sin), x)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "size"), [("llama", 16), ("gpt_neox", 8)])
def test_it_is_as_near_to_the_exact_one_as_transformers(name: str, size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, slope = (torch.randn(SHAPE).to(dtype) for _ in range(2))
    exact = with_slope(rotate, x.double(), slope.double(), size)
    ours, theirs = with_slope(rotate, x, slope, size), with_slope(family(name), x, slope, size)
    for at in range(2):
        assert ours[at].dtype == theirs[at].dtype == dtype
        away = [float((made[at].double() - exact[at]).norm()) for made in (ours, theirs)]
        assert away[0] <= 1.05 * away[1]


def test_one_model_is_changed_and_others_of_its_family_are_not(tmp_path: Any) -> None:
    from transformers import AutoModelForCausalLM

    folder = architectures.make(tmp_path, "llama")
    own = family("llama")
    model, other = (AutoModelForCausalLM.from_pretrained(folder) for _ in range(2))
    assert fuse_rotations(model, torch.float32, CPU) == model.config.num_hidden_layers
    ids = torch.arange(40)[None]
    calls = []
    for each in (model, other):
        with torch.profiler.profile() as seen:
            calls.append(each(ids, labels=ids))
        calls[-1].loss.backward()
        assert any("Rotation" in event.key for event in seen.key_averages()) is (each is model)
    assert family("llama") is own
    assert torch.allclose(calls[0].logits, calls[1].logits, atol=1e-5)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)


def test_it_is_among_the_fused_pieces(tmp_path: Any) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(architectures.make(tmp_path, "qwen3")).requires_grad_(requires_grad=False)
    assert "2 rotations" in fuse(model, model, "cuda")
