"""A smaller batch with the same step after an attempt ran out of memory, computed alike by agent, watchdog and command line."""

from collections.abc import Mapping
from typing import Any

HALVE = "halve"
"""Value of the recipe's `on_out_of_memory`: resume once with half the batch."""
HALF_BATCH = 2
"""The value of `Attempt.shrink` after the batch was halved."""
LEAST_BATCH = {"kto": 2}
"""The smallest batch of objectives that need more than one example: kto estimates its KL reference from the others of the batch."""


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
    """The batch that an attempt trains with, as `batch 4 x accumulate 2`."""
    small = shrunk(recipe, shrink)
    return f"batch {small['batch_size']} x accumulate {small['accumulate']}"
