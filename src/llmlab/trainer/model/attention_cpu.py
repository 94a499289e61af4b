"""Causal attention of documents on a CPU, each by itself, with the gradients written where they belong.

Forward is torch's own flash kernel, document by document. Backward, in 16 bits, that kernel takes three to four times as long as the
products it stands for, and slicing a row for autograd fills and adds a whole row's gradient for each document. So the gradients are
made here: the probabilities of a block of queries again from the saved log-sum-exp, then the four products of Dao et al. 2022 (arXiv
2205.14135, algorithm 4), into slices of one tensor. Long documents, and 32 bits, go through torch's kernel, which is the faster there.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

BLOCK = 128
"""Queries whose probabilities are in memory at once: with 128 keys more they stay in a core's cache."""
LONGEST = 1024
"""Tokens up to which the products are faster than torch's kernel: 1.5 of 3.6 ms at 256, 18.6 of 27.6 at 1,024, 97 of 95 at 2,048."""
WHOLE = 32
"""Tokens that a document is rounded up to, into those behind it, whose weights are zero. The matrix library compiles a kernel for each
shape it meets and keeps it: documents have hundreds of lengths. Rounded, a training of 128 rows took 788 instead of 908 MiB."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - it has no public name
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001


class DocumentsAttention(torch.autograd.Function):
    """Query (1, heads, tokens, size), key and value (1, their heads, tokens, size) to (1, tokens, heads, size)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bounds: tuple[int, ...], scale: float) -> Tensor:
        _, heads, tokens, size = query.shape
        made = query.new_empty(1, tokens, heads, size)
        sums = torch.empty(heads, tokens, dtype=torch.float32)
        groups = heads // key.shape[1]
        for start, end in pairwise(bounds):
            part = slice(start, end)
            one, total = _flash(
                query[:, :, part], _repeated(key[:, :, part], groups), _repeated(value[:, :, part], groups), 0.0, True, scale=scale
            )
            made[:, part] = one.transpose(1, 2)
            sums[:, part] = total[0]
        ctx.bounds, ctx.scale = bounds, scale
        ctx.save_for_backward(query, key, value, made, sums)
        return made

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, made, sums = ctx.saved_tensors
        by_query, by_key, by_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        for start, end in pairwise(ctx.bounds):
            part, tokens = slice(start, end), end - start
            products = query.dtype != torch.float32 and tokens <= LONGEST
            read = slice(start, start + tokens + -tokens % WHOLE) if products else part
            inputs = (query[0, :, read], key[0, :, read], value[0, :, read])
            outputs = (made[0, read].transpose(0, 1), sums[:, read], above[0, read].transpose(0, 1))
            by = _by_products(*inputs, *outputs, ctx.scale, tokens) if products else _by_torch(*inputs, *outputs, ctx.scale)
            by_query[0, :, part], by_key[0, :, part], by_value[0, :, part] = (one[:, :tokens] for one in by)
        return by_query, by_key, by_value, None, None


def _by_products(
    query: Tensor, key: Tensor, value: Tensor, made: Tensor, sums: Tensor, above: Tensor, scale: float, own: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of one document; query, made and above (heads, tokens, size), key and value (their heads, tokens, size).

    The first `own` tokens are the document's. What is behind them is read and weighs nothing.
    """
    heads, tokens, size = query.shape
    pairs = key.shape[0]
    by_query = torch.empty_like(query)
    by_key, by_value = torch.zeros_like(key), torch.zeros_like(value)
    mean = (above.float() * made.float()).sum(-1, keepdim=True)
    for start in range(0, tokens, BLOCK):
        end = min(tokens, start + BLOCK)
        rows = (heads // pairs) * (end - start)
        asked, wanted = query[:, start:end].reshape(pairs, rows, size), above[:, start:end].reshape(pairs, rows, size)
        seen_keys, seen_values = key[:, :end], value[:, :end]
        weights = torch.bmm(asked, seen_keys.transpose(1, 2)).float().view(heads, end - start, end)
        weights.mul_(scale).sub_(sums[:, start:end, None]).exp_()
        weights[:, :, start:].tril_()
        slopes = torch.bmm(wanted, seen_values.transpose(1, 2)).float().view(heads, end - start, end)
        slopes.sub_(mean[:, start:end]).mul_(weights).mul_(scale)
        for one in (weights, slopes) if end > own else ():
            one[:, own - start :].zero_()
        low_weights, low_slopes = weights.to(query.dtype).view(pairs, rows, end), slopes.to(query.dtype).view(pairs, rows, end)
        by_value[:, :end] += torch.bmm(low_weights.transpose(1, 2), wanted)
        by_key[:, :end] += torch.bmm(low_slopes.transpose(1, 2), asked)
        by_query[:, start:end] = torch.bmm(low_slopes, seen_keys).view(heads, end - start, size)
    return by_query, by_key, by_value


def _by_torch(
    query: Tensor, key: Tensor, value: Tensor, made: Tensor, sums: Tensor, above: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    groups = query.shape[0] // key.shape[0]
    by_query, by_key, by_value = _flash_backward(
        above[None],
        query[None],
        _repeated(key[None], groups),
        _repeated(value[None], groups),
        made[None],
        sums[None],
        0.0,
        True,
        scale=scale,
    )
    return by_query[0], _summed(by_key[0], groups), _summed(by_value[0], groups)


def _repeated(tensor: Tensor, groups: int) -> Tensor:
    """A head of keys or values for each head of queries."""
    return tensor if groups == 1 else tensor.repeat_interleave(groups, dim=1)


def _summed(tensor: Tensor, groups: int) -> Tensor:
    """The gradients of a head that several heads of queries shared."""
    return tensor if groups == 1 else tensor.reshape(-1, groups, *tensor.shape[1:]).sum(1)
