"""A frozen matrix and its LoRA adapter as one autograd function, computed in 16 bits; the matrix itself is held in 16 bits or in 4.

PEFT's own forward multiplies by the scale and adds in passes over the whole output, and each adapter keeps a dropped-out copy of its input
for backward; over 4 bits it copies the output before. Here the scale goes into the product with the adapter's second matrix, which is added
as it is computed; backward needs the input, which the matrices that read it share, and the mask. Dropout, scale and sum are rounded once
where PEFT rounds each. On a GPU an adapter with dropout stays as PEFT has it, because torch's own dropout is quicker there.
"""

from importlib import import_module
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from llmlab.trainer.model.fused import Dropout, draw_mask, masked
from llmlab.trainer.model.products import is_frozen, product


class AdaptedProduct(torch.autograd.Function):
    """`x @ weight.T + bias + scale * drop(x) @ down.T @ up.T`, x (..., in).

    Weight (out, in) and bias (out,) are frozen, down (rank, in) and up (out, rank) learn. A weight in 4 bits comes packed, with
    bitsandbytes' `QuantState`, and is made whole for each product.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        quant_state: Any,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
        probability: float,
    ) -> Tensor:
        rows, types = x.reshape(-1, x.shape[-1]), (down.dtype, up.dtype)
        down, up = down.to(x.dtype), up.to(x.dtype)
        mask = draw_mask(rows, probability) if probability else None
        inner = masked(rows, mask) @ down.t()
        ctx.factor, ctx.types = scale / (1 - probability), types
        ctx.quant_state = quant_state
        result = product(rows, whole(weight, quant_state, x.dtype).t(), bias).addmm_(inner, up.t(), alpha=ctx.factor)
        ctx.save_for_backward(rows, weight, down, up, inner, mask)
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, down, up, inner, mask = ctx.saved_tensors
        shape, grad_output = grad_output.shape, grad_output.reshape(-1, grad_output.shape[-1])
        slope = _scaled(grad_output, up, ctx.factor)
        by_down, by_up = slope.t() @ masked(rows, mask), _scaled(grad_output.t(), inner, ctx.factor)
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = product(grad_output, whole(weight, ctx.quant_state, grad_output.dtype))
            by_x = by_x.addmm_(slope, down) if mask is None else by_x.add_(masked(slope @ down, mask))
            by_x = by_x.view(*shape[:-1], -1)
        return by_x, None, None, None, by_down.to(ctx.types[0]), by_up.to(ctx.types[1]), None, None


def whole(weight: Tensor, quant_state: Any, dtype: torch.dtype) -> Tensor:
    """A matrix (out, in) as a product takes it: as it is, or dequantized from 4 bits to `dtype`."""
    if quant_state is None:
        return weight
    functional: Any = import_module("bitsandbytes.functional")  # it has no types
    dequantized: Tensor = functional.dequantize_4bit(weight, quant_state)
    return dequantized.to(dtype)


def _scaled(left: Tensor, right: Tensor, factor: float) -> Tensor:
    """`factor * left @ right`: a product takes its factor along, where a pass of its own would be one kernel more."""
    return torch.addmm(left.new_empty(()), left, right, beta=0, alpha=factor)


def fuse_adapters(adapted: nn.Module) -> int:
    """Replace the forward of adapted matrices in place, where it is the plain one; returns how many there were."""
    from peft.tuners.lora import Linear

    count = 0
    for module in adapted.modules():
        if (type(module) is Linear or _is_over_4_bits(module)) and _is_plain(module):
            module.forward = MethodType(_forward, module)
            count += 1
    return count


def _is_over_4_bits(module: nn.Module) -> bool:
    """Whether a module is PEFT's adapter on a matrix in 4 bits; its class is asked by name, because bitsandbytes is imported with it."""
    return (type(module).__module__, type(module).__name__) == ("peft.tuners.lora.bnb", "Linear4bit")


def _is_plain(module: Any) -> bool:
    base, names = module.base_layer, list(module.lora_A)
    frozen = base.compute_dtype is not None and base.compute_dtype.itemsize == 2 if _is_over_4_bits(module) else is_frozen(base)
    return (
        frozen
        and len(names) == 1
        and not module.lora_variant
        and not any(module.lora_bias.values())
        and isinstance(module.lora_dropout[names[0]], Dropout | nn.Identity)
    )


def _forward(module: Any, x: Tensor, *rest: Any, **more: Any) -> Tensor:
    """A method, not a closure: a copy of the module must not go on reading the weights of the one it was copied from."""
    base, names = module.base_layer, list(module.lora_A)
    plain = not (rest or more or module.disable_adapters or module.merged)
    quant_state = getattr(base.weight, "quant_state", None)
    computed = base.weight.dtype if quant_state is None else base.compute_dtype
    if not plain or len(names) != 1 or module.active_adapters != names or x.dtype != computed:
        unfused: Tensor = type(module).forward(module, x, *rest, **more)
        return unfused
    (name,) = names
    drop = module.lora_dropout[name]
    probability = drop.p if module.training and isinstance(drop, Dropout) else 0.0
    down, up = module.lora_A[name].weight, module.lora_B[name].weight
    output: Tensor = AdaptedProduct.apply(  # type: ignore[no-untyped-call]
        x, base.weight, quant_state, base.bias, down, up, module.scaling[name], probability
    )
    return output
