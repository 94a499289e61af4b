"""Elementwise pieces of a model with their gradients by hand: fewer passes over memory, and fewer tensors kept for backward.

A norm keeps its input and one number a token, where autograd keeps five tensors of the input's size, three of them in 32 bits. A gate keeps
its two inputs. Dropout draws four decisions from one 64-bit number.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CACHED = 2**17
"""Numbers of a norm that are worked on at once on a CPU: 512 KiB in 32 bits, several of which fit in two cores' second caches."""
DRAWN = 2**15
"""Dropout's probability is a whole multiple of one over this."""
CLOSE = 1e-2
"""Relative difference of two roundings to 16 bits."""


def close(theirs: Tensor, ours: Tensor) -> bool:
    """Whether our output equals that of the model's own module, but for rounding."""
    expected, actual = theirs.float(), ours.float()
    return expected.shape == actual.shape and bool((expected - actual).norm() <= CLOSE * expected.norm())


class RmsNorm(torch.autograd.Function):
    """`weight * x / sqrt(mean(x^2) + epsilon)`, x (..., hidden), the quotient in 32 bits and rounded to x's type before the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        unit: Tensor = (x * scale).to(x.dtype)
        return unit.mul_(weight) if weight.dtype == x.dtype else weight * unit

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        by_x, by_weight = x.new_empty(x.shape), None
        if ctx.needs_input_grad[1]:
            by_weight = (grad_output * (x * scale).to(x.dtype)).flatten(0, -2).sum(0, dtype=torch.float32).to(weight.dtype)
        rows = max(1, CACHED // x.shape[-1]) if x.device.type == "cpu" else x.numel()
        parts = (tensor.reshape(-1, tensor.shape[-1]).split(rows) for tensor in (x, scale, grad_output, by_x))
        for its_x, its_scale, its_grad_output, into in zip(*parts, strict=True):  # several passes in 32 bits
            unit = its_x * its_scale
            slope = (its_grad_output * weight).float()
            mean = (slope * unit).mean(-1, keepdim=True)
            into.copy_(slope.sub_(unit.mul_(mean)).mul_(its_scale))
        return by_x, by_weight, None


class SiluGate(torch.autograd.Function):
    """`silu(gate) * up`."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        by_up = torch.nn.functional.silu(gate).mul_(grad_output)
        return torch.ops.aten.silu_backward(grad_output * up, gate), by_up


class Drop(torch.autograd.Function):
    """Dropout of 16-bit numbers: kept ones are scaled up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        mask = draw_mask(x, probability)
        ctx.scale = 1 / (1 - probability)
        ctx.save_for_backward(mask)
        return masked(x, mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return masked(grad_output, mask).mul_(ctx.scale), None


class Dropout(nn.Module):
    """`torch.nn.Dropout`, quicker on a CPU for 16-bit numbers."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.p = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.element_size() != 2:
            return torch.nn.functional.dropout(x, self.p)
        dropped: Tensor = Drop.apply(x.contiguous(), self.p)  # type: ignore[no-untyped-call]
        return dropped


def draw_mask(x: Tensor, probability: float) -> Tensor:
    """A dropout mask for 16-bit numbers: all bits of an int16 (kept), or none (dropped), so that no number is converted.

    On a CPU the bits come from a generator twice as fast as torch's, whose seed torch draws.
    """
    count = (x.numel() + 3) // 4
    if x.device.type == "cpu":
        seed = int(torch.randint(2**62, ()))
        draws = torch.from_numpy(np.random.SFC64(seed).random_raw(count))
    else:
        draws = torch.empty(count, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape).bitwise_and_(DRAWN - 1)
    return bits.neg_().add_(round(probability * DRAWN) - 1).bitwise_right_shift_(15)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """16-bit numbers, zeroed where the mask is zero; without a mask, unchanged."""
    return x if mask is None else (x.contiguous().view(torch.int16) & mask).view(x.dtype)
