"""What a run leaves: checkpoints, results and log lines, priced by arithmetic."""

import pytest

from llmlab.ops import keeping
from llmlab.ops.model_size import ModelSize, from_name
from llmlab.recipe import Recipe

BILLION = from_name("org/model-1B")
assert isinstance(BILLION, ModelSize)


def test_a_full_training_of_a_billion_weights_leaves_tens_of_gigabytes() -> None:
    """The weights in 32 bits and two moments a checkpoint, three of them, and the result in half precision."""
    weights = BILLION.parameters / 1e9
    left = keeping.of(Recipe(model="org/model-1B", method="full"), BILLION)
    assert left
    assert left.checkpoint_gb == pytest.approx(12 * weights)
    assert left.stored_gb == pytest.approx((3 * 12 + 2) * weights)
    assert left.monthly == pytest.approx(left.stored_gb * 0.023)


def test_an_adapter_leaves_little_and_the_best_weights_are_one_more_copy_of_each() -> None:
    small = keeping.of(Recipe(model="org/model-1B"), BILLION)
    assert small
    assert small.stored_gb < 1
    held_out = keeping.of(Recipe.model_validate({"model": "org/model-1B", "evaluation": {"share": 0.1}}), BILLION)
    assert held_out
    assert held_out.checkpoints == small.checkpoints + 1
    assert held_out.checkpoint_gb == pytest.approx(small.checkpoint_gb * 16 / 12)


def test_logs_cost_cents_at_most_and_an_unknown_model_nothing_known() -> None:
    left = keeping.of(Recipe(model="org/model-1B"), BILLION)
    assert left
    assert left.logs == pytest.approx(3 * 0.05 * 0.50)
    assert keeping.of(Recipe(model="org/model"), None) is None
