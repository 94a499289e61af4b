"""Refuse what TRL's trainers cannot do under llmlab's contract, before an instance is paid for.

The sentences are about the recipe's fields, and TRL 1.16 is why: its trainers' own refusals are meant for who writes a script.
"""

from typing import TYPE_CHECKING

from llmlab.recipe.misfits import Misfit, refuse

if TYPE_CHECKING:
    from llmlab.recipe import Recipe

TRL_ALONE: frozenset[str] = frozenset({"kto", "grpo"})
"""Objectives that llmlab's own loop does not do, so that TRL's trainer does them whatever `engine` says."""


def fits_trl(recipe: "Recipe", source: str) -> None:
    """Check that TRL's trainer can do what the recipe asks for.

    Raises:
        UsageError: it cannot; the hint does without.
    """
    asks = f"objective {recipe.objective}" if recipe.objective in TRL_ALONE else "engine trl"
    refuse(asks, _trl_misfits(recipe), source)


def _trl_misfits(recipe: "Recipe") -> tuple[Misfit, ...]:
    return (
        Misfit(
            recipe.batch_size < recipe.least_batch,  # KTOTrainer: each question is tried with another one's answer
            f"needs a batch_size of {recipe.least_batch} or more: what is usual is measured on the other answers of a batch",
            f"batch_size={recipe.least_batch}",
        ),
        Misfit(
            recipe.packing is True,  # SFTTrainer's packing wants flash attention, the others have none
            "pads its batches, so packing true cannot be had",
            "packing=auto",
        ),
        Misfit(
            recipe.parallel != "auto", f"trains on one GPU, so there is nothing for parallel {recipe.parallel} to divide", "parallel=auto"
        ),
        Misfit(
            recipe.on_bad_loss == "skip",
            "moves the weights by every step, so on_bad_loss skip cannot leave one out",
            "on_bad_loss=stop",
        ),
        Misfit(
            recipe.objective == "dpo" and recipe.dpo.label_smoothing > 0,  # its "sigmoid" loss has none
            "has no dpo.label_smoothing",
            "dpo.label_smoothing=0",
        ),
        Misfit(
            recipe.method != "full" and "lm_head" in recipe.lora.targets,
            "computes the loss from lm_head's own weights, so lora.targets cannot name lm_head",
            "lora.targets=all-linear",
        ),
        Misfit(
            recipe.method != "full" and bool(recipe.lora.modules_to_save),
            "is not tried with lora.modules_to_save",
            "lora.modules_to_save=[]",
        ),
    )


def fits_grpo(recipe: "Recipe", source: str) -> None:
    """Check that completions can be made and compared as the recipe says.

    Raises:
        UsageError: they cannot; the hint says what can.
    """
    refuse("objective grpo", _grpo_misfits(recipe), source)


def _grpo_misfits(recipe: "Recipe") -> tuple[Misfit, ...]:
    grpo = recipe.grpo
    step, group = recipe.batch_size * recipe.accumulate, grpo.num_generations
    return (
        Misfit(not grpo.rewards, "has no rewards: nothing says which completions are better", "grpo.rewards=[exact_match]"),
        Misfit(
            step % group != 0,  # https://huggingface.co/docs/trl/grpo_trainer#trl.GRPOConfig: whole groups alone
            f"makes {step:,} completions a step (batch_size x accumulate), which groups of grpo.num_generations {group} do not divide",
            f"accumulate={_whole_groups(recipe.batch_size, recipe.accumulate, group)}",
        ),
        Misfit(
            grpo.max_completion_length >= recipe.max_length,
            f"has no room for a prompt in max_length {recipe.max_length} beside grpo.max_completion_length {grpo.max_completion_length}",
            f"max_length={2 * grpo.max_completion_length}",
        ),
        Misfit(
            grpo.beta > 0 and recipe.method == "full",  # TRL loads the copy it compares with from the hub, by name
            f"compares with the model before training by leaving the adapter out, so method full cannot have grpo.beta {grpo.beta:g}",
            "grpo.beta=0",
        ),
        Misfit(recipe.too_long == "split", "makes its own completions, so that too_long split has nothing to split", "too_long=drop"),
    )


def _whole_groups(batch_size: int, accumulate: int, group: int) -> int:
    """The least accumulation of no fewer batches whose completions are whole groups."""
    return next(count for count in range(accumulate, accumulate + group + 1) if batch_size * count % group == 0)
