"""A smaller batch for the same step, after a run that ran out of memory: the agent, the watchdog and the command line say the same."""

from collections.abc import Mapping
from typing import Any

HALVE = "halve"
"""Of the recipe's `on_out_of_memory`: go on once with half the batch."""
HALF_BATCH = 2
"""`Attempt.shrink` then."""
LEAST_BATCH = {"kto": 2}
"""Of the objectives that need more than one example in a batch: kto measures what is usual on the others of it."""


def may_shrink(recipe: Mapping[str, Any], shrink: int) -> bool:
    """Whether an attempt that ran out of memory is followed by one with half the batch. `recipe` is `Spec.recipe`, `shrink` the attempt's.

    Once only, and only where half the batch and twice the accumulation are the same step, and one that the objective can take.
    """
    batch = int(recipe.get("batch_size", 1))
    least = LEAST_BATCH.get(str(recipe.get("objective", "")), 1)
    return recipe.get("on_out_of_memory", HALVE) == HALVE and shrink == 1 and batch >= HALF_BATCH * least and batch % HALF_BATCH == 0


def shrunk(recipe: Mapping[str, Any], shrink: int) -> dict[str, Any]:
    """The recipe with its batch divided and its accumulation multiplied: the same examples a step, in less memory."""
    return {**recipe, "batch_size": int(recipe["batch_size"]) // shrink, "accumulate": int(recipe.get("accumulate", 1)) * shrink}


def batch_words(recipe: Mapping[str, Any], shrink: int) -> str:
    """`batch 4 x accumulate 2`, what an attempt trains with."""
    small = shrunk(recipe, shrink)
    return f"batch {small['batch_size']} x accumulate {small['accumulate']}"
