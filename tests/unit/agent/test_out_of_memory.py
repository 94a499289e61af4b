"""What the agent does about memory that ran out: leaves it to the watchdog once, and has the next attempt train in smaller pieces."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.agent.prepare import prepare
from llmlab.contract import EndReason, Marker, Spec
from tests.unit.agent.doubles import Machine, machine


def out_of_memory(here: Machine, recipe: dict[str, Any]) -> None:
    """A training that the kernel has killed."""
    here.job = dataclasses.replace(here.job, spec=dataclasses.replace(here.job.spec, recipe=recipe))
    here.leave(137, killed=True)
    here.agent.run()


def test_memory_that_ran_out_is_left_to_the_watchdog_once(tmp_path: Path) -> None:
    here = machine(tmp_path / "work")
    out_of_memory(here, {"batch_size": 8, "accumulate": 2})
    end = here.end
    assert end.reason is EndReason.OUT_OF_MEMORY
    assert "once more with batch 4 x accumulate 4, which is the same step" in end.detail
    assert here.outputs.read(here.job.keys.failure) is None
    again = machine(tmp_path / "again", number=2, shrink=2)
    out_of_memory(again, {"batch_size": 4, "accumulate": 4})
    assert again.outputs.document(Marker, again.job.keys.failure).reason is EndReason.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "recipe", [{"batch_size": 1}, {"batch_size": 5}, {"batch_size": 8, "on_out_of_memory": "stop"}, {"batch_size": 2, "objective": "kto"}]
)
def test_memory_that_ran_out_for_good_is_marked(tmp_path: Path, recipe: dict[str, Any]) -> None:
    here = machine(tmp_path)
    out_of_memory(here, recipe)
    assert here.outputs.document(Marker, here.job.keys.failure).reason is EndReason.OUT_OF_MEMORY


def test_the_smaller_batch_is_in_the_trainers_spec_and_log_and_made_once(tmp_path: Path) -> None:
    here = machine(tmp_path / "work", number=2, shrink=2)
    spec = dataclasses.replace(here.job.spec, recipe={"batch_size": 8, "accumulate": 2, "model": "m"})
    here.outputs.write(here.job.keys.spec, contract.dump(spec).encode())
    for _ in range(2):
        prepare(here.job, here.data, here.outputs, here.said.append)
    written = contract.load(Spec, Path(here.job.folder.spec).read_text())
    assert written == dataclasses.replace(spec, recipe={"batch_size": 4, "accumulate": 4, "model": "m"})
    assert "batch 4 x accumulate 4 instead of batch 8 x accumulate 2" in Path(here.job.folder.logs, "training.log").read_text()
    assert any("the same step" in line for line in here.said)
