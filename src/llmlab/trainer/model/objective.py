"""Model and loss as one module: a row goes in, its loss comes out.

They share a module because FSDP gathers sharded parameters only inside the forward of the module that it wraps. What is special about a
model (its attention, its head) is not guessed but tried, on a few tokens, before training: packing is on only where a packed row gives what
each document gives alone, and the chunked head only where it gives what the model's own gives.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from llmlab.recipe import Recipe
from llmlab.trainer import failures
from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.device import Device
from llmlab.trainer.failures import SetupFailed
from llmlab.trainer.model import varlen_attention
from llmlab.trainer.model.adapter import head_of
from llmlab.trainer.model.collate import MicroBatch, packed_row, padded_row
from llmlab.trainer.model.fusing import fuse
from llmlab.trainer.model.load import another, causal, decoder
from llmlab.trainer.model.loss import of_logits, preference_losses, token_losses
from llmlab.trainer.model.products import lay_out

TRIED_TOKENS = 48
TRIED_DOCUMENTS = 3
DONE = {"full_attention", "sliding_attention"}
"""transformers' names for the kinds of layers whose attention within documents is known here."""
CLOSE = {"float32": 1e-4, "bfloat16": 4e-2, "float16": 1e-2}
"""Relative differences that rounding alone makes; a leak between documents changes hidden states by tenths."""


@dataclass(frozen=True)
class Result:
    """Result of a row: the loss summed over its tokens (sft) or pairs (dpo), and how many of them were right (likeliest; preferred)."""

    loss: Tensor
    right: Tensor
    margin: Tensor | None = None

    @property
    def sums(self) -> Tensor:
        """Loss, right and margin (0 where there is none) as one float64 tensor, still on the device."""
        margin = self.margin if self.margin is not None else torch.zeros_like(self.loss)
        return torch.stack([self.loss.detach().double(), self.right.double(), margin.double()])


