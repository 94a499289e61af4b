"""Special tokens of the recipe's beside those of the tokenizer, and the rows of the model that stand for new ones.

A token that the tokenizer has keeps its id. A new one gets the next, and the model a row in its embeddings and its head for each id beyond
those that it has, which begins as the mean of all rows: a row of random numbers is likelier than every token that was learned
(https://www.cs.columbia.edu/~johnhew/vocab-expansion.html). An adapter on matrices leaves such rows as they are, so they learn whole, as
https://huggingface.co/docs/peft/developer_guides/troubleshooting#extending-the-vocabulary says.
"""

from collections.abc import Iterable
from typing import Any

from llmlab.recipe import Recipe
from llmlab.recipe.adapters import UNTAUGHT, USUAL_ENDS, whole
from llmlab.trainer.failures import SetupFailed
from llmlab.trainer.model.adapter import embeddings_and_head, ends_learn


def add_to(tokenizer: Any, recipe: Recipe) -> None:
    """Give the tokenizer the recipe's tokens.

    Raises:
        SetupFailed: some are new, and the recipe trains an adapter alone.
    """
    from transformers import AddedToken

    known = tokenizer.get_vocab()
    new = [token for token in recipe.additional_special_tokens if token not in known]
    if new and recipe.method != "full" and not recipe.lora.modules_to_save:
        raise _untaught(recipe, new, USUAL_ENDS)
    tokens = [AddedToken(token, normalized=False, special=True) for token in recipe.additional_special_tokens]
    tokenizer.add_tokens(tokens, special_tokens=True)


def widen(model: Any, tokenizer: Any) -> None:
    """Give the model a row for each token of the tokenizer; one that has as many or more stays as it is."""
    import torch

    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) <= rows:
        return
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for end in (model.get_input_embeddings(), model.get_output_embeddings()):
            end.weight[rows:] = end.weight[:rows].float().mean(0).to(end.weight.dtype)


def check_learned(model: Any, recipe: Recipe) -> None:
    """Check that rows which were added to a model will learn.

    Raises:
        SetupFailed: its embeddings or its head do not.
    """
    if not ends_learn(model, recipe):
        raise _untaught(recipe, recipe.additional_special_tokens, embeddings_and_head(model))


def _untaught(recipe: Recipe, tokens: Iterable[str], ends: Iterable[str]) -> SetupFailed:
    return SetupFailed(UNTAUGHT.format(model=recipe.model, tokens=", ".join(tokens)), f"llmlab launch --set {whole(ends)}")
