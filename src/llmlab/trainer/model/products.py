"""Products with frozen matrices in 16 bits on a CPU, where the matrix library leaves time on the table.

A head is laid out once, in the order in which the library reads it. Left as it is, the library lays it out anew in every product: 512 rows
by a head of 32,000 words of 768 took 51 instead of 55 ms forward and 50 instead of 59 backward, one thread; 11.7 instead of 16.3 forward,
two threads with tiles. Every bit is the same, which is tried first. The price is memory: a copy for each way.

Other products are made in pieces of rows where the library would give a whole one to a single thread (`_at_once`).
"""

import math
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from llmlab.trainer.machine import has_tiles

_laid_out = torch.ops.mkldnn._reorder_linear_weight  # noqa: SLF001 - it has no public name
_linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
TRIED_ROWS = 3
WIDTHS = range(512, 1025)
"""Columns of the products that are made in pieces. Narrower ones gain nothing, and wider ones are shared out."""
DEEPEST = 3
"""How many times as many numbers may be summed as are made: deeper products are shared out."""
PIECE = 0.75
"""Rows of a piece, at most, by the columns."""
TILE = 64
"""What a piece's rows are a multiple of: 352 rows took as long as 512."""


def product(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ matrix + bias`, x (rows, in), matrix (in, out)."""
    size = _at_once(len(x), x.shape[1], matrix.shape[1])
    if size >= len(x):
        return x @ matrix if bias is None else torch.addmm(bias, x, matrix)
    made = x.new_empty(len(x), matrix.shape[1])
    for start in range(0, len(x), size):
        rows, into = x[start : start + size], made[start : start + size]
        if bias is None:
            torch.mm(rows, matrix, out=into)
        else:
            torch.addmm(bias, rows, matrix, out=into)
    return made


def _at_once(rows: int, inner: int, width: int) -> int:
    """How many rows of a product (rows, inner) by (inner, width) to make at once.

    With two threads and tiles, oneDNN takes a block as large as the product when it has about as many rows as columns, and one thread then
    makes it alone, at half the speed: from 1 to 2 times as many rows, and from 0.8 where more numbers are summed than made. A rule rather
    than a trial, so that the same machine type makes the same bits (`python -m benchmarks.products` shows what it is worth).
    """
    if not has_tiles() or torch.get_num_threads() != 2 or width not in WIDTHS or not width <= inner <= DEEPEST * width:
        return rows
    alone = 0.8 * width <= rows <= 2 * width if inner > width else width <= rows < 2 * width
    if not alone:
        return rows
    parts = math.ceil(rows / (PIECE * width))
    return math.ceil(rows / parts / TILE) * TILE


class FrozenProduct(torch.autograd.Function):
    """`x @ weight.T + bias`, x (..., in), weight (out, in), of which only x has a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return product(x.reshape(-1, x.shape[-1]), weight.t(), bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return product(above.reshape(-1, above.shape[-1]), weight).view(*above.shape[:-1], -1), None, None


def is_frozen(module: nn.Module, dtype: torch.dtype | None = None) -> bool:
    """Whether a module is a matrix on a CPU that does not learn, in 16 bits; `dtype` is of its products, its own by default."""
    return (
        type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and (dtype or module.weight.dtype).itemsize == 2
        and not module.weight.requires_grad
        and (module.bias is None or not module.bias.requires_grad)
    )


def fuse_products(model: nn.Module, head: nn.Module | None) -> int:
    """Replace the forward of a model's frozen matrices in place, but for its head; returns how many there were."""
    frozen = [module for module in model.modules() if module is not head and is_frozen(module)]
    for module in frozen:
        module.forward = MethodType(_forward, module)
    return len(frozen)


def _forward(module: Any, x: Tensor) -> Tensor:
    """A method, not a closure: a copy of the module must not go on reading the weights of the one it was copied from."""
    same = x.dtype == module.weight.dtype
    made: Tensor = FrozenProduct.apply(x, module.weight, module.bias) if same else type(module).forward(module, x)  # type: ignore[no-untyped-call]
    return made


class Frozen:
    """A matrix (out, in) in 16 bits that does not learn; each way is laid out where that gives the same bits."""

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach()
        self.dtype = weight.dtype
        self._weight = weight
        out, into = weight.shape
        self._forward = _same_when_laid_out(weight, lambda x: x @ weight.t(), into)
        self._backward = _same_when_laid_out(weight.t(), lambda above: above @ weight, out)

    @property
    def laid_out(self) -> bool:
        return self._forward is not None or self._backward is not None

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """`x @ weight.T + bias`, x (..., in)."""
        if self._forward is None:
            return torch.nn.functional.linear(x, self._weight, bias)
        made: Tensor = _linear(x, self._forward, bias, "none", [], "")
        return made

    def backward(self, above: Tensor) -> Tensor:
        """`above @ weight`, above (..., out): the gradient by x from that by the product."""
        if self._backward is None:
            return above @ self._weight
        made: Tensor = _linear(above, self._backward, None, "none", [], "")
        return made


def _same_when_laid_out(weight: Tensor, multiply: Callable[[Tensor], Tensor], inner: int) -> Tensor | None:
    """The matrix (out, inner) laid out, unless its products then differ in a bit."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(TRIED_ROWS, inner, generator=generator).to(weight.dtype)
    try:
        made: Tensor = _laid_out(weight.contiguous())
        return made if torch.equal(_linear(x, made, None, "none", [], ""), multiply(x)) else None
    except (RuntimeError, AttributeError):
        return None


def lay_out(head: nn.Module, dtype: torch.dtype) -> bool:
    """Lay out a head for training in `dtype`, each way where that gives the same bits; returns whether any was."""
    if not is_frozen(head, dtype):
        return False
    made = Frozen(head.weight.detach().to(dtype))  # type: ignore[operator]
    if made.laid_out:
        head.frozen = made  # type: ignore[assignment]
    return made.laid_out
