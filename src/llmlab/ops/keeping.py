"""The cost of what a run leaves: checkpoints and results in S3 by the month, log lines once, when CloudWatch takes them.

Arithmetic over the recipe and the model's shape, at list prices of us-east-1 (`aws.rates`), so every number is approximate.
"""

from dataclasses import dataclass

from llmlab import footprint
from llmlab.aws import rates
from llmlab.contract import LogStream
from llmlab.ops.model_size import ModelSize
from llmlab.recipe import Recipe

GB = 1e9
WEIGHT = 4
"""Bytes of a trained weight in a checkpoint, in 32 bits, without the optimizer's moments of it."""
HALF = 2
"""Bytes of a weight in the result of a full training; an adapter's stay in 32 bits."""
STREAM_GB = 0.05
"""GB that CloudWatch takes of one log stream of one attempt, at most."""
STREAMS = len(LogStream) - 1
"""Log streams of an instance: all but the watchdog's."""


@dataclass(frozen=True)
class Keeping:
    """In GB and US dollars. `stored_gb` is what is there after the run, `monthly` what that costs; `logs` is at most, an attempt, once."""

    checkpoint_gb: float
    checkpoints: int
    stored_gb: float
    monthly: float
    logs_gb: float
    logs: float


def of(recipe: Recipe, size: ModelSize | None) -> Keeping | None:
    """What a run of this recipe leaves in S3 and CloudWatch, and its cost; None for a model of unknown size."""
    if size is None:
        return None
    trained, best = footprint.trained(recipe, size), int(recipe.evaluation.share > 0)
    checkpoint = trained * (WEIGHT + footprint.MOMENTS[recipe.optimizer] + WEIGHT * best) / GB
    count = recipe.keep_checkpoints + best
    stored = count * checkpoint + trained * (HALF if recipe.method == "full" else WEIGHT) / GB
    logs = STREAMS * STREAM_GB
    return Keeping(checkpoint, count, stored, stored * rates.STORAGE["StandardStorage"].dollars, logs, logs * rates.LOG_INGESTED.dollars)
