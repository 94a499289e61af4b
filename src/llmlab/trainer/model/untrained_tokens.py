"""Tokens that a base model has a row for and has never met, such as Llama 3's `<|eot_id|>` in its base: all of the row is zero.

An adapter on the matrices leaves such a row as it is, so that the model never learns to say the token: its answers do not end, or end in
other tokens without a meaning (https://github.com/meta-pytorch/torchtune/issues/2429, https://github.com/unslothai/unsloth/issues/915).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmlab.recipe import Recipe
from llmlab.recipe.adapters import whole
from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.device import Say
from llmlab.trainer.failures import SetupFailed
from llmlab.trainer.model import stop_tokens
from llmlab.trainer.model.adapter import embeddings_and_head, ends_learn

NOTHING = 1e-16
"""The largest number of a row that nothing was ever learned in: weight decay leaves 1e-23 (unsloth_zoo's `fix_untrained_tokens`)."""
PIECE = 1 << 24
"""Tokens looked at in one go."""
NAMED = 4


def check_met(model: Any, tokenizer: Any, recipe: Recipe, tokens: Tokens, say: Say) -> None:
    """Check that the model can learn every token that it is to predict.

    Raises:
        SetupFailed: a token that carries loss has never been met, and its row does not learn.
    """
    rows = _without_anything(model, tokenizer)
    if not rows:
        return
    read, learned = _used(rows, tokens)
    if recipe.objective == "grpo":  # whose completions are no data
        learned = sorted({*learned, *(set(rows) & set(tokenizer.convert_tokens_to_ids(stop_tokens.taught(tokenizer))))})
    if not read and not learned:
        return
    if ends_learn(model, recipe):
        say(f"the model has never met {_words(tokenizer, sorted({*read, *learned}))}: it learns them now")
        return
    if learned:
        raise SetupFailed(
            f"the model {recipe.model} has never met {_words(tokenizer, learned)}, which it is to say, and an adapter cannot teach it",
            f"llmlab launch --set {whole(embeddings_and_head(model))}",
        )
    say(f"warning: the model has never met {_words(tokenizer, read)}: they mean nothing to it, and all the same")


def _without_anything(model: Any, tokenizer: Any) -> list[int]:
    """Control tokens of which the embeddings or the head have a row of nothing."""
    import torch

    ids = sorted(getattr(tokenizer, "added_tokens_decoder", {}))
    empty: set[int] = set()
    for end in (model.get_input_embeddings(), model.get_output_embeddings()):
        weight = getattr(end, "weight", None)
        if weight is None or weight.ndim != 2 or not weight.is_floating_point():
            continue
        added = torch.tensor([token for token in ids if token < len(weight)], device=weight.device)
        with torch.no_grad():
            empty |= set(added[weight[added].abs().amax(1) <= NOTHING].tolist()) if len(added) else set()
    return sorted(empty)


def _used(rows: Sequence[int], tokens: Tokens) -> tuple[list[int], list[int]]:
    """Which of these tokens there are in the data, and which of them carry loss."""
    wanted = np.asarray(rows, np.uint32)
    read: set[int] = set()
    learned: set[int] = set()
    for start in range(0, len(tokens.ids), PIECE):
        ids, mask = tokens.ids[start : start + PIECE], tokens.mask[start : start + PIECE]
        among = np.isin(ids, wanted)
        read |= set(np.unique(ids[among]).tolist())
        learned |= set(np.unique(ids[among & (mask == 1)]).tolist())
    return sorted(read), sorted(learned)


def _words(tokenizer: Any, ids: Sequence[int]) -> str:
    names = tokenizer.convert_ids_to_tokens(list(ids[:NAMED]))
    return ", ".join(names) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
