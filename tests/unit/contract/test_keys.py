"""Names that two programs share are read back as what they were built from."""

import pytest
from hypothesis import example, given, strategies as st

from llmlab import contract
from llmlab.contract import RunKeys
from llmlab.contract.keys import parse_attempt

RUN = "20261123-120000-ab12"


@given(step=st.integers(0, 10**12 - 1))
@example(step=999_999)
@example(step=1_000_000)
@example(step=10**12 - 1)
def test_a_checkpoint_is_called_after_its_step_however_long_the_training(step: int) -> None:
    assert contract.parse_checkpoint_name(contract.checkpoint_name(step)) == step


@given(number=st.integers(1, 10**9 - 1))
def test_an_attempt_is_called_after_its_number(number: int) -> None:
    assert parse_attempt(RunKeys(RUN).attempt(number)) == (number, "claim")
    assert parse_attempt(RunKeys(RUN).attempt_end(number)) == (number, "end")


@pytest.mark.parametrize(
    "name", ["checkpoint-", "checkpoint-1x", "checkpoint--1", "checkpoint-٣", "checkpoint-1\n", "checkpoint-" + "1" * 13]
)
def test_what_is_no_checkpoint_is_none(name: str) -> None:
    assert contract.parse_checkpoint_name(name) is None
