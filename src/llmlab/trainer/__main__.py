"""`python -m llmlab.trainer`: train what the work folder says, tell the agent how it ended, and leave with the code for it.

With several GPUs it starts itself once for each, under torchrun, and leaves with the first one's code.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from llmlab import contract
from llmlab.clock import Clock, SystemClock
from llmlab.contract import ContractError, EndReason, Env, Outcome, TrainerExit, WorkFolder
from llmlab.recipe import Recipe
from llmlab.trainer import endings, machine, processes, run
from llmlab.trainer.control import Control
from llmlab.trainer.endings import Left
from llmlab.trainer.moving import Moving
from llmlab.trainer.processes import Processes


def main(environment: Mapping[str, str] | None = None, clock: Clock | None = None, out: TextIO | None = None) -> int:
    """Train; the result is the exit code, a `TrainerExit`."""
    environment = os.environ if environment is None else environment
    out = out or sys.stdout
    work = WorkFolder(environment.get(Env.WORK) or WorkFolder.root)
    machine.prepare()
    count = processes.wanted(environment)
    if count > 1:
        return _together(work, count)
    mine = processes.join(environment)
    try:
        return _alone(work, mine, clock or SystemClock(), out)
    finally:
        processes.leave(mine)


def _together(work: WorkFolder, count: int) -> int:
    """One process a GPU. Their exit codes are lost in torchrun's, so the outcome that the first wrote tells."""
    Path(work.outcome).unlink(missing_ok=True)
    code = processes.launch(count)
    try:
        reason = contract.load(Outcome, Path(work.outcome).read_bytes()).reason
    except (OSError, ContractError):
        return code if code > 0 else TrainerExit.TRAINING_ERROR
    return endings.CODES.get(reason, TrainerExit.STOPPED_ON_REQUEST)


def _alone(work: WorkFolder, mine: Processes, clock: Clock, out: TextIO) -> int:
    """One of the processes, or the only one."""

    def say(text: str) -> None:
        if mine.first:
            out.write(text + "\n")
            out.flush()

    recipe: Recipe | None = None
    with Control(work, clock, speaks=mine.first, several=mine.count > 1) as control, Moving(control), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries', about each other
        try:
            spec, recipe = run.parse(work)
            machine.offline(recipe)
            run.train(work, spec, recipe, control, mine, say)
        except Left as left:
            say(f"left at step {control.last.step} of {control.last.total_steps}: {left.request.reason}")
            control.end(left.request.reason, f"saved at step {control.last.step} and left")
            return TrainerExit.STOPPED_ON_REQUEST
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads why
            failed = endings.of(error, recipe)
            if failed is not error:
                traceback.print_exception(error, file=out)
            say(f"error: {failed.message}")
            if failed.hint:
                say(f"hint: {failed.hint}")
            control.fail(failed.reason, failed.message, failed.hint)
            return endings.CODES[failed.reason]
        control.end(EndReason.COMPLETED)
        return TrainerExit.COMPLETED


if __name__ == "__main__":
    sys.exit(main())
