"""A training that stands still is ended, a GPU that has failed is told from a program that has, and what takes long is left alone."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.agent.exit_diagnosis import TrainingExit, diagnose
from llmlab.agent.gpu import HARDWARE_XIDS, Fault, GpuUse, NvidiaGpus
from llmlab.contract import EndReason, Marker, Outcome, Progress, StopRequest
from tests.sampling import sampled
from tests.unit.agent.doubles import START, Machine, machine
from tests.unit.agent.nvml_double import Nvml

IDLE = GpuUse(1.0, 17.5)


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    made = machine(tmp_path, hours=4, spec={"idle_minutes": 20.0})
    made.gpus.use = IDLE
    return made


def minutes(here: Machine) -> float:
    return (here.clock.now() - START).total_seconds() / 60


def every(here: Machine, seconds: float, until: float, act: Any) -> None:
    for index in range(1, int(until / seconds) + 1):
        here.at(index * seconds, lambda index=index: act(index))


def show(here: Machine, progress: Progress) -> None:
    here.control(here.job.folder.progress, progress)


# ---------------------------------------------------------------- idle


def test_a_training_that_hangs_is_ended_as_stalled(here: Machine) -> None:
    """It hangs at step 120 after half an hour, and does not hear the request."""
    every(here, 15, 1800, lambda index: show(here, Progress("training", index, 500)))
    here.agent.run()
    assert 30 + 20 <= minutes(here) < 30 + 20 + 3
    assert here.end.reason is EndReason.STALLED
    assert here.end.detail == (
        "nothing moved for 20 minutes at step 120 of 500, training, with the GPUs at 1 %; "
        "the trainer did not save in time, earlier checkpoints count"
    )
    marker = here.outputs.document(Marker, here.job.keys.failure)
    assert (marker.reason, marker.command(here.job.run)) == (EndReason.STALLED, f"llmlab logs {here.job.run} --stream training")
    assert Path(here.job.folder.marked).read_text() == "stalled\n"


def test_a_stalled_trainer_that_still_hears_saves(here: Machine) -> None:
    def hear() -> None:
        assert contract.load(StopRequest, Path(here.job.folder.request).read_text()).reason is EndReason.STALLED
        here.checkpoint(3)
        here.control(here.job.folder.outcome, Outcome(EndReason.STALLED, "saved at step 3 and left"))
        here.leave(75)

    show(here, Progress("training", 3, 500))
    here.at(20 * 60 + 60, hear)
    here.agent.run()
    assert here.end.detail.endswith("; saved at step 3 and left")
    assert here.end.step == 3


def test_a_machine_without_a_gpu_counts_as_idle(here: Machine) -> None:
    here.gpus.use = None
    here.agent.run()
    assert here.end.detail.startswith("nothing moved for 20 minutes before it began, with no GPU to be seen")


@pytest.mark.parametrize("phase", sampled(["loading", "tokenizing", "evaluating", "saving"], "saving"))
def test_a_long_phase_that_moves_is_left_alone(here: Machine, phase: str) -> None:
    """Three hours of it, with a word every ten minutes."""
    every(here, 600, 3 * 3600, lambda index: show(here, Progress(phase, 7, 500, moves=index)))
    here.at(3 * 3600 + 1, lambda: here.leave(0))
    here.agent.run()
    assert here.end.reason is EndReason.COMPLETED


def test_gpus_that_work_count_without_a_step(here: Machine) -> None:
    """A step of three hours; the GPUs rest now and then."""
    uses = itertools.cycle([GpuUse(0.0, 10.0), GpuUse(5.0, 10.0)])
    every(here, 600, 3 * 3600, lambda index: setattr(here.gpus, "use", next(uses)))
    here.at(3 * 3600 + 1, lambda: here.leave(0))
    here.agent.run()
    assert here.end.reason is EndReason.COMPLETED


def test_idle_for_ever_is_allowed(tmp_path: Path) -> None:
    here = machine(tmp_path, hours=3, spec={"idle_minutes": 0.0})
    here.gpus.use = None
    here.agent.run()
    assert here.end.reason is EndReason.TIMED_OUT


# ---------------------------------------------------------------- GPUs that fail


def test_a_gpu_that_is_lost_ends_the_attempt_for_another_machine(here: Machine) -> None:
    here.at(600, lambda: setattr(here.gpus, "wrong", Fault("GPU 0: GPU is lost")))
    here.agent.run()
    assert 10 < minutes(here) < 12
    assert here.end.reason is EndReason.HARDWARE_FAILED
    assert here.end.detail.startswith("GPU 0: GPU is lost")
    assert here.outputs.document(Marker, here.job.keys.failure) is None  # the watchdog starts the next attempt


def test_a_driver_that_only_does_not_answer_is_waited_for(here: Machine) -> None:
    here.at(60, lambda: setattr(here.gpus, "wrong", Fault("GPU 0: Unknown Error", certain=False)))
    every(here, 60, 3600, lambda index: show(here, Progress("training", index, 500)))
    here.at(3601, lambda: here.leave(0))
    here.agent.run()
    assert here.end.reason is EndReason.COMPLETED


def test_a_stall_beside_a_driver_that_does_not_answer_is_the_hardwares(here: Machine) -> None:
    here.gpus.use, here.gpus.wrong = None, Fault("GPU 0: Unknown Error", certain=False)
    here.agent.run()
    assert here.end.reason is EndReason.HARDWARE_FAILED
    assert minutes(here) == pytest.approx(21, abs=0.5)


def test_reading_gpus_that_never_returns_is_a_fault_too(here: Machine) -> None:
    """What they did before does not count any more."""
    here.gpus.use, start = GpuUse(95.0, 10.0), here.background.start

    def hang(name: str, work: Any) -> None:
        if name != "gpus" or here.clock.now() <= START:
            start(name, work)

    here.background.start = hang  # type: ignore[method-assign]
    here.background.late.add("gpus")
    here.agent.run()
    assert 20 < minutes(here) < 23
    assert here.end.reason is EndReason.HARDWARE_FAILED
    assert here.end.detail.startswith("the GPUs do not answer")


def test_what_the_driver_says_last_explains_a_trainer_that_died(here: Machine) -> None:
    def die() -> None:
        here.gpus.wrong = Fault("GPU 3: 2 uncorrectable memory errors since it was started")
        here.leave(1)

    here.at(9, die)
    here.agent.run()
    assert here.end.reason is EndReason.HARDWARE_FAILED


RUNTIME = "torch.AcceleratorError: CUDA error: {}\nCUDA kernel errors might be asynchronously reported at some other API call\n"


@pytest.mark.parametrize(("log", "reason"), [
    (RUNTIME.format("uncorrectable ECC error encountered"), EndReason.HARDWARE_FAILED),
    (RUNTIME.format("uncorrectable NVLink error detected during the execution"), EndReason.HARDWARE_FAILED),
    (RUNTIME.format("system not yet initialized"), EndReason.HARDWARE_FAILED),
    ("NVRM: Xid (PCI:0000:00:1e): 79, pid=1896, GPU has fallen off the bus.\n", EndReason.HARDWARE_FAILED),
    ("NVRM: Xid (PCI:0000:00:1e): 31, pid=1896, MMU Fault\n", EndReason.TRAINING_ERROR),
    (RUNTIME.format("an illegal memory access was encountered"), EndReason.TRAINING_ERROR),
    (RUNTIME.format("device-side assert triggered"), EndReason.TRAINING_ERROR),
    ("ValueError: 79\n", EndReason.TRAINING_ERROR),
])  # fmt: skip
def test_the_words_of_cuda_tell_hardware_from_program(log: str, reason: EndReason) -> None:
    assert diagnose(TrainingExit(1), None, None, log).reason is reason
    assert diagnose(TrainingExit(1), None, Outcome(EndReason.TRAINING_ERROR, log.splitlines()[0])).reason is reason


def test_other_ends_are_not_the_hardwares() -> None:
    fault = "GPU 0: GPU is lost"
    assert diagnose(TrainingExit(0), None, None, fault=fault).reason is EndReason.COMPLETED
    assert diagnose(TrainingExit(65), None, Outcome(EndReason.DATA_ERROR, "no labels"), fault=fault).reason is EndReason.DATA_ERROR
    assert diagnose(TrainingExit(1), StopRequest(EndReason.STOPPED_BY_USER, ""), None, fault=fault).reason is EndReason.STOPPED_BY_USER


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("counted", [0, None])
def test_healthy_gpus(silent: bool, counted: int | None) -> None:
    nvml = Nvml()
    nvml.silent, nvml.memory_errors = silent, counted
    gpus = NvidiaGpus(nvml)
    assert gpus.read() == GpuUse(60.0, 6.0)
    assert gpus.fault() is None


@pytest.mark.parametrize(("code", "certain"), [(15, True), (16, True), (999, False)])
def test_a_gpu_that_does_not_answer(code: int, certain: bool) -> None:
    nvml = Nvml()
    gpus = NvidiaGpus(nvml)
    nvml.broken = {1: code}
    assert gpus.read() is None
    assert gpus.fault() == Fault(f"GPU 1: code {code}", certain)


def test_memory_errors_and_what_the_driver_reports() -> None:
    nvml = Nvml()
    gpus = NvidiaGpus(nvml)
    nvml.memory_errors = 2
    assert gpus.fault() == Fault("GPU 0: 2 uncorrectable memory errors since it was started")
    nvml.memory_errors = 0
    nvml.xids = [13, 31, 43, 45]
    assert gpus.fault() is None
    nvml.xids = [31, 79]
    assert gpus.fault() == Fault("the GPU has fallen off the bus (Xid 79)")
    assert gpus.fault() == Fault("the GPU has fallen off the bus (Xid 79)")  # it stays so
    assert not {13, 31, 43, 45} & set(HARDWARE_XIDS)
