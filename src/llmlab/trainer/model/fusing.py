"""Replaces modules of a model by the fused ones.

A model's module is replaced only where it gives what ours gives on random input, within rounding; the price is that a model with a norm of
another form is left as it is. An adapter is PEFT's, whose version is fixed, and is known by its class.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from llmlab.trainer.model.adapted import fuse_adapters
from llmlab.trainer.model.fused import Dropout, RmsNorm, SiluGate, close
from llmlab.trainer.model.products import fuse_products
from llmlab.trainer.model.rotation import fuse_rotations


def fuse(model: nn.Module, adapted: nn.Module, device: str) -> str:
    """Replace in place the modules that the training's device computes quicker fused; returns which, in words.

    On a CPU all of it. On a GPU the norms by torch's own fused operator, rotations, gates, and adapters without dropout, which is torch's
    there.
    """
    on_cpu = device == "cpu"
    norms = gates = 0
    tried: dict[tuple[type, int], bool] = {}
    for module in model.modules():
        for make in (_norm if on_cpu else _norm_on_gpu, _gate):
            forward = make(module)
            if forward is None:
                continue
            size = int(module.gate_proj.in_features if make is _gate else module.weight.shape[0])  # type: ignore[union-attr, index, arg-type]
            known = (type(module), size)
            if known not in tried:
                tried[known] = _same(module, forward, size)
            if tried[known]:
                module.forward = forward
                norms, gates = norms + (make is not _gate), gates + (make is _gate)
    weight = next(model.parameters())
    rotations = fuse_rotations(model, _computed(weight), weight.device)
    named = ((owner, name, child) for owner in adapted.modules() for name, child in owner.named_children())
    drops = [(owner, name) for owner, name, child in named if on_cpu and type(child) is nn.Dropout and child.p > 0]
    for owner, name in drops:
        before = getattr(owner, name)
        setattr(owner, name, Dropout(before.p).train(before.training))
    products = fuse_products(model, model.get_output_embeddings())  # type: ignore[operator]
    pieces = {"norms": norms, "gates": gates, "rotations": rotations, "dropouts": len(drops)}
    pieces |= {"adapters": fuse_adapters(adapted), "products": products}
    replaced = [f"{count} {word}" for word, count in pieces.items() if count]
    return ", ".join(replaced) or "nothing"


def _norm(module: Any) -> Callable[[Tensor], Tensor] | None:
    if not type(module).__name__.endswith("RMSNorm") or not hasattr(module, "variance_epsilon"):
        return None
    return MethodType(_norm_forward, module)


def _norm_on_gpu(module: Any) -> Callable[[Tensor], Tensor] | None:
    return MethodType(_norm_forward_on_gpu, module) if _norm(module) else None


def _gate(module: Any) -> Callable[[Tensor], Tensor] | None:
    if not all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        return None
    if type(module.act_fn).__name__ not in {"SiLU", "SiLUActivation"} or not hasattr(module.gate_proj, "in_features"):
        return None  # experts hold their matrices under the same names
    return MethodType(_gate_forward, module)


def _norm_forward(module: Any, x: Tensor) -> Tensor:
    """A method, not a closure: a copy of the module must not go on reading the weights of the one it was copied from."""
    output: Tensor = RmsNorm.apply(x, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return output


def _norm_forward_on_gpu(module: Any, x: Tensor) -> Tensor:
    """One kernel each way where both are of one type: autocast would widen them first, which is what the fused kernel does inside."""
    if module.weight.dtype != x.dtype:
        return _norm_forward(module, x)
    with torch.autocast(x.device.type, enabled=False):
        return rms_norm(x, module.weight.shape, module.weight, module.variance_epsilon)


def _gate_forward(module: Any, x: Tensor) -> Tensor:
    output: Tensor = module.down_proj(SiluGate.apply(module.gate_proj(x), module.up_proj(x)))  # type: ignore[no-untyped-call]
    return output


def _same(module: nn.Module, forward: Callable[[Tensor], Tensor], size: int) -> bool:
    """Whether a module gives on random input what our forward gives; an error of either means that it does not."""
    weight = next(module.parameters())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, size, generator=generator).to(weight.device, _computed(weight))
    with torch.no_grad():
        try:
            return close(module(x), forward(x))
        except (RuntimeError, TypeError):
            return False


def _computed(weight: Tensor) -> torch.dtype:
    """The type that products with a weight are computed in."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
