"""Does `compile: true` run here, and what does it gain.

Triton builds what it launches kernels by with a compiler of C; the image has one.
"""

from statistics import median

from benchmarks.training.gpu import trainings
from benchmarks.training.gpu.parts.formats import NEAR
from benchmarks.training.gpu.running import Job, Tell

STEPS = 6
WARM = 2


def run(job: Job, tell: Tell) -> None:
    assets = trainings.small(job)
    plain, compiled = (trainings.train(job, f"compile-{on}", assets, {"compile": on, "max_steps": STEPS}) for on in (False, True))
    near = compiled.code == 0 and abs(compiled.losses[-1] - plain.losses[-1]) < NEAR * plain.losses[-1]
    tell.check("compiled layers train the same", near, compiled.says)
    if compiled.code == 0:
        seconds = {name: median(row["seconds"] for row in one.rows[WARM:]) for name, one in (("plain", plain), ("compiled", compiled))}
        tell.figure("seconds a step", **seconds)
