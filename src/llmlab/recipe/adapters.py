"""What of an adapter's fields does not go together, said before a machine is paid for."""

from shlex import quote
from typing import TYPE_CHECKING

from llmlab.errors import UsageError

if TYPE_CHECKING:
    from llmlab.recipe import Recipe


def check_adapter(recipe: "Recipe", source: str) -> None:
    """That PEFT can put the adapter where the recipe says.

    An adapter on a parameter is added to the parameter itself, so that none of its inputs can be dropped: peft 0.21, tuners/lora/layer.py,
    `ParamWrapper`.

    Raises:
        UsageError: it cannot; the hint does without.
    """
    lora = recipe.lora
    if recipe.method == "full":
        return
    targets = () if lora.targets == "all-linear" else lora.targets
    if both := sorted(set(targets) & set(lora.modules_to_save)):
        mends = f"lora.modules_to_save=[{','.join(name for name in lora.modules_to_save if name not in both)}]"
        message = f"{' and '.join(both)} cannot be trained whole, by lora.modules_to_save, and with an adapter, by lora.targets ({source})"
        raise UsageError(message, f"llmlab launch --set {quote(mends)}", without=["lora.modules_to_save"])
    if not lora.target_parameters:
        return
    misfits = (
        (lora.dropout > 0, f"and not with lora.dropout {lora.dropout:g}", "lora.dropout=0"),
        (lora.dora, "and not with lora.dora", "lora.dora=false"),
        (recipe.method == "qlora", "and not with method qlora, which leaves parameters in 16 bits", "method=lora"),
    )
    for wrong, words, mends in misfits:
        if wrong:
            message = f"lora.target_parameters learn as they are, {words} ({source})"
            raise UsageError(message, f"llmlab launch --set {mends}", without=[mends.partition("=")[0]])
