"""Causal attention of documents on a CPU, each by itself, with the gradients written where they belong.

In 16 bits, torch's own flash kernel takes three times as long as the products it stands for on the way forward and as long again on the
way back, and slicing a row for autograd fills and adds a whole row's gradient for each document. So both ways are made here: a block of
queries at a time, its products and one softmax, whose probabilities are made again on the way back rather than kept, and the five
products of Dao et al. 2022 (arXiv 2205.14135, algorithm 4), into slices of one tensor. 32 bits, and documents so long that a block's
probabilities leave the caches, go through torch's kernel.
"""

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 128
"""Queries whose probabilities are in memory at once: with 128 keys more they stay in a core's cache."""
LONGEST = 1024
"""Tokens up to which documents go by products: both ways took 11.7 of 31.0 ms at 640 tokens and 35.7 of 68.8 at 1,024, one thread."""
WHOLE = 32
"""Tokens that a document is rounded up to, into those behind it, which it does not see. The matrix library compiles a kernel for each
shape it meets and keeps it: documents have hundreds of lengths. Rounded, a training of 128 rows took 788 instead of 908 MiB."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - it has no public name
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001
_softmax_backward = torch.ops.aten._softmax_backward_data  # noqa: SLF001


class DocumentsAttention(torch.autograd.Function):
    """Query (1, heads, tokens, size), key and value (1, their heads, tokens, size) to (1, tokens, heads, size)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bounds: tuple[int, ...], scale: float) -> Tensor:
        _, heads, tokens, size = query.shape
        made = query.new_empty(1, tokens, heads, size)
        sums = torch.empty(heads, tokens, dtype=torch.float32)
        scaled, groups, kept = query[0] * scale, heads // key.shape[1], False
        for start, end in pairwise(bounds):
            part, read = slice(start, end), _read(start, end)
            if _goes_by_products(query, end - start):
                made[0, part] = _forward(scaled[:, read], key[0, :, read], value[0, :, read])[: end - start]
                continue
            one, total = _flash(
                query[:, :, part], _repeated(key[:, :, part], groups), _repeated(value[:, :, part], groups), 0.0, True, scale=scale
            )
            made[:, part], sums[:, part], kept = one.transpose(1, 2), total[0], True
        ctx.bounds, ctx.scale = bounds, scale
        ctx.save_for_backward(query, key, value, *((made, sums) if kept else ()))
        return made

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        by_query, by_key, by_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        scaled = query[0] * ctx.scale
        for start, end in pairwise(ctx.bounds):
            part, read = slice(start, end), _read(start, end)
            below = above[0, part].transpose(0, 1)
            if _goes_by_products(query, end - start):
                by = _backward(scaled[:, read], key[0, :, read], value[0, :, read], below, ctx.scale)
            else:
                made, sums = kept
                outputs = (made[0, part].transpose(0, 1), sums[:, part], below)
                by = _by_torch(query[0, :, part], key[0, :, part], value[0, :, part], *outputs, ctx.scale)
            by_query[0, :, part], by_key[0, :, part], by_value[0, :, part] = (one[:, : end - start] for one in by)
        return by_query, by_key, by_value, None, None


def _goes_by_products(query: Tensor, tokens: int) -> bool:
    return query.dtype != torch.float32 and tokens <= LONGEST


def _read(start: int, end: int) -> slice:
    """The document and what rounds it up. Queries behind it are computed and not used; its own see no key behind it."""
    return slice(start, end + (start - end) % WHOLE)


def _forward(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One document's attention (tokens, heads, size). Query (heads, tokens, size) is scaled, key and value (their heads, tokens, size)."""
    heads, tokens, size = query.shape
    pairs = key.shape[0]
    made = query.new_empty(tokens, heads, size)
    for start in range(0, tokens, BLOCK):
        end = min(tokens, start + BLOCK)
        weights = _weights(query[:, start:end].reshape(pairs, -1, size), key[:, :end], start)
        made[start:end] = torch.bmm(weights, value[:, :end]).view(heads, end - start, size).transpose(0, 1)
    return made


def _backward(query: Tensor, key: Tensor, value: Tensor, above: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by unscaled query, key and value of one document, from `above` (heads, its own tokens, size)."""
    heads, tokens, size = query.shape
    pairs = key.shape[0]
    by_query, by_key, by_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
    above = pad(above, (0, 0, 0, tokens - above.shape[1]))
    for start in range(0, tokens, BLOCK):
        end = min(tokens, start + BLOCK)
        asked, wanted = query[:, start:end].reshape(pairs, -1, size), above[:, start:end].reshape(pairs, -1, size)
        weights = _weights(asked, key[:, :end], start)
        slopes = _softmax_backward(torch.bmm(wanted, value[:, :end].transpose(1, 2)), weights, -1, weights.dtype)
        by_value[:, :end] += torch.bmm(weights.transpose(1, 2), wanted)
        by_key[:, :end] += torch.bmm(slopes.transpose(1, 2), asked)
        by_query[:, start:end] = torch.bmm(slopes, key[:, :end]).view(heads, end - start, size)
    return by_query.mul_(scale), by_key, by_value


def _weights(asked: Tensor, keys: Tensor, start: int) -> Tensor:
    """Probabilities of a block whose first query stands at `start`: (their heads, heads that share one x queries, keys up to the last)."""
    scores = torch.bmm(asked, keys.transpose(1, 2))
    size = keys.shape[1] - start
    scores.view(len(keys), -1, size, keys.shape[1])[..., start:] += _hidden(scores.dtype)[:size, :size]
    return torch.softmax(scores, -1)


@cache
def _hidden(dtype: torch.dtype) -> Tensor:
    """What makes each query of a block blind to the keys after it."""
    return torch.full((BLOCK, BLOCK), float("-inf")).triu_(1).to(dtype)


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
