"""Does the memory estimate hold: `llmlab.footprint` against the most that torch had allocated in a step.

Layers of 1B and of 8B shape, cut to few, by LoRA, by LoRA in 4 bits and by full training, with and without recomputing activations. On a
CPU, where torch counts no peak, tensors are counted as they are made and freed, of a model of a CPU's size.
"""

import gc
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.training.gpu.running import Job, Skipped, Tell
from benchmarks.training.gpu.shapes import EIGHT_B, ONE_B, TINY, Model, build
from llmlab import footprint, recipe as recipes
from llmlab.contract import WorkFolder
from llmlab.trainer import failures, memory
from llmlab.trainer.device import Device

LOW, HIGH = 0.85, 1.25
"""The estimate as a share of the real peak: too much asks for a larger GPU than is needed, too little ends in the middle."""


@dataclass(frozen=True)
class Case:
    model: Model
    method: str
    length: int
    recomputed: bool = False

    @property
    def name(self) -> str:
        return f"{self.model.name}, {self.method}, {self.length:,} tokens" + (", recomputed" if self.recomputed else "")


SMALL = replace(TINY.cut(4), settings={**TINY.cut(4).settings, "vocab_size": 512})
ON_CPU = (Case(SMALL, "lora", 256), Case(SMALL, "lora", 256, recomputed=True), Case(SMALL, "full", 256))
CASES = (
    Case(EIGHT_B.cut(4), "lora", 8192),
    Case(EIGHT_B.cut(4), "lora", 8192, recomputed=True),
    Case(EIGHT_B.cut(4), "lora", 2048),
    Case(ONE_B.cut(8), "lora", 8192),
    Case(ONE_B.cut(8), "full", 2048),
    Case(EIGHT_B.cut(2), "full", 2048, recomputed=True),
    Case(EIGHT_B.cut(4), "qlora", 8192),
    Case(ONE_B.cut(8), "qlora", 2048),
)


def run(job: Job, tell: Tell) -> None:
    for case in ON_CPU if job.on_cpu else CASES:
        try:
            said, real = compared(job, case)
        except Skipped as skipped:
            tell.skip(case.name, str(skipped))
            continue
        except RuntimeError as error:
            if not failures.is_out_of_memory(error):
                raise
            tell.skip(case.name, "it does not fit this GPU")
            continue
        whole = sum(said.values())
        words = f"said {whole / 2**20:,.0f} MiB, was {real / 2**20:,.0f} MiB, {whole / real:.2f} of it"
        tell.check(case.name, LOW < whole / real < HIGH, words)
        tell.figure(case.name, said={name: round(value) for name, value in said.items()}, real=round(real))


def compared(job: Job, case: Case) -> tuple[dict[str, float], float]:
    """The estimate by its parts, and the real peak, in bytes."""
    from llmlab.trainer.model import load, objective as objectives, varlen_attention
    from llmlab.trainer.model.adapter import adapt

    recipe = recipes.check(
        {"model": "lab:bench", "method": case.method, "max_length": case.length, "gradient_checkpointing": case.recomputed}
        | {"batch_size": 1, "precision": "bf16", "device": "cpu" if job.on_cpu else "auto"}
    )
    machine = Device(job.device, "bfloat16")
    _clear(job)
    # weights that learn are in 32 bits, as `load.load_model` has them
    model = _in_four_bits(job, case, recipe, machine) if case.method == "qlora" else build(
        case.model, job.device, "float32" if case.method == "full" else "bfloat16"
    )  # fmt: skip
    adapted = adapt(model.train(), recipe, None, print)
    inner = load.causal(adapted)
    inner.config.use_cache = False
    varlen_attention.register()
    inner.set_attn_implementation(varlen_attention.NAME)
    objectives.fuse(inner, adapted, machine.kind)
    load.speed_up(adapted, recipe, machine, print)
    objective = objectives.Objective(adapted, recipe, machine, packed=True, chunked=True)
    shape = memory.shape_of(inner)
    assert shape is not None
    return footprint.parts(recipe, shape), _peak(job, objective, case)


def _peak(job: Job, objective: Any, case: Case) -> float:
    """Bytes at the most in a step, with the gradients of the batch before and AdamW's moments there already."""
    import numpy as np
    import torch

    from llmlab.trainer.model.collate import packed_row

    draw = np.random.default_rng(0)
    documents = [case.length // 2, case.length // 4, case.length // 4]
    words = case.model.settings["vocab_size"]
    row = packed_row([(draw.integers(0, words, length), np.ones(length, np.int64)) for length in documents], 3).to(job.device)
    learning = [one for _, one in objective.trained()]
    optimizer = torch.optim.AdamW(learning, lr=1e-5, fused=True)

    def step() -> None:
        objective(row).loss.backward()

    step()
    optimizer.step()
    if not job.on_cpu:
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return float(torch.cuda.max_memory_allocated())
    return _counted(step, objective, optimizer)


def _counted(step: Callable[[], None], objective: Any, optimizer: Any) -> float:
    from tests.trainer.test_memory_peak import most_alive

    moments = [one for state in optimizer.state.values() for one in state.values()]
    every = list(objective.model.parameters())
    held = [*every, *moments, *(one.grad for one in every if one.grad is not None)]
    return float(sum(one.numel() * one.element_size() for one in held) + most_alive(step, held))


def _in_four_bits(job: Job, case: Case, recipe: Any, machine: Device) -> Any:
    """Written and loaded by the trainer's own function, which quantises."""
    from llmlab.trainer.model import load

    if importlib.util.find_spec("bitsandbytes") is None:
        raise Skipped("bitsandbytes is not installed")
    work = WorkFolder(str(job.folder / "four-bits"))
    Path(work.model).mkdir(parents=True, exist_ok=True)
    build(case.model, job.device).save_pretrained(work.model)
    _clear(job)
    return load.load_model(recipe, work, machine, range(case.model.settings["vocab_size"]))


def _clear(job: Job) -> None:
    """The weights of the case before, which the autograd graph may still hold."""
    import torch

    if not job.on_cpu:
        gc.collect()
        torch.cuda.empty_cache()
