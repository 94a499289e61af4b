"""The rotation of queries and keys by their positions (RoPE, arXiv 2104.09864), with its gradient by hand.

transformers writes it as five passes forward and, by autograd, ten back, for queries and keys each. By torch's own `addcmul_` on the two
halves of a head it is three each way, rounded twice in place of three times. A library's Triton kernel would be one for both, and could be
tried on no CPU.
"""

from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from llmlab.trainer.model.fused import close

NAME = "apply_rotary_pos_emb"
"""transformers' function, of which each family of models has its own."""
TRIED = (1, 4, 5, 16)
"""Batch, heads, tokens and head size."""


class Rotation(torch.autograd.Function):
    """`x * cos + cat(-x2, x1) * sin` with `x1, x2` the halves of the last dimension; what is beyond cos's size stays as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        left, right = sin.chunk(2, dim=-1)
        return _turned(x, cos, -1, left, right)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        left, right = sin.chunk(2, dim=-1)
        return _turned(grad_output, cos, 1, right, left), None, None


def _turned(x: Tensor, cos: Tensor, sign: int, by_second: Tensor, by_first: Tensor) -> Tensor:
    """`x * cos`, to whose first half is added `sign` times the second half of x by `by_second`, and the other way round."""
    size = cos.shape[-1]
    turned, rest = x[..., :size], x[..., size:]
    output = turned * cos
    first, second = turned.chunk(2, dim=-1)
    into_first, into_second = output.chunk(2, dim=-1)
    into_first.addcmul_(second, by_second, value=sign)
    into_second.addcmul_(first, by_first, value=-sign)
    return torch.cat([output, rest], dim=-1) if rest.shape[-1] else output


def rotate(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """In the place of transformers' function: query and key (batch, heads, tokens, head size), cos and sin (batch, tokens, turned size)."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    turned: tuple[Tensor, Tensor] = (Rotation.apply(query, cos, sin), Rotation.apply(key, cos, sin))  # type: ignore[no-untyped-call]
    return turned


def fuse_rotations(model: nn.Module, dtype: torch.dtype, device: torch.device) -> int:
    """Have a model's attention call `rotate` where its own function gives the same; returns how many layers of attention do.

    A module gets a forward that reads one global otherwise, as the function of its file is every model's of that family. All modules of a
    class share one such forward: torch.compile keeps what it compiled of a code object in the globals of the frame that it met first
    (https://github.com/pytorch/pytorch/blob/main/torch/_dynamo/output_graph.py, `install_global_by_id`), and looks there for all others.
    """
    same: dict[Any, bool] = {}
    forwards: dict[FunctionType, FunctionType] = {}
    count = 0
    for module in model.modules():
        forward = type(module).forward
        if not isinstance(forward, FunctionType) or NAME not in forward.__code__.co_names or forward.__closure__:
            continue
        own = forward.__globals__.get(NAME)
        if own not in same:
            same[own] = _same(own, dtype, device)
        if same[own]:
            if forward not in forwards:
                forwards[forward] = _with_rotate(forward)
            module.forward = MethodType(forwards[forward], module)
            count += 1
    return count


def _with_rotate(forward: FunctionType) -> FunctionType:
    """The same function, of a code object of its own, with `rotate` in the place of transformers' function."""
    ours = FunctionType(
        forward.__code__.replace(), {**forward.__globals__, NAME: rotate}, forward.__name__, forward.__defaults__
    )  # fmt: skip
    ours.__kwdefaults__ = forward.__kwdefaults__
    return ours


def _same(own: Any, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a family's function gives what ours gives, of the same type: on whole heads, and on half of each where it can."""
    generator = torch.Generator().manual_seed(0)
    heads, angles = TRIED, (TRIED[0], *TRIED[2:])
    query, key = (torch.randn(heads, generator=generator).to(device, dtype) for _ in range(2))
    turns = torch.randn(angles, generator=generator).to(device)
    tried = []
    for kind in {dtype, torch.float32}:  # angles are in 32 bits where the states are
        for size in (heads[-1], heads[-1] // 2):
            cos, sin = (part[..., :size].to(kind) for part in (turns.cos(), turns.sin()))
            try:
                theirs = own(query, key, cos, sin)
            except (RuntimeError, TypeError):
                tried.append(size != heads[-1])
                continue
            tried.append(len(theirs) == 2 and all(_alike(*pair) for pair in zip(theirs, rotate(query, key, cos, sin), strict=True)))
    return all(tried)


def _alike(theirs: Tensor, ours: Tensor) -> bool:
    return theirs.dtype == ours.dtype and close(theirs, ours)
