"""The ways in which a GPU is missing, through the one place where the trainer meets its GPUs: each ends as the hardware's."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.contract import EndReason, Env, Outcome, TrainerExit, WorkFolder
from llmlab.trainer import cuda_devices
from llmlab.trainer.__main__ import main
from llmlab.trainer.cuda_devices import Cuda, Look, StandIn
from tests.trainer import work as folders
from tests.trainer.stable import plant

GOOD = Look(8)
DRIVER = "The NVIDIA driver on your system is too old (found version 12040)"
UNKNOWN = "CUDA unknown error - this may be due to an incorrectly set up environment"
BEFORE: dict[str, tuple[Look, str]] = {
    "CUDA does not start": (Look(0, UNKNOWN), f"CUDA does not start, and this machine has 8 GPUs: {UNKNOWN}"),
    "the driver is too old": (Look(0, DRIVER), f"CUDA does not start, and this machine has 8 GPUs: {DRIVER}"),
    "one is missing": (Look(7), "CUDA shows 7 of 8 GPUs"),
    "one does not compute": (Look(8, broken={3: "CUDA error: unknown error"}), "GPU 3 does not compute: CUDA error: unknown error"),
}


def run(work: WorkFolder, gpus: StandIn | Cuda | None, wanted: int | None = 8, **environment: str) -> tuple[int, str]:
    if wanted is not None:
        Path(work.gpus).write_text(f"{wanted}\n")
    out = io.StringIO()
    code = main({Env.WORK: work.root, Env.PROCESSES: "1", **environment}, None, out, gpus)
    return code, out.getvalue()


@pytest.mark.parametrize("way", BEFORE)
def test_a_training_without_all_of_its_gpus_does_not_begin(tmp_path: Path, model: Path, way: str) -> None:
    look, words = BEFORE[way]
    work = folders.make(tmp_path, model, recipe={"device": "auto"})
    code, log = run(work, StandIn([look]))
    told = folders.outcome(work)
    assert (code, told.reason, told.detail) == (TrainerExit.HARDWARE_FAILED, EndReason.HARDWARE_FAILED, words)
    assert TrainerExit.reason(code) is EndReason.HARDWARE_FAILED
    assert folders.hint(told) == "llmlab launch --set device=cpu"
    assert (f"error: {words}" in log, "step 1/" in log) == (True, False)
    assert len(BEFORE) == 4


def test_one_that_is_lost_at_a_step_is_to_blame_and_one_that_is_not_is_not(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmlab.trainer.training.training_loop import Loop

    monkeypatch.setattr(Loop, "_move", Loop._move)  # put back afterwards
    plant()
    lost = Look(8, broken={5: "CUDA error: unspecified launch failure"})
    work = folders.make(tmp_path / "lost", model, recipe={"device": "auto"})
    code, log = run(work, StandIn([GOOD, lost]))
    told = folders.outcome(work)
    assert (code, told.reason, told.step) == (TrainerExit.HARDWARE_FAILED, EndReason.HARDWARE_FAILED, 1), log
    assert told.detail == "GPU 5 does not compute: CUDA error: unspecified launch failure; ArithmeticError: planted"
    work = folders.make(tmp_path / "there", model, recipe={"device": "auto"})
    code, log = run(work, StandIn([GOOD]))
    assert (code, folders.outcome(work).reason) == (TrainerExit.TRAINING_ERROR, EndReason.TRAINING_ERROR), log


def test_the_processor_is_a_choice_and_never_a_way_out(tmp_path: Path, model: Path) -> None:
    """Of a recipe that says so, on a machine with whatever GPUs; of another one not even where nobody knows how many there must be."""
    work = folders.make(tmp_path / "chosen", model, recipe={"device": "cpu", "max_steps": 1})
    code, log = run(work, StandIn([Look(0, UNKNOWN)]))
    assert code == 0, log
    assert re.search(r"device: CPU with \d+ threads, as the recipe says", log)
    work = folders.make(tmp_path / "fallen back", model, recipe={"device": "auto", "max_steps": 1})
    told: Any = [{"count": 0}]
    code, _ = run(work, None, None, **{Env.GPUS: json.dumps(told)})
    assert (code, folders.outcome(work).detail) == (TrainerExit.HARDWARE_FAILED, "CUDA shows 0 of a GPU")
    code, log = run(work, None, None, **{Env.GPUS: '[{"count": 1}]'})
    assert code == 0, log


def test_other_failures_are_not_the_hardwares(tmp_path: Path, model: Path) -> None:
    work = folders.make(tmp_path, model, ["{broken"], recipe={"device": "auto"})
    code, _ = run(work, StandIn([GOOD, Look(0, UNKNOWN)]))
    assert code == TrainerExit.DATA_ERROR
    assert contract.load(Outcome, Path(work.outcome).read_text()).reason is EndReason.DATA_ERROR


@pytest.mark.slow  # a process that imports torch
def test_looking_for_real(tmp_path: Path) -> None:
    """Here, where CUDA has its own words for why it does not start, and where it does every GPU computes."""
    look = Cuda().look()
    assert look == cuda_devices.seen()
    if look.count == 0:
        assert look.says
        assert look.says in look.fault(1)
    else:
        assert look.fault(look.count) == ""
        assert look.fault(look.count + 1).startswith("CUDA shows")
