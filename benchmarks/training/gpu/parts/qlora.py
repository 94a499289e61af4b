"""Does a LoRA over 4 bits load, learn, go on after a stop, take preferences, and merge.

On a CPU where bitsandbytes is installed and the trainer takes it there.
"""

import importlib.util
import json
from pathlib import Path

from benchmarks.training.gpu import trainings
from benchmarks.training.gpu.parts.formats import LESS, NEAR
from benchmarks.training.gpu.running import Job, Skipped, Tell

STEPS = 8
LEFT = 4


def run(job: Job, tell: Tell) -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise Skipped("bitsandbytes is not installed")
    assets = trainings.small(job)
    recipe = {"method": "qlora", "max_steps": STEPS, "save_steps": LEFT, **({"precision": "bf16"} if job.on_cpu else {})}
    whole = trainings.train(job, "whole", assets, recipe)
    if job.on_cpu and whole.code and "needs a GPU" in whole.outcome.detail:
        raise Skipped(whole.outcome.detail)
    learned = whole.code == 0 and whole.losses[-1] < LESS * whole.losses[0]
    tell.check("loads and learns", learned, whole.says)
    if whole.code:
        return
    begun = trainings.train(job, "stopped", assets, {**recipe, "max_steps": LEFT})
    resumed = trainings.go_on(job, begun.work, max_steps=STEPS)
    near = resumed.code == 0 and len(resumed.losses) == STEPS and abs(resumed.losses[-1] - whole.losses[-1]) < NEAR * whole.losses[-1]
    tell.check("stopped and gone on", near, f"{resumed.says}; without a stop {whole.losses[-1]:.4f}")
    if job.on_cpu:
        tell.skip("takes preferences", "tests/trainer trains it on a CPU")
        _merge(job, assets, whole.adapter, tell)
        return
    preferring = trainings.train(job, "preferences", _preferences(job, assets), {**recipe, "objective": "dpo", "max_steps": LEFT})
    tell.check("takes preferences", preferring.code == 0, preferring.says)
    _merge(job, assets, whole.adapter, tell)


def _preferences(job: Job, assets: Path) -> Path:
    """The same questions, each with its own answer before that of another."""
    place = job.folder / "pairs"
    if not (place / "chat").is_dir():
        (place / "chat").mkdir(parents=True)
        (place / "model").symlink_to(assets / "model")
        chats = [json.loads(line)["messages"] for line in (assets / "chat" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
        pairs = [
            {"prompt": chat[:-1], "chosen": chat[-1:], "rejected": other[-1:]}
            for chat, other in zip(chats, [*chats[1:], chats[0]], strict=True)
        ]
        (place / "chat" / "train.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    return place


def _merge(job: Job, assets: Path, adapter: Path, tell: Tell) -> None:
    from llmlab.errors import LabError
    from llmlab.trainer.export.merge import merge

    try:
        merged = merge(str((assets / "model").resolve()), adapter, job.folder / "merged")
    except LabError as error:
        tell.check("merges", False, error.message)
    else:
        says = f"{merged.dtype}, logits within {merged.difference:.3g} of up to {merged.logit:.3g}"
        tell.check("merges", merged.checked, says)
