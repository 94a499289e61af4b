"""`python -m llmlab.trainer`: train as the work folder says, report the outcome to the agent, and exit with its code.

With several GPUs it starts itself once per GPU under torchrun, and exits with the code of the outcome that was written.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from llmlab import contract
from llmlab.clock import Clock, SystemClock
from llmlab.contract import ContractError, EndReason, Env, Outcome, TrainerExit, WorkFolder
from llmlab.files import replace_text
from llmlab.recipe import Recipe
from llmlab.trainer import cuda_devices, device, distributed, failures, run
from llmlab.trainer.control import Control
from llmlab.trainer.cuda_devices import CudaDevices
from llmlab.trainer.distributed import Processes
from llmlab.trainer.failures import Failed, HardwareFailed, Left
from llmlab.trainer.io_activity import Moving


def main(
    environment: Mapping[str, str] | None = None, clock: Clock | None = None, out: TextIO | None = None, gpus: CudaDevices | None = None
) -> int:
    """Train; the result is the exit code, a `TrainerExit`."""
    environment = os.environ if environment is None else environment
    out = out or sys.stdout
    work = WorkFolder(environment.get(Env.WORK) or WorkFolder.root)
    clock = clock or SystemClock()
    device.prepare()
    used = (gpus or cuda_devices.of(environment)) if run.wants_gpus(work) else None
    if distributed.is_started(environment):
        return _run_process(work, environment, used, clock, out)
    seen, wanted = 1, cuda_devices.wanted(work)
    if used:
        try:
            seen = cuda_devices.check(used, wanted)
        except HardwareFailed as failed:
            with Control(work, clock) as control:
                return _report_failure(failed, control, out)
    count = distributed.wanted(environment, seen)
    code = _launch_processes(work, count) if count > 1 else _run_process(work, environment, used, clock, out)
    return _blame_hardware(work, code, used, max(wanted, seen), out) if used else code


def _run_process(work: WorkFolder, environment: Mapping[str, str], gpus: CudaDevices | None, clock: Clock, out: TextIO) -> int:
    process = distributed.init(environment, gpus)
    try:
        return _train(work, process, clock, out)
    finally:
        distributed.destroy(process)


def _blame_hardware(work: WorkFolder, code: int, gpus: CudaDevices, wanted: int, out: TextIO) -> int:
    """The exit code, changed to `HARDWARE_FAILED` when the training failed and a GPU is missing or does not compute any more."""
    try:
        outcome = contract.load(Outcome, Path(work.outcome).read_bytes())
    except (OSError, ContractError):
        outcome = Outcome(EndReason.TRAINING_ERROR, f"the trainer ended with exit code {code}")
    if code in {TrainerExit.COMPLETED, TrainerExit.STOPPED_ON_REQUEST} or outcome.reason is not EndReason.TRAINING_ERROR:
        return code
    if not (fault := gpus.look().fault(wanted)):
        return code
    out.write(f"error: {fault}\n")
    out.flush()
    blamed = replace(outcome, reason=EndReason.HARDWARE_FAILED, detail=f"{fault}; {outcome.detail}", hint_code="", hint_values={})
    replace_text(Path(work.outcome), contract.dump(blamed))
    return TrainerExit.HARDWARE_FAILED


def _launch_processes(work: WorkFolder, count: int) -> int:
    """Run one process per GPU. torchrun hides their exit codes, so the code follows from the outcome that one of them wrote."""
    Path(work.outcome).unlink(missing_ok=True)
    code = distributed.launch(count)
    try:
        reason = contract.load(Outcome, Path(work.outcome).read_bytes()).reason
    except (OSError, ContractError):
        return code if code > 0 else TrainerExit.TRAINING_ERROR
    return failures.CODES.get(reason, TrainerExit.STOPPED_ON_REQUEST)


def _train(work: WorkFolder, process: Processes, clock: Clock, out: TextIO) -> int:
    """Train in this process, which is one of several under torchrun or the only one."""

    def say(text: str) -> None:
        if process.is_main:
            out.write(text + "\n")
            out.flush()

    recipe: Recipe | None = None
    with (
        Control(work, clock, speaks=process.is_main, several=process.world_size > 1) as control,
        Moving(control),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the libraries', about each other
        try:
            spec, recipe = run.parse(work)
            device.offline(recipe)
            run.train(work, spec, recipe, control, process, say)
        except Left as left:
            say(f"left at step {control.last.step} of {control.last.total_steps}: {left.request.reason}")
            control.end(left.request.reason, f"saved at step {control.last.step} and left")
            return TrainerExit.STOPPED_ON_REQUEST
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads why
            failed = failures.of(error, recipe)
            if failed is not error:
                traceback.print_exception(error, file=out)
            return _report_failure(failed, control, out)
        control.end(EndReason.COMPLETED)
        return TrainerExit.COMPLETED


def _report_failure(failed: Failed, control: Control, out: TextIO) -> int:
    """Report a failure in the log and to the agent; returns its exit code."""
    if control.speaks:
        out.write(f"error: {failed.message}\n" + (f"hint: {failed.hint}\n" if failed.hint else ""))
        out.flush()
    control.fail(failed.reason, failed.message, failed.hint)
    return failures.CODES[failed.reason]


if __name__ == "__main__":
    run.spare_imports(WorkFolder(os.environ.get(Env.WORK) or WorkFolder.root))
    sys.exit(main())
