"""What TRL's trainers cannot do under llmlab's contract, said before a machine is paid for.

The sentences are about the recipe's fields, and TRL 1.16 is why: its trainers' own refusals are meant for who writes a script.
"""

from typing import TYPE_CHECKING

from llmlab.errors import UsageError

if TYPE_CHECKING:
    from llmlab.recipe import Recipe

TRL_ALONE: frozenset[str] = frozenset({"kto"})
"""Objectives that llmlab's own loop does not do, so that TRL's trainer does them whatever `engine` says."""


def fits_trl(recipe: "Recipe", source: str) -> None:
    """That TRL's trainer can do what the recipe asks for.

    Raises:
        UsageError: it cannot; the hint does without.
    """
    asks = f"objective {recipe.objective}" if recipe.objective in TRL_ALONE else "engine trl"
    for wrong, why, mends in _misfits(recipe):
        if wrong:
            raise UsageError(f"{asks} {why} ({source})", f"llmlab launch --set {mends}", without=[mends.partition("=")[0]])


def _misfits(recipe: "Recipe") -> tuple[tuple[bool, str, str], ...]:
    """Whether, why, and what mends it."""
    return (
        (
            recipe.batch_size < recipe.least_batch,  # KTOTrainer: each question is tried with another one's answer
            f"needs a batch_size of {recipe.least_batch} or more: what is usual is measured on the other answers of a batch",
            f"batch_size={recipe.least_batch}",
        ),
        (
            recipe.packing is True,  # SFTTrainer's packing wants flash attention, the others have none
            "pads its batches, so packing true cannot be had",
            "packing=auto",
        ),
        (recipe.parallel != "auto", f"trains on one GPU, so there is nothing for parallel {recipe.parallel} to divide", "parallel=auto"),
        (
            recipe.on_bad_loss == "skip",
            "moves the weights by every step, so on_bad_loss skip cannot leave one out",
            "on_bad_loss=stop",
        ),
        (
            recipe.objective == "dpo" and recipe.dpo.label_smoothing > 0,  # its "sigmoid" loss has none
            "has no dpo.label_smoothing",
            "dpo.label_smoothing=0",
        ),
        (
            recipe.method != "full" and "lm_head" in recipe.lora.targets,
            "computes the loss from lm_head's own weights, so lora.targets cannot name lm_head",
            "lora.targets=all-linear",
        ),
    )
