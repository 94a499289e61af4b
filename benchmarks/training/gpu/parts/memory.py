"""Is want of memory told in our words, with a setting that helps.

A step asks the device for more than any machine has, so that the words are the device's own. On a GPU also the way it happens to users: the
share of its memory that this process may take is made small.
"""

from typing import Any

from benchmarks.training.gpu import trainings
from benchmarks.training.gpu.running import Job, Tell
from benchmarks.training.gpu.trainings import Trained
from llmlab.contract import EndReason

TOO_MUCH = 1 << 48
"""Bytes: no processor's addresses reach so far."""


def run(job: Job, tell: Tell) -> None:
    import torch

    from llmlab.trainer.model.objective import Objective

    assets = trainings.small(job)
    forward = Objective.forward

    def greedy(objective: Any, row: Any) -> Any:
        torch.empty(TOO_MUCH, dtype=torch.uint8, device=job.device)
        return forward(objective, row)

    Objective.forward = greedy  # type: ignore[method-assign]
    try:
        _told("in the device's own words", trainings.train(job, "greedy", assets, {"max_steps": 1}), tell)
    finally:
        Objective.forward = forward  # type: ignore[method-assign]
    if job.on_cpu:
        tell.skip("with a small share of the memory", "torch limits that on a GPU alone")
        return
    torch.cuda.empty_cache()
    there = torch.cuda.get_device_properties(job.device).total_memory
    share = (torch.cuda.memory_reserved() + (64 << 20)) / there
    torch.cuda.set_per_process_memory_fraction(share)
    long = {"max_length": 4096, "batch_size": 64, "accumulate": 1, "max_steps": 1, "gradient_checkpointing": False}
    _told("with a small share of the memory", trainings.train(job, "small share", assets, long), tell)


def _told(name: str, ended: Trained, tell: Tell) -> None:
    if not ended.code:
        tell.check(name, False, f"it did not run out: {ended.says}")
        return
    told = ended.outcome
    tell.check(f"{name}: known for what it is", told.reason is EndReason.OUT_OF_MEMORY, f"{told.reason}: {told.detail}")
    hint = ended.line("hint: ")
    tell.check(f"{name}: with a setting that helps", hint.startswith("hint: llmlab launch --set "), hint)
