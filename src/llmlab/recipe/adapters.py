"""Refuse fields of the adapter that do not go together, before an instance is paid for."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmlab.recipe.misfits import Misfit, refuse

if TYPE_CHECKING:
    from llmlab.recipe import Recipe


USUAL_ENDS = ("embed_tokens", "lm_head")
"""How most models call their embeddings and their head."""
UNTAUGHT = "the model {model} has never met {tokens}, and an adapter alone cannot teach them"
"""Why tokens that a recipe adds, which are new to the model, are refused."""


def whole(modules: Iterable[str]) -> str:
    """The `--set` by which modules learn whole beside the adapter."""
    return f"lora.modules_to_save=[{','.join(modules)}]"


def check_adapter(recipe: "Recipe", source: str) -> None:
    """Check that PEFT can put the adapter where the recipe says.

    An adapter on a parameter is added to the parameter itself, so that none of its inputs can be dropped: peft 0.21, tuners/lora/layer.py,
    `ParamWrapper`.

    Raises:
        UsageError: it cannot; the hint does without.
    """
    lora = recipe.lora
    if recipe.method == "full":
        return
    targets = () if lora.targets == "all-linear" else lora.targets
    both = sorted(set(targets) & set(lora.modules_to_save))
    alone = [name for name in lora.modules_to_save if name not in both]
    twice = "cannot be trained whole, by lora.modules_to_save, and with an adapter, by lora.targets"
    refuse(" and ".join(both), [Misfit(bool(both), twice, whole(alone))], source)
    if lora.target_parameters:
        refuse("lora.target_parameters learn as they are,", _parameters_misfits(recipe), source)


def _parameters_misfits(recipe: "Recipe") -> tuple[Misfit, ...]:
    lora = recipe.lora
    return (
        Misfit(lora.dropout > 0, f"and not with lora.dropout {lora.dropout:g}", "lora.dropout=0"),
        Misfit(lora.dora, "and not with lora.dora", "lora.dora=false"),
        Misfit(recipe.method == "qlora", "and not with method qlora, which leaves parameters in 16 bits", "method=lora"),
    )