class Objective(nn.Module):
    """The training objective. `packed` and `chunked` are whether packing and the chunked head are exact for this model."""

    def __init__(self, model: Any, recipe: Recipe, device: Device, *, packed: bool, chunked: bool) -> None:
        super().__init__()
        self.model = model
        self.device = device
        self.dpo = recipe.dpo if recipe.objective == "dpo" else None
        self.packed, self.chunked = packed, chunked
        self.checkpointing = False
        compares = recipe.objective in {"dpo", "kto"}
        self.reference: Any = _frozen_copy(model) if compares and recipe.method == "full" else None

    @property
    def causal(self) -> Any:
        return causal(self.model)

    def forward(self, row: MicroBatch) -> Result:
        with self.device.autocast():
            return self._result(row)

    def _result(self, row: MicroBatch) -> Result:
        if self.dpo is None:
            losses, hits = self.token_losses(self.causal, row)
            return Result(losses.sum(), hits.sum())
        with torch.no_grad():  # first, while nothing of what learns is kept for its gradient: RWKV changes weights in place for evaluation
            before, _ = self._reference_losses(row)
        losses, _ = self.token_losses(self.causal, row)
        gain = (before - losses).new_zeros(row.sequences).index_add(0, row.sequence_ids, before - losses)
        chosen, rejected = gain[0::2], gain[1::2]
        each = preference_losses(chosen, rejected, self.dpo.beta, self.dpo.label_smoothing)
        live = row.items  # an idle row carries a pair, and weighs nothing
        return Result(
            each[:live].sum() + 0 * losses.sum(),
            (chosen > rejected)[:live].sum(),
            (self.dpo.beta * (chosen - rejected))[:live].sum().detach(),
        )

    def token_losses(self, model: Any, row: MicroBatch) -> tuple[Tensor, Tensor]:
        """Loss and hit of each of the row's targets."""
        inputs: dict[str, Any] = {"input_ids": row.ids, "position_ids": row.position_ids, "use_cache": False}
        if row.documents is not None:
            inputs["documents"] = row.documents
        else:
            inputs["attention_mask"] = row.mask
        if not self.chunked:
            logits = model(**inputs).logits
            return of_logits(logits.reshape(-1, logits.shape[-1])[row.loss_positions], row.targets)
        states = decoder(model)(**inputs).last_hidden_state
        return token_losses(states.reshape(-1, states.shape[-1])[row.loss_positions], head_of(model), row.targets)

    def _reference_losses(self, row: MicroBatch) -> tuple[Tensor, Tensor]:
        """Losses of the reference model, as before training: the model without its adapter, or the copy that was kept."""
        if self.reference is not None:
            return self.token_losses(self.reference, row)
        without: Callable[[], AbstractContextManager[None]] = getattr(self.model, "disable_adapter", nullcontext)
        was = self.training
        self.model.eval()
        try:
            with without():
                return self.token_losses(self.causal, row)
        finally:
            self.model.train(was)

    def refer_to(self, model: Any) -> None:
        """Give the reference another model's weights than those that training resumes from."""
        self.reference.load_state_dict(model.state_dict())

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The trainable parameters, by the model's own names."""
        return ((name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad)


def choose(
    model: Any, recipe: Recipe, device: Device, tokens: Tokens, say: Callable[[str], None], *, before: bool | None = None
) -> Objective:
    """The objective, packed and chunked as far as both are exact for this model.

    `before` is whether the checkpoint that the training goes on from was packed, None without one. It is followed, unless packing is not
    exact here: then the examples of each step stay the same, and dropout falls elsewhere.

    Raises:
        SetupFailed: the model computes nothing, or looks ahead.
    """
    was = model.training
    model.eval()
    varlen_attention.expand_shared_heads(device.name)
    with torch.no_grad(), device.autocast(str(model.device)):
        _check_causal(causal(model), recipe, device, tokens)
        say(f"fused: {fuse(causal(model), model, device.kind)}")
        packed, why_packed = (False, "as in the checkpoint") if before is False else _packs(causal(model), recipe, device, tokens)
        chunked, why_chunked = _chunks(causal(model), device, tokens)
        if chunked and lay_out(causal(model).get_output_embeddings(), getattr(torch, device.dtype)):
            why_chunked += "; its weights are laid out for the CPU"
    model.train(was)
    say(f"packing: {'on' if packed else 'off'}, {why_packed}")
    if before and not packed:
        say("warning: the checkpoint was packed: each step's examples stay the same, but from here on dropout falls elsewhere")
    say(f"loss head: {'in chunks, where there is loss' if chunked else 'whole'}, {why_chunked}")
    return Objective(model, recipe, device, packed=packed, chunked=chunked)


def plain(model: Any, recipe: Recipe, device: Device, tokens: Tokens, say: Callable[[str], None]) -> Objective:
    """The objective of a model that TRL's loop trains: nothing fused, batches padded, its head in chunks where that is exact.

    Raises:
        SetupFailed: the model computes nothing, or looks ahead.
    """
    was = model.training
    model.eval()
    with torch.no_grad(), device.autocast(str(model.device)):
        _check_causal(causal(model), recipe, device, tokens)
        chunked, why = _chunks(causal(model), device, tokens)
    model.train(was)
    say(f"loss head of evaluations: {'in chunks, where there is loss' if chunked else 'whole'}, {why}")
    return Objective(model, recipe, device, packed=False, chunked=chunked)


def _check_causal(base: Any, recipe: Recipe, device: Device, tokens: Tokens) -> None:
    """Check that the model computes what training gives it, and at a token sees none of those behind it, which it learns to predict.

    Encoders such as BERT's have a head for this use, and look both ways unless their configuration says `is_decoder`.

    Raises:
        SetupFailed: one of the two does not hold.
    """
    row = padded_row(_some(tokens)[:1], 1).to(str(base.device))
    last = row.ids.clone()
    last[0, row.tokens - 1] = (last[0, row.tokens - 1] + 1) % base.get_input_embeddings().weight.shape[0]
    try:
        states, altered = (_states(base, replace(row, ids=ids))[:-1] for ids in (row.ids, last))
    except Exception as error:
        if failures.is_out_of_memory(error) or failures.NO_DETERMINISTIC in str(error):
            raise
        words = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
        raise SetupFailed(f"the model {recipe.model} does not compute what training gives it: {words}", another(recipe)) from error
    if len(states) and _difference(altered, states) > CLOSE[device.dtype]:
        raise SetupFailed(
            f"the model {recipe.model} looks ahead: what it computes at a token depends on those behind it, so it cannot learn to go on",
            another(recipe),
        )


def _packs(base: Any, recipe: Recipe, device: Device, tokens: Tokens) -> tuple[bool, str]:
    """Whether a row of documents gives the hidden states of each alone."""
    if recipe.packing is False:
        return False, "asked for"
    others = sorted(set(getattr(base.config.get_text_config(), "layer_types", None) or ()) - DONE)
    if others:  # a chunk may be longer than what is tried
        return False, f"the model's attention is not ours: {', '.join(others)}"
    own = base.config._attn_implementation  # noqa: SLF001 - transformers' only word for it
    documents = _some(tokens)
    place = str(base.device)  # divided weights are tried before they are divided, in the CPU's memory
    alone = [_states(base, padded_row([document], 1).to(place)) for document in documents]
    try:
        base.set_attn_implementation(varlen_attention.register())
        row = packed_row(documents, len(documents)).to(place)
        apart = _difference(_states(base, row, documents=row.documents), torch.cat(alone))
        _try_backward(base.train(), row)  # dropout within the attention is only asked for here
        varlen_attention.try_on(device.name, getattr(torch, device.dtype), base.config.get_text_config())
    except (NotImplementedError, ValueError, TypeError, AttributeError, RuntimeError) as error:  # a model may have no heads at all
        if failures.is_out_of_memory(error):
            raise
        base.set_attn_implementation(own)
        return False, f"the model's attention is not ours: {' '.join(str(error).split())[:120]}"
    finally:
        base.eval()
    if apart > CLOSE[device.dtype]:
        base.set_attn_implementation(own)
        return False, f"a packed row differs by {apart:.0e} from its documents alone, which is more than rounding"
    return True, f"a packed row gives what its documents give alone, within {apart:.0e}"


def _try_backward(base: Any, row: MicroBatch) -> None:
    """Run backward through a packed row: a kernel may do forward and refuse backward, as with head sizes over 192 on some GPUs.

    https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/native/transformers/cuda/sdp_utils.cpp
    """
    embedded: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        embedded.append(output.requires_grad_())
        return output

    hook = base.get_input_embeddings().register_forward_hook(keep)
    try:
        with torch.enable_grad():
            torch.autograd.grad(_states(base, row, documents=row.documents).float().sum(), embedded[0])
    finally:
        hook.remove()


def _chunks(base: Any, device: Device, tokens: Tokens) -> tuple[bool, str]:
    """Whether hidden states and head alone give the losses that the whole model gives."""
    head = head_of(base)
    if type(head) is not nn.Linear:
        return False, "the model's head is more than one matrix"
    row = padded_row(_some(tokens)[:1], 1).to(str(base.device))
    inputs = {"input_ids": row.ids, "position_ids": row.position_ids, "use_cache": False}
    whole, _ = of_logits(base(**inputs).logits[0, :-1], row.ids[0, 1:])
    parts, _ = token_losses(decoder(base)(**inputs).last_hidden_state[0, :-1], head, row.ids[0, 1:])
    apart = _difference(parts, whole)
    same = apart <= CLOSE[device.dtype]
    return same, f"{'the loss' if same else 'not the loss'} of the model's own head, within {apart:.0e}"


def _states(base: Any, row: MicroBatch, **documents: Any) -> Tensor:
    states: Tensor = decoder(base)(input_ids=row.ids, position_ids=row.position_ids, use_cache=False, **documents).last_hidden_state[0]
    return states[: row.tokens]


def _some(tokens: Tokens) -> list[Any]:
    """The beginnings of a few sequences of the data."""
    count = min(TRIED_DOCUMENTS, len(tokens) * tokens.width)
    some = [tuple(part[:TRIED_TOKENS] for part in tokens.sequence(number)) for number in range(count)]
    return some if len(some) > 1 else [*some, *some]


def _difference(tensor: Tensor, reference: Tensor) -> float:
    """Norm of the difference over the norm."""
    tensor, reference = tensor.float(), reference.float()
    return float((tensor - reference).norm() / reference.norm().clamp_min(1e-20))


def _frozen_copy(model: Any) -> Any:
    copy = deepcopy(model).eval()
    for parameter in copy.parameters():
        parameter.requires_grad_(requires_grad=False)
    return copy
