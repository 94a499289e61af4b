"""What the watchdog reads of a bucket that holds more than one page of keys."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import COMPLETE, EndReason, RunKeys
from llmlab.lifecycle.run_documents import RunDocuments
from tests.simulation.callers import Client
from tests.simulation.storage import PAGE, Storage

RUN = "20261123-120000-ab12"
KEYS = RunKeys(RUN)


class Outputs(RunDocuments):
    """A bucket in memory that lists a page of keys at a time, as S3 does, and counts the pages."""

    def __init__(self) -> None:
        self.storage, self.pages_read = Storage(), 0
        super().__init__(Client("s3", self._call), "outputs", ManualClock(datetime(2026, 11, 23, tzinfo=UTC)))

    def _call(self, _service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        self.pages_read += method == "list_objects_v2"
        return getattr(self.storage, method)(**parameters)


def test_the_newest_checkpoint_may_lie_beyond_the_first_page_of_keys() -> None:
    outputs = Outputs()
    for number in range(PAGE + 1):
        outputs.touch(f"{KEYS.checkpoint(1)}part-{number:05d}")
    outputs.touch(KEYS.checkpoint(2) + COMPLETE)
    assert outputs.checkpoint(RUN) == 2
    assert outputs.pages_read == 2


def test_runs_and_their_ends_beyond_the_first_page_are_seen() -> None:
    outputs = Outputs()
    runs = {f"20261123-120000-{number:04d}" for number in range(PAGE + 5)}
    for run in runs:
        outputs.touch(RunKeys(run).spec)
        outputs.touch(RunKeys(run).ended(EndReason.COMPLETED))
    assert set(outputs.runs()) == runs
    assert outputs.over() == runs
    assert outputs.pages_read == 4


def test_a_checkpoint_of_a_long_training_counts() -> None:
    outputs = Outputs()
    for step in (999_999, 1_000_000, 123_456_789_012):
        outputs.touch(KEYS.checkpoint(step) + COMPLETE)
        assert contract.parse_checkpoint_name(contract.checkpoint_name(step)) == step
        assert outputs.checkpoint(RUN) == step
