"""Products with frozen matrices in 16 bits on a CPU, where the matrix library leaves time on the table.

A head is laid out once, in the order in which the library reads it. Left as it is, the library lays it out anew in every product: 512 rows
by a head of 32,000 words of 768 took 51 instead of 55 ms forward and 50 instead of 59 backward, one thread; 11.7 instead of 16.3 forward,
two threads with tiles. Every bit is the same, which is tried first. The price is memory: a copy for each way.

Other products are made in pieces of rows where the library would give a whole one to a single thread (`_at_once`).
"""

import math
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from llmlab.trainer.device import has_amx

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
    size = _at_once(len(x), x.shape[1], matrix.shape[1]) if x.device.type == "cpu" else len(x)
    if size >= len(x):
        return x @ matrix if bias is None else torch.addmm(bias, x, matrix)
    output = x.new_empty(len(x), matrix.shape[1])
    for start in range(0, len(x), size):
        rows, into = x[start : start + size], output[start : start + size]
        if bias is None:
            torch.mm(rows, matrix, out=into)
        else:
            torch.addmm(bias, rows, matrix, out=into)
    return output


def _at_once(rows: int, inner: int, width: int) -> int:
    """How many rows of a product (rows, inner) by (inner, width) to make at once.

    With two threads and tiles, oneDNN takes a block as large as the product when it has about as many rows as columns, and one thread then
    makes it alone, at half the speed: from 1 to 2 times as many rows, and from 0.8 where more numbers are summed than made. A rule rather
    than a trial, so that the same machine type makes the same bits (`python -m benchmarks.products` shows what it is worth).
    """
    if not _may_be_alone(inner, width):
        return rows
    alone = 0.8 * width <= rows <= 2 * width if inner > width else width <= rows < 2 * width
    if not alone:
        return rows
    parts = math.ceil(rows / (PIECE * width))
    return math.ceil(rows / parts / TILE) * TILE


def _may_be_alone(inner: int, width: int) -> bool:
    """Whether there are numbers of rows with which one thread makes a product alone."""
    return has_amx() and torch.get_num_threads() == 2 and width in WIDTHS and width <= inner <= DEEPEST * width


class FrozenProduct(torch.autograd.Function):
    """`x @ weight.T + bias`, x (..., in), weight (out, in), of which only x has a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return product(x.reshape(-1, x.shape[-1]), weight.t(), bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return product(grad_output.reshape(-1, grad_output.shape[-1]), weight).view(*grad_output.shape[:-1], -1), None, None


def is_frozen(module: nn.Module, dtype: torch.dtype | None = None) -> bool:
    """Whether a module is a matrix that does not learn, in 16 bits; `dtype` is of its products, its own by default."""
    return (
        type(module) is nn.Linear
        and (dtype or module.weight.dtype).itemsize == 2
        and not module.weight.requires_grad
        and (module.bias is None or not module.bias.requires_grad)
    )


def _is_on_cpu(matrix: Any) -> bool:
    return bool(matrix.weight.device.type == "cpu")


def fuse_products(model: nn.Module, head: nn.Module | None) -> int:
    """Replace the forward of a model's frozen matrices in place, where either way may be in pieces; returns how many. Its head is left."""
    count = 0
    for module in model.modules():
        if module is not head and is_frozen(module) and _is_on_cpu(module):
            out, into = module.weight.shape  # type: ignore[misc]
            if _may_be_alone(into, out) or _may_be_alone(out, into):
                module.forward = MethodType(_forward, module)
                count += 1
    return count


def _forward(module: Any, x: Tensor) -> Tensor:
    """A method, not a closure: a copy of the module must not go on reading the weights of the one it was copied from."""
    same = x.dtype == module.weight.dtype
    output: Tensor = FrozenProduct.apply(x, module.weight, module.bias) if same else type(module).forward(module, x)  # type: ignore[no-untyped-call]
    return output


class PrepackedWeight:
    """A frozen matrix (out, in), prepacked for the matrix library where that gives the same bits."""

    def __init__(self, matrix: Tensor) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(TRIED_ROWS, matrix.shape[1], generator=generator).to(matrix.dtype)
        self._matrix, self.laid_out = matrix, False
        try:
            laid = _laid_out(matrix.contiguous())
            self.laid_out = torch.equal(_linear(x, laid, None, "none", [], ""), linear(x, matrix))
        except (RuntimeError, AttributeError):
            return
        if self.laid_out:
            self._matrix = laid

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """`x @ matrix.T + bias`, x (..., in)."""
        output: Tensor = _linear(x, self._matrix, bias, "none", [], "") if self.laid_out else linear(x, self._matrix, bias)
        return output


class Frozen:
    """A frozen matrix (out, in) in 16 bits. `forward` is `x @ weight.T + bias`, `backward` is `grad_output @ weight`."""

    def __init__(self, weight: Tensor) -> None:
        self.dtype = weight.dtype
        self.forward, self.backward = PrepackedWeight(weight), PrepackedWeight(weight.t())


def lay_out(head: nn.Module, dtype: torch.dtype) -> bool:
    """Lay out a head for training in `dtype`, each way where that gives the same bits; returns whether any was."""
    if not (is_frozen(head, dtype) and _is_on_cpu(head)):
        return False
    frozen = Frozen(head.weight.detach().to(dtype))  # type: ignore[operator]
    done = frozen.forward.laid_out or frozen.backward.laid_out
    if done:
        head.frozen = frozen  # type: ignore[assignment]
    return done
