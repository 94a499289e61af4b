"""Attention inside each document of a packed row, and never across: an implementation of our own that transformers calls by name.

A row is documents behind each other. On a GPU with `varlen_attn` one call does them all, on a CPU `attention_cpu` does; elsewhere each
document is one causal call of torch's own attention. No mask of the whole row by the whole row is ever made. Without documents (padded
batches, generation) it is plain causal attention. What a model asks for beyond that (soft caps, sinks) raises, and packing is left off.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llmlab.trainer.model.attention_cpu import DocumentsAttention

NAME = "llmlab_documents"
TRIED = 32
"""Tokens of the row that a device is tried with."""
AMPERE = 8
"""The first compute capability that `varlen_attn` (FlashAttention 2) runs on."""
KNOWN = {"position_ids", "cache_position", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "is_causal"}
"""Keyword arguments of models that change nothing here."""


@dataclass(frozen=True)
class Documents:
    """Where the documents of a row begin and end. `cu_seqlens` has one more entry than there are documents, and starts with 0."""

    cu_seqlens: tuple[int, ...]
    on_device: Tensor
    """`cu_seqlens` as int32 on the row's device."""
    max_seqlen: int


def register() -> str:
    """Make the implementation known to transformers; returns its name."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, lambda *_args, **_options: None)
    return NAME


def attend(
    _module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    documents: Documents | None = None,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attention within each document of a row, in the signature of transformers' `AttentionInterface`.

    Query (1, heads, tokens, head size), key and value (1, their heads, tokens, head size) to (1, tokens, heads, head size).

    Raises:
        NotImplementedError: the model asks for something that is not done here.
    """
    unsupported = sorted(name for name, setting in rest.items() if setting is not None and name not in KNOWN)
    if unsupported or dropout:
        raise NotImplementedError(f"attention with {', '.join(unsupported) or 'dropout'}")
    kind = query.device.type
    if torch.is_autocast_enabled(kind):  # 32-bit weights leave queries and keys in 32 bits, as the rotation's result
        dtype = torch.get_autocast_dtype(kind)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if documents is None:
        return _whole(query, key, value, attention_mask, scaling, sliding_window).transpose(1, 2), None
    if query.is_cuda and torch.cuda.get_device_capability(query.device)[0] >= AMPERE and query.dtype != torch.float32:
        return _in_one_call(query, key, value, documents, scaling, sliding_window), None
    if not query.is_cuda and (sliding_window is None or documents.max_seqlen <= sliding_window):
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        output: Tensor = DocumentsAttention.apply(query, key, value, documents.cu_seqlens, scale)  # type: ignore[no-untyped-call]
        return output, None
    parts = [
        _whole(query[:, :, start:end], key[:, :, start:end], value[:, :, start:end], None, scaling, sliding_window)
        for start, end in pairwise(documents.cu_seqlens)
    ]
    return (torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]).transpose(1, 2), None


def _whole(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, window: int | None) -> Tensor:
    """Attention of one document; or of the newest token after a cache, which sees everything before it."""
    tokens, seen = query.shape[2], key.shape[2]
    if mask is None and window is not None and seen > window:
        distance = torch.arange(seen - tokens, seen, device=query.device)[:, None] - torch.arange(seen, device=query.device)[None]
        mask = (distance >= 0) & (distance < window)
    shared = query.shape[1] != key.shape[1]
    if shared and not has_grouped_kernel(str(query.device)):
        times = query.shape[1] // key.shape[1]
        key, value, shared = key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1), False
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None and tokens > 1, scale=scaling, enable_gqa=shared
    )


def try_on(device: str, dtype: torch.dtype, config: Any) -> None:
    """Try attention forward and backward on the training's device, in a model's sizes: weights that are to be sharded are tried elsewhere.

    Raises:
        RuntimeError: the device refuses them.
    """
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    counts = (heads, *[getattr(config, "num_key_value_heads", None) or heads] * 2)
    query, key, value = (torch.zeros(1, count, TRIED, size, device=device, dtype=dtype, requires_grad=True) for count in counts)
    half = TRIED // 2
    documents = Documents((0, half, TRIED), torch.tensor([0, half, TRIED], dtype=torch.int32, device=device), half)
    with torch.enable_grad():
        result, _ = attend(torch.nn.Module(), query, key, value, None, documents=documents)
        torch.autograd.grad(result.sum(), (query, key, value))


def has_grouped_kernel(device: str) -> bool:
    """Whether heads of queries may share keys in a kernel that keeps no square of tokens by tokens.

    FlashAttention alone can on a GPU, and does not run below SM 8.0. There shared heads fall to the plain kernel, of quadratic memory:
    https://github.com/huggingface/transformers/pull/45776.
    """
    return not device.startswith("cuda") or torch.cuda.get_device_capability(device)[0] >= AMPERE


def expand_shared_heads(device: str) -> None:
    """Have transformers' own attention, which models that are not packed keep, repeat keys and values where no kernel shares them.

    It asks this function of its own, which knows no compute capabilities as of 5.23.
    """
    from transformers.integrations import sdpa_attention

    if not has_grouped_kernel(device):
        sdpa_attention.use_gqa_in_sdpa = lambda *_arguments: False


def _in_one_call(query: Tensor, key: Tensor, value: Tensor, documents: Documents, scaling: float | None, window: int | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    cu_seqlens, max_seqlen = documents.on_device, documents.max_seqlen
    query, key, value = (tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value))  # an index's way back would be a copy
    reach = (-1 if window is None else window - 1, 0)
    output = varlen_attn(
        query,
        key,
        value,
        cu_seqlens,
        cu_seqlens,
        max_seqlen,
        max_seqlen,
        scale=scaling,
        window_size=reach,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, Tensor)
    return output[None]
