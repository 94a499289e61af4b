"""Do bf16 and fp16 learn, and does a training go on from one in the other.

On a CPU, which has no scaler of gradients, bf16 and fp32. The checkpoint of one GPU is the start on another of any interrupted run.
"""

import math
from itertools import pairwise
from statistics import mean

from benchmarks.training.gpu import trainings
from benchmarks.training.gpu.running import Job, Tell

LESS = 0.9
"""What is left of the loss of a random model after so many steps, at most."""
NEAR = 0.05
"""Relative difference of losses that rounding explains."""
STEPS = 8
LEFT = 4


def run(job: Job, tell: Tell) -> None:
    formats = ("fp32", "bf16") if job.on_cpu else ("fp32", "bf16", "fp16")
    assets = trainings.small(job)
    whole = {one: trainings.train(job, one, assets, {"precision": one, "max_steps": STEPS, "save_steps": LEFT}) for one in formats}
    for one, trained in whole.items():
        learned = trained.code == 0 and trained.losses[-1] < LESS * trained.losses[0]
        tell.check(f"{one} learns", learned, trained.says)
        tell.figure(one, losses=trained.losses, norms=[row.get("grad_norm") for row in trained.rows])
    for one, other in pairwise(formats):
        apart = _apart(whole[one].losses, whole[other].losses)
        tell.check(f"{other} follows {one}", apart < NEAR, f"losses are within {apart:.1%}")
    pairs = [(formats[-2], formats[-1]), (formats[-1], formats[-2])]
    for first, second in pairs[:1] if job.on_cpu else pairs:
        begun = trainings.train(job, f"{first}-{second}", assets, {"precision": first, "max_steps": LEFT, "save_steps": LEFT})
        ended = trainings.go_on(job, begun.work, precision=second, max_steps=STEPS)
        apart = _apart(ended.losses, whole[first].losses)
        said = ended.line("warning: the checkpoint was trained in")
        tell.check(f"{first} goes on in {second}", ended.code == 0 and apart < NEAR, f"{ended.says}, within {apart:.1%} of {first} alone")
        tell.check(f"{first} goes on in {second}, and that is said", said.startswith("warning"), said)


def _apart(losses: list[float], others: list[float]) -> float:
    """Mean relative difference; infinite where they are not of the same steps."""
    if not losses or len(losses) != len(others):
        return math.inf
    return mean(abs(one - other) / max(one, other) for one, other in zip(losses, others, strict=True))
