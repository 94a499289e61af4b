"""Elementwise pieces of a model with their gradients by hand: fewer passes over memory, and fewer tensors kept for the way back.

A norm keeps its input and one number a token, where autograd keeps five tensors of the input's size, three of them in 32 bits. A gate keeps
its two inputs. Dropout draws four decisions from one 64-bit number. A module is replaced only where it gives what ours gives on random
input, within rounding; the price is that a model with a norm of another form is left as it is.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

CLOSE = 1e-2
"""Relative difference of two roundings to 16 bits."""
DRAWN = 2**15
"""Dropout's probability is a whole multiple of one over this."""


class RmsNorm(torch.autograd.Function):
    """`weight * x / sqrt(mean(x^2) + epsilon)`, x (..., hidden), the quotient in 32 bits and rounded to x's type before the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        made: Tensor = weight * (x * scale).to(x.dtype)
        return made

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        by_weight = None
        unit = x * scale
        if ctx.needs_input_grad[1]:
            by_weight = (above * unit.to(x.dtype)).flatten(0, -2).sum(0, dtype=torch.float32).to(weight.dtype)
        slope = (above * weight).float()
        mean = (slope * unit).mean(-1, keepdim=True)
        return slope.sub_(unit.mul_(mean)).mul_(scale).to(x.dtype), by_weight, None


class SiluGate(torch.autograd.Function):
    """`silu(gate) * up`."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        by_up = torch.nn.functional.silu(gate).mul_(above)
        return torch.ops.aten.silu_backward(above * up, gate), by_up


class Drop(torch.autograd.Function):
    """Dropout of 16-bit numbers: kept ones are scaled up. The mask is made of bits, so no number is converted on the way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None).view(torch.int16)
        draws = draws[: x.numel()].view(x.shape).bitwise_and_(DRAWN - 1)
        mask = draws.neg_().add_(round(probability * DRAWN) - 1).bitwise_right_shift_(15)  # all ones where it stays
        ctx.scale = 1 / (1 - probability)
        ctx.save_for_backward(mask)
        return _masked(x, mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return _masked(above, mask).mul_(ctx.scale), None


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
        made: Tensor = Drop.apply(x.contiguous(), self.p)  # type: ignore[no-untyped-call]
        return made


def fuse(model: nn.Module, adapted: nn.Module) -> str:
    """Replace what can be replaced in place; returns what was, in words."""
    norms = gates = 0
    tried: dict[tuple[type, int], bool] = {}
    for module in model.modules():
        for make in (_norm, _gate):
            forward = make(module)
            if forward is None:
                continue
            size = int(module.weight.shape[0] if make is _norm else module.gate_proj.in_features)  # type: ignore[union-attr, index, arg-type]
            known = (type(module), size)
            if known not in tried:
                tried[known] = _same(module, forward, size)
            if tried[known]:
                module.forward = forward
                norms, gates = norms + (make is _norm), gates + (make is _gate)
    drops = [(owner, name) for owner in adapted.modules() for name, one in owner.named_children() if type(one) is nn.Dropout and one.p > 0]
    for owner, name in drops:
        before = getattr(owner, name)
        setattr(owner, name, Dropout(before.p).train(before.training))
    made = [f"{count} {word}" for count, word in ((norms, "norms"), (gates, "gates"), (len(drops), "dropouts")) if count]
    return ", ".join(made) or "nothing"


def _norm(module: Any) -> Callable[[Tensor], Tensor] | None:
    if not type(module).__name__.endswith("RMSNorm") or not hasattr(module, "variance_epsilon"):
        return None
    return MethodType(_norm_forward, module)


def _gate(module: Any) -> Callable[[Tensor], Tensor] | None:
    if not all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        return None
    if type(module.act_fn).__name__ not in {"SiLU", "SiLUActivation"}:
        return None
    return MethodType(_gate_forward, module)


def _norm_forward(module: Any, x: Tensor) -> Tensor:
    """A method, not a closure: a copy of the module must not go on reading the weights of the one it was copied from."""
    made: Tensor = RmsNorm.apply(x, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return made


def _gate_forward(module: Any, x: Tensor) -> Tensor:
    made: Tensor = module.down_proj(SiluGate.apply(module.gate_proj(x), module.up_proj(x)))  # type: ignore[no-untyped-call]
    return made


def _same(module: nn.Module, forward: Callable[[Tensor], Tensor], size: int) -> bool:
    """Whether a module gives on random input what ours gives; that one raises means that it does not."""
    weight = next(module.parameters())
    dtype = torch.get_autocast_dtype(weight.device.type) if torch.is_autocast_enabled(weight.device.type) else weight.dtype
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, size, generator=generator).to(weight.device, dtype)
    with torch.no_grad():
        try:
            one, other = module(x).float(), forward(x).float()
        except (RuntimeError, TypeError):
            return False
    return one.shape == other.shape and bool((one - other).norm() <= CLOSE * one.norm())


def _masked(x: Tensor, mask: Tensor) -> Tensor:
    return (x.contiguous().view(torch.int16) & mask).view(x.dtype)
