"""The order of the data: another one in each epoch, the same one again for whoever resumes."""

import numpy as np
from hypothesis import given, strategies as st

from llmlab.trainer.training.sampler import StepPlan


def epoch(plan: StepPlan, number: int) -> list[int]:
    """The items of an epoch in the order they are trained."""
    steps = range(number * plan.per_epoch, (number + 1) * plan.per_epoch)
    return [int(item) for step in steps for item in plan.items(step)]


@given(count=st.integers(1, 200), per_step=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_every_epoch_trains_every_item_once(count: int, per_step: int, seed: int) -> None:
    plan = StepPlan(count, per_step, 10**6, seed)
    for number in range(3):
        assert sorted(epoch(plan, number)) == list(range(count))


@given(seed=st.integers(0, 2**32))
def test_no_two_epochs_have_the_same_order(seed: int) -> None:
    plan = StepPlan(100, 8, 10**6, seed)
    assert len({tuple(epoch(plan, number)) for number in range(5)}) == 5


@given(step=st.integers(0, 500), seed=st.integers(0, 2**32))
def test_a_step_trains_the_same_items_whoever_comes_to_it_from_where(step: int, seed: int) -> None:
    straight, resumed = StepPlan(100, 8, 10**6, seed), StepPlan(100, 8, 10**6, seed)
    for before in range(max(0, step - 20), step):
        straight.items(before)
    assert np.array_equal(straight.items(step), resumed.items(step))


def test_another_seed_is_another_order() -> None:
    assert epoch(StepPlan(100, 8, 10**6, 1), 0) != epoch(StepPlan(100, 8, 10**6, 2), 0)
