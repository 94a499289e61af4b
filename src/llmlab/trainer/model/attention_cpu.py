"""Causal attention within each document of a row on a CPU, with gradients by hand.

Slicing a row for autograd would fill and add a whole row's gradient for each document, so forward and backward write into slices of one
tensor here. In 16 bits torch's own flash kernel takes longer than the products it stands for: three times as long for both, except forward
on a processor with tiles (AMX), where it takes half as long and is used. What is computed here goes a block of queries at a time: its
products and one softmax, whose probabilities are computed again in backward rather than kept. Of the five products of backward (Dao et al.
2022, arXiv 2205.14135, algorithm 4) two pairs have one shape each and are computed as one, because a call costs more than its arithmetic.
32 bits, and documents so long that a block's probabilities leave the caches, go through torch's kernel.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from llmlab.trainer.device import has_amx

BLOCK = 128
"""Queries whose probabilities are in memory at once: with 128 keys more they stay in a core's cache."""
LONGEST = 1024
"""Tokens up to which documents go by products: both passes took 11.7 of 31.0 ms at 640 tokens and 35.7 of 68.8 at 1,024, one thread."""
WHOLE = 32
"""Tokens that a document is rounded up to, into those behind it, which it does not see. The matrix library compiles a kernel for each
shape it meets and keeps it: documents have hundreds of lengths. Rounded, a training of 128 rows took 788 instead of 908 MiB."""
TOGETHER = 2**21
"""Scores and slopes of blocks of one shape that are computed at once: 4 MiB, of which a small model's block of 128 queries is an eighth."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - it has no public name
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001
_softmax_backward = torch.ops.aten._softmax_backward_data.out  # noqa: SLF001


class DocumentsAttention(torch.autograd.Function):
    """Causal attention within documents.

    Query (1, heads, tokens, size), key and value (1, their heads, tokens, size) to (1, tokens, heads, size).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, cu_seqlens: tuple[int, ...], scale: float) -> Tensor:
        _, heads, tokens, size = query.shape
        output = query.new_empty(1, tokens, heads, size)
        sums = torch.empty(heads, tokens, dtype=torch.float32)
        short, long = _parts(query, cu_seqlens)
        by_torch, by_products = ([*short, *long], []) if has_amx() else (long, short)
        if by_torch:
            keys, values = (_repeated(tensor, heads // key.shape[1]) for tensor in (key, value))
            for part in by_torch:
                part_output, total = _flash(query[:, :, part], keys[:, :, part], values[:, :, part], 0.0, True, scale=scale)
                output[:, part] = part_output.transpose(1, 2)
                if long:
                    sums[:, part] = total[0]
        if by_products:
            scaled = query[0] * scale
            for part in by_products:
                read = _rounded(part)
                output[0, part] = _forward(scaled[:, read], key[0, :, read], value[0, :, read])[: _size(part)]
        ctx.parts, ctx.scale = (short, long), scale
        ctx.save_for_backward(query, key, value, *((output, sums) if long else ()))
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        pairs, tokens, size = key.shape[1:]
        by_query, by_keys = torch.empty_like(query), key.new_empty(2 * pairs, tokens, size)
        short, long = ctx.parts
        if short:
            stacked = _rows(query[0] * ctx.scale, grad_output[0].transpose(0, 1)).view(2 * pairs, -1, tokens + WHOLE, size)
            _backward(stacked, _rows(key[0], value[0]), short, by_query[0], by_keys, ctx.scale)
        for part in long:
            output, sums = kept
            outputs = (output[0, part].transpose(0, 1), sums[:, part], grad_output[0, part].transpose(0, 1))
            by = _by_torch(query[0, :, part], key[0, :, part], value[0, :, part], *outputs, ctx.scale)
            by_query[0, :, part], by_keys[:pairs, part], by_keys[pairs:, part] = by
        return by_query, by_keys[None, :pairs], by_keys[None, pairs:], None, None


def _parts(query: Tensor, cu_seqlens: tuple[int, ...]) -> tuple[list[slice], list[slice]]:
    """The documents as slices: short ones, whose backward goes by products, and long ones, which torch's kernel does both ways."""
    parts = [slice(start, end) for start, end in pairwise(cu_seqlens)]
    longest = LONGEST if query.dtype != torch.float32 else 0
    return [part for part in parts if _size(part) <= longest], [part for part in parts if _size(part) > longest]


def _size(part: slice) -> int:
    size: int = part.stop - part.start
    return size


def _rounded(part: slice) -> slice:
    """The document and what rounds it up, as far as the row goes. Its own queries see no key behind it."""
    return slice(part.start, part.stop + -_size(part) % WHOLE)


def _forward(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One document's attention (tokens, heads, size). Query (heads, tokens, size) is scaled, key and value (their heads, tokens, size)."""
    heads, tokens, size = query.shape
    pairs = key.shape[0]
    output = query.new_empty(tokens, heads, size)
    for start in range(0, tokens, BLOCK):
        end = min(tokens, start + BLOCK)
        scores = torch.bmm(query[:, start:end].reshape(pairs, -1, size), key[:, :end].transpose(1, 2))
        weights = torch.softmax(_causal(scores, start), -1)
        output[start:end] = torch.bmm(weights, value[:, :end]).view(heads, end - start, size).transpose(0, 1)
    return output


def _rows(first: Tensor, second: Tensor) -> Tensor:
    """Two tensors (n, tokens, size) stacked to (2 x n, tokens and what rounds the last document up, size)."""
    count, tokens, size = first.shape
    rows = first.new_empty(2, count, tokens + WHOLE, size)
    rows[0, :, :tokens], rows[1, :, :tokens] = first, second
    rows[:, :, tokens:].zero_()
    return rows.flatten(0, 1)


def _backward(stacked: Tensor, keys: Tensor, parts: list[slice], by_query: Tensor, by_keys: Tensor, scale: float) -> None:
    """The gradients of documents by keys and by values into `by_keys` (2 x their heads, tokens, size), as `keys` are keys and then values.

    `stacked` (2 x their heads, heads that share one, tokens, size) are scaled queries and then gradients of the output. The gradient by
    the unscaled queries goes into `by_query` (heads, tokens, size). Blocks of one shape are computed at once, of whichever documents.
    """
    both, groups, _, size = stacked.shape
    for start, end, alike in _blocks(parts, both * groups):
        block = torch.stack([stacked[:, :, part.start + start : part.start + end] for part in alike], 1)
        for at, part in enumerate(alike):
            if _size(part) < end:  # what rounds it up asks nothing
                block[both // 2 :, at, :, _size(part) - start :].zero_()
        block = block.view(both * len(alike), -1, size)
        seen = torch.stack([keys[:, part.start : part.start + end] for part in alike], 1).view(both * len(alike), end, size)
        scores, slopes = torch.bmm(block, seen.transpose(1, 2)).chunk(2)
        slopes_and_weights = scores.new_empty(len(block), *scores.shape[1:])
        by_scores, weights = slopes_and_weights.chunk(2)
        torch.softmax(_causal(scores, start), -1, out=weights)
        _softmax_backward(slopes, weights, -1, slopes_and_weights.dtype, grad_input=by_scores)
        by_block = torch.bmm(by_scores, seen.chunk(2)[0]).mul_(scale).view(both // 2, len(alike), groups, -1, size)
        by_seen = torch.bmm(slopes_and_weights.transpose(1, 2), block).view(both, len(alike), end, size)
        for at, part in enumerate(alike):
            own = min(end, _size(part))
            rows = by_query[:, part.start + start : part.start + own].view(both // 2, groups, -1, size)
            rows.copy_(by_block[:, at, :, : own - start])
            if end >= _size(part):
                by_keys[:, part].copy_(by_seen[:, at, :own])
            else:
                by_keys[:, part.start : part.start + end].add_(by_seen[:, at])


def _blocks(parts: list[slice], each: int) -> Iterator[tuple[int, int, list[slice]]]:
    """Where blocks of queries begin and end in their documents, and documents that have such a block; a document's last comes first.

    So many documents at once as `TOGETHER` allows, when a query has `each` probabilities a key.
    """
    blocks: dict[tuple[int, int], list[slice]] = {}
    for part in parts:
        tokens = _size(_rounded(part))
        for start in range(0, tokens, BLOCK):
            blocks.setdefault((start, min(tokens, start + BLOCK)), []).append(part)
    for (start, end), alike in sorted(blocks.items(), key=lambda block: block[0], reverse=True):
        count = max(1, TOGETHER // (each * (end - start) * end))
        for first in range(0, len(alike), count):
            yield start, end, alike[first : first + count]


def _causal(scores: Tensor, start: int) -> Tensor:
    """Scores (their heads, heads that share one x queries, keys up to the last query), blind from here on to the keys after each query.

    The first query stands at `start`.
    """
    pairs, _, seen = scores.shape
    scores.view(pairs, -1, seen - start, seen)[..., start:].add_(_hidden(scores.dtype, seen - start))
    return scores


@cache
def _hidden(dtype: torch.dtype, size: int) -> Tensor:
    """The mask (0 and -inf) that makes each query of a block blind to the keys after it."""
    return torch.full((size, size), float("-inf")).triu_(1).to(dtype)


def _by_torch(
    query: Tensor, key: Tensor, value: Tensor, output: Tensor, sums: Tensor, grad_output: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    groups = query.shape[0] // key.shape[0]
    by_query, by_key, by_value = _flash_backward(
        grad_output[None],
        query[None],
        _repeated(key[None], groups),
        _repeated(value[None], groups),
        output[None],
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
