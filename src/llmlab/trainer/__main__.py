"""`python -m llmlab.trainer`: train what the work folder says, tell the agent how it ended, and leave with the code for it."""

import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import TextIO

from llmlab.clock import Clock, SystemClock
from llmlab.contract import EndReason, Env, TrainerExit, WorkFolder
from llmlab.recipe import Recipe
from llmlab.trainer import endings, run
from llmlab.trainer.control import Control
from llmlab.trainer.endings import Left


def main(environment: Mapping[str, str] | None = None, clock: Clock | None = None, out: TextIO | None = None) -> int:
    """Train; the result is the exit code, a `TrainerExit`."""
    environment = os.environ if environment is None else environment
    out = out or sys.stdout
    work = WorkFolder(environment.get(Env.WORK) or WorkFolder.root)

    def say(text: str) -> None:
        out.write(text + "\n")
        out.flush()

    recipe: Recipe | None = None
    with Control(work, clock or SystemClock()) as control, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries', about each other
        try:
            spec, recipe = run.parse(work)
            run.train(work, spec, recipe, control, say)
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
            control.end(failed.reason, failed.message, failed.hint)
            return endings.CODES[failed.reason]
        control.end(EndReason.COMPLETED)
        return TrainerExit.COMPLETED


if __name__ == "__main__":
    sys.exit(main())
