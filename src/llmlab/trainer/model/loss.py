"""The loss head only where there is loss, in chunks, its gradient computed in forward: no tensor of tokens by vocabulary is kept.

Per position the negative log-likelihood is `logsumexp(z) - z[target]` with `z = head(hidden)`, and its gradient by the hidden state is
`(softmax(z) - onehot(target)) @ weight`. Each chunk's logits serve both and are gone before the next, so nothing is computed twice and
the peak is one chunk by the vocabulary. Exact: the same loss and gradients as the full head, chunk by chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from llmlab.footprint import CHUNK
from llmlab.trainer.model.collate import ROUND
from llmlab.trainer.model.products import Frozen

POWERS_OF_TWO = 1.4426950408889634
"""The logarithm of e to the base 2. On a CPU torch's `exp2` takes 0.14 ns a number and its `exp` 0.60."""
CACHED = 2**19
"""Logits, in 32 bits, that are worked on at once on a CPU: 2 MiB, what two cores' second caches hold."""


class TokenLosses(torch.autograd.Function):
    """Loss head: hidden states (n, hidden), weight (vocabulary, hidden), bias or None, targets (n,) to losses (n,) and hits (n,).

    `frozen` is the weight laid out for its products, if it was.
    The gradient of a trainable head is computed in backward, because it weighs each position by the gradient of its loss.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, frozen: Frozen | None
    ) -> tuple[Tensor, Tensor]:
        losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        hits = torch.empty(len(targets), dtype=torch.bool, device=hidden.device)
        wanted = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if wanted else None
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            losses[part], hits[part], slope = _chunk(hidden[part], weight, bias, targets[part], frozen, wanted=wanted)
            if gradient is not None and slope is not None:
                gradient[part] = slope @ weight if frozen is None else frozen.backward(slope)
        ctx.trains_head = weight.requires_grad
        ctx.mark_non_differentiable(hits)
        ctx.save_for_backward(gradient, *((hidden, weight, bias, targets) if ctx.trains_head else ()))
        return losses, hits

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, _hits: Tensor) -> tuple[Tensor | None, ...]:
        gradient, *rest = ctx.saved_tensors
        by_hidden = gradient * grad_output[:, None].to(gradient.dtype) if gradient is not None else None
        if not ctx.trains_head:
            return by_hidden, None, None, None, None
        hidden, weight, bias, targets = rest
        by_weight = torch.zeros_like(weight, dtype=torch.float32)
        by_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None else None
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            slope = _chunk(hidden[part], weight, bias, targets[part], None, wanted=True)[2]
            assert slope is not None
            slope *= grad_output[part, None].to(slope.dtype)
            by_weight += slope.t() @ hidden[part]
            if by_bias is not None:
                by_bias += slope.sum(0)
        return by_hidden, by_weight.to(weight.dtype), by_bias.to(bias.dtype) if by_bias is not None else None, None, None


def token_losses(hidden: Tensor, head: torch.nn.Linear, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood (float32) of each target, and whether it was the likeliest token.

    Under autocast the head computes in autocast's type, as the module itself would.
    """
    weight, bias, kind, count = head.weight, head.bias, hidden.device.type, len(targets)
    spare = -count % ROUND
    hidden, targets = pad(hidden, (0, 0, 0, spare)), pad(targets, (0, spare))
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    frozen = getattr(head, "frozen", None)
    frozen = frozen if frozen is not None and frozen.dtype == dtype else None
    with torch.autocast(kind, enabled=False):
        losses_and_hits: tuple[Tensor, Tensor] = TokenLosses.apply(  # type: ignore[no-untyped-call]
            hidden.to(dtype), weight.to(dtype), bias.to(dtype) if bias is not None else None, targets, frozen
        )
    return losses_and_hits[0][:count], losses_and_hits[1][:count]


def of_logits(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Losses and hits, as `token_losses`, of logits (n, vocabulary) already computed, for heads that are more than a matrix."""
    losses = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    return losses, logits.argmax(-1) == targets


def preference_losses(chosen: Tensor, rejected: Tensor, beta: float, smoothing: float) -> Tensor:
    """DPO's loss of pairs (Rafailov et al. 2023, arXiv 2305.18290, equation 7; smoothing as in cDPO).

    `chosen` and `rejected` are each answer's log-probability under the model less that under the reference, both (pairs,).
    """
    lead = beta * (chosen - rejected)
    return -(1 - smoothing) * torch.nn.functional.logsigmoid(lead) - smoothing * torch.nn.functional.logsigmoid(-lead)


def _chunk(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, frozen: Frozen | None, *, wanted: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Losses, hits, and `softmax - onehot` in the head's type when it is wanted.

    The many passes over the logits run a few rows at a time: on a CPU what is worked on then stays in the cores' caches, in which 512 rows
    of 32,000 words took 22 instead of 53 ms beside the product's 55, before `exp2`. The slope is written over the logits that it came from.
    """
    logits = torch.nn.functional.linear(hidden, weight, bias) if frozen is None else frozen.forward(hidden, bias)
    losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    hits = torch.empty_like(targets, dtype=torch.bool)
    rows = len(targets) if logits.is_cuda else max(1, CACHED // logits.shape[1])
    for start in range(0, len(targets), rows):
        part = slice(start, start + rows)
        numbers, wants = logits[part].float(), targets[part, None]
        most, mine = numbers.amax(-1, keepdim=True), numbers.gather(1, wants)
        numbers.sub_(most).mul_(POWERS_OF_TWO).exp2_()
        total = numbers.sum(-1, keepdim=True)
        losses[part] = (total.log() + most - mine)[:, 0]
        hits[part] = (mine >= most)[:, 0]
        if wanted:
            numbers.mul_(total.reciprocal_()).scatter_add_(1, wants, numbers.new_full(wants.shape, -1.0))
            logits[part] = numbers
    return losses, hits, logits if wanted else None
