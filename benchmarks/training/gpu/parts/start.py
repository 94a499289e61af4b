"""How long from the start of the trainer to the end of its first step, and on what.

On a GPU in a process of its own, as a container starts it, with libraries to import and kernels to load; the times are of the lines of
its log.
"""

import os
import subprocess
import time
from pathlib import Path

from benchmarks.training import ours
from benchmarks.training.contest import ENVIRONMENT, OURS
from benchmarks.training.gpu import shapes, trainings
from benchmarks.training.gpu.running import Job, Tell
from benchmarks.training.gpu.trainings import Timed
from llmlab.contract import Env

PHASES = ("device: ", "resuming: ", "adapter: ", "packing: ", "training: ", "step 1/")
"""Beginnings of lines that a phase ends with."""


def run(job: Job, tell: Tell) -> None:
    recipe = {"max_steps": 1, "device": "cpu" if job.on_cpu else "auto"}
    if job.on_cpu:
        trained = trainings.train(job, "start", trainings.small(job), recipe)
        _say("a small model, libraries imported before", trained.code, trained.log, tell)
        return
    _say("a small model", *_fresh(job, trainings.small(job), recipe, "chat"), tell)
    assets = shapes.make(job.folder, shapes.ONE_B, job.device, 2048, 8)
    _say(shapes.ONE_B.name, *_fresh(job, assets, {**recipe, "max_length": 2048}, "text"), tell)


def _fresh(job: Job, assets: Path, recipe: dict[str, object], rows: str) -> tuple[int, Timed]:
    """Exit code and log of the trainer's own process."""
    work = ours.work_folder(job.folder / "start", assets, rows, {**trainings.RECIPE, **recipe})
    log = Timed()
    environment = {**os.environ, **ENVIRONMENT, str(Env.WORK): work.root}
    with subprocess.Popen(OURS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        assert process.stdout
        for line in process.stdout:
            log.write(line)
    return process.returncode, log


def _say(name: str, code: int, log: Timed, tell: Tell) -> None:
    whole = time.perf_counter() - log.began
    marks = {words.strip(":/ "): round(at, 2) for words in PHASES if (at := log.first(words)) is not None}
    reached = code == 0 and "step 1" in marks
    tell.check(f"{name}: reaches its first step", reached, f"after {marks['step 1']} s" if reached else f"it ended with {code}")
    tell.figure(name, seconds=marks, whole=round(whole, 2))
