"""Learning rate and random seed of a step, which follow from its number alone, so that neither has to be saved."""

import math

from llmlab.recipe import Recipe


def lr_factor(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate at a step (from 0) as a share of its peak: transformers' schedules, so that curves compare."""
    warm = warm_up(recipe, steps)
    if step < warm:
        return step / max(1, warm)
    gone = (step - warm) / max(1, steps - warm)
    if recipe.schedule == "constant":
        return 1.0
    return max(0.0, 1 - gone if recipe.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * gone)))


def warm_up(recipe: Recipe, steps: int) -> int:
    """The steps in which the learning rate rises, as transformers' `TrainingArguments.get_warmup_steps` counts them."""
    return recipe.warmup_steps if recipe.warmup_steps is not None else math.ceil(recipe.warmup * steps)


def seed(base: int, step: int, rank: int) -> int:
    """The seed of a step in one of the processes; `base` is the recipe's."""
    return ((base * 1_000_003 + step) * 1_009 + rank + 1) % 2**63
