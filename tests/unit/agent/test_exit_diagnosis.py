"""What a training log says of the machine, wherever in it that stands."""

import pytest

from llmlab.agent.exit_diagnosis import SEARCHED_CHARACTERS, TrainingExit, diagnose
from llmlab.contract import EndReason

FAULT = "RuntimeError: CUDA error: uncorrectable ECC error encountered\n"
STEPS = "step 1234 loss 1.2345 tokens/s 9876\n" * (2 * SEARCHED_CHARACTERS // 36)


@pytest.mark.parametrize("log", [FAULT, STEPS + FAULT, STEPS + FAULT + "Traceback (most recent call last):\n" * 100])
def test_a_fault_at_the_end_of_a_log_of_any_length_is_the_machines(log: str) -> None:
    assert diagnose(TrainingExit(1), None, None, log).reason is EndReason.HARDWARE_FAILED


def test_words_about_a_fault_long_before_the_end_do_not_decide() -> None:
    assert len(STEPS) > SEARCHED_CHARACTERS
    assert diagnose(TrainingExit(1), None, None, FAULT + STEPS).reason is EndReason.TRAINING_ERROR
