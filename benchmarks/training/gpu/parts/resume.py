"""Is a training that was stopped and goes on the one that never stopped, and two alike the same bits.

On a CPU both must be. On a GPU attention's way back adds in no fixed order, so what is equal there is a figure, and near is the law.
"""

from benchmarks.training.gpu import trainings
from benchmarks.training.gpu.parts.formats import NEAR
from benchmarks.training.gpu.running import Job, Tell
from benchmarks.training.gpu.trainings import Trained

STEPS = 8
LEFT = 4


def run(job: Job, tell: Tell) -> None:
    assets = trainings.small(job)
    recipe = {"max_steps": STEPS, "save_steps": LEFT, "lora": {"rank": 8, "alpha": 16, "dropout": 0.1}}
    first, second = (trainings.train(job, name, assets, recipe) for name in ("first", "second"))
    begun = trainings.train(job, "stopped", assets, {**recipe, "max_steps": LEFT})
    resumed = trainings.go_on(job, begun.work, max_steps=STEPS)
    _compare("two alike", first, second, job, tell)
    _compare("stopped and gone on", first, resumed, job, tell)


def _compare(name: str, one: Trained, other: Trained, job: Job, tell: Tell) -> None:
    if one.code or other.code or len(one.losses) != len(other.losses):
        tell.check(name, False, other.says if one.code == 0 else one.says)
        return
    apart = max(abs(first - second) / first for first, second in zip(one.losses, other.losses, strict=True))
    file = "adapter_model.safetensors"
    same = (one.adapter / file).read_bytes() == (other.adapter / file).read_bytes()
    tell.check(
        name, same if job.on_cpu else apart < NEAR, f"losses within {apart:.1e}, weights {'the same bits' if same else 'not the same'}"
    )
    tell.figure(name, same_bits=same, losses_apart=apart)
