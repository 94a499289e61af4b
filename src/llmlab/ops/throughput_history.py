"""Training speeds that earlier runs of the lab measured: tokens a second by instance type, for recipes like this one.

Like means: the same model, the same method and objective, and a longest example of about the same length. A few of the newest runs that
are over are read, each by three small documents; nothing is kept beside them.
"""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.contract import Attempt, Heartbeat, RunKeys, Spec
from llmlab.errors import LabError
from llmlab.recipe import Recipe

NEWEST = 12
"""Runs that are read at most."""
STEPS = 5
"""With fewer steps a run has measured its own start more than its speed."""


@dataclass(frozen=True)
class Measurement:
    """Tokens a second of a whole instance, as the run's last heartbeat told."""

    run: str
    instance_type: str
    tokens_per_second: float


def read(aws: Aws, recipe: Recipe) -> dict[str, Measurement]:
    """The newest measurement of each instance type. {} where there is no lab, or its results may not be read."""
    bucket = aws.names.outputs_bucket
    try:
        newest = sorted(documents.ended(aws, bucket), reverse=True)[:NEWEST]
        with ThreadPoolExecutor(NEWEST) as pool:
            measurements = list(pool.map(lambda run: _of_run_or_none(aws, bucket, run, recipe), newest))
    except LabError:
        return {}
    return {measurement.instance_type: measurement for measurement in reversed(measurements) if measurement}


def _of_run_or_none(aws: Aws, bucket: str, run: str, recipe: Recipe) -> Measurement | None:
    """As `_of_run`, but None for a run whose documents cannot be read."""
    try:
        return _of_run(aws, bucket, run, recipe)
    except documents.Unreadable:
        return None


def _of_run(aws: Aws, bucket: str, run: str, recipe: Recipe) -> Measurement | None:
    keys = RunKeys(run)
    spec = documents.read(aws, Spec, bucket, keys.spec)
    if spec is None or likeness(spec.recipe) != likeness(recipe.model_dump(mode="json")):
        return None
    heard = documents.read(aws, Heartbeat, bucket, keys.status)
    if heard is None or heard.progress is None or heard.progress.step < STEPS or not heard.progress.tokens_per_second:
        return None
    attempt = documents.read(aws, Attempt, bucket, keys.attempt(heard.attempt))
    return Measurement(run, attempt.instance_type, heard.progress.tokens_per_second) if attempt and attempt.instance_type else None


def likeness(recipe: Mapping[str, Any]) -> tuple[Any, ...]:
    """The fields that two recipes must share to train at the same speed; lengths are alike when they round to the same power of two."""
    length = recipe.get("max_length")
    power = round(math.log2(length)) if isinstance(length, int) and length > 0 else None
    return (*(recipe.get(name) for name in ("model", "method", "objective")), recipe.get("device", "auto"), power)
