"""What fills the memory, whether activations fit without recomputing them, and the setting that would fit when they did not.

Weights and trained weights are counted on the model itself; activations and the loss head follow from its shape, by `llmlab.footprint`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmlab import footprint
from llmlab.footprint import Shape
from llmlab.recipe import Recipe

GIB = 2**30
ROOM = 0.9
"""The share of the memory that a plan may fill: allocators leave gaps."""
LESS = 0.8
"""A setting counts as one that fits only if it takes this much less than the one that did not: the sum is a model of the memory."""
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
MEMORY_INFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Use:
    """Memory of a training in bytes: estimated `parts`, the `peak` so far, and the device's `total` (0 where not known)."""

    parts: dict[str, float]
    peak: float
    total: float

    def words(self) -> str:
        """`21.9 of 22.0 GiB; it needs about: activations 12.1 GiB, weights 5.9 GiB, …`, the largest first; "" where nothing is known."""
        of = f" of {self.total / GIB:.1f}" if self.total else ""
        known = sorted(self.parts.items(), key=lambda part: -part[1])
        taken = ", ".join(f"{name} {_size(amount)}" for name, amount in known)
        return (f"{self.peak / GIB:.1f}{of} GiB" if self.peak else "") + (f"; it needs about: {taken}" if taken else "")


def shape_of(model: Any) -> Shape | None:
    """The shape of a model's configuration, None for an architecture whose fields are not the usual ones."""
    config = getattr(model, "config", model)
    return footprint.shape(config.to_dict() if hasattr(config, "to_dict") else config)


def use(recipe: Recipe, model: Any | None, *, checkpointing: bool | None = None) -> Use:
    """Memory use of this recipe on this model; with None for the model only the peak and the total are known."""
    shape = shape_of(model) if model is not None else None
    parts = {}
    if shape is not None:
        counted = counts(model)
        tokens = footprint.row_tokens(recipe)
        breakdown = footprint.parts(_here(recipe), shape, checkpointing=checkpointing)
        parts = {
            "weights": counted["weights"],
            "gradients and optimizer": counted["trained"] * (footprint.state(recipe) - 4),
            f"activations of {tokens:,} tokens": breakdown["activations"],
            "loss head": breakdown["loss head"],
            **{name: amount for name, amount in breakdown.items() if name in {"generation", "adapted experts"} and amount},
        }
    return Use(parts, peak(), total())


def counts(model: Any) -> dict[str, int]:
    """Bytes of all weights as they are held, and the number of trained ones."""
    every = list(model.parameters())
    return {
        "weights": sum(parameter.numel() * parameter.element_size() for parameter in every),
        "trained": sum(parameter.numel() for parameter in every if parameter.requires_grad),
    }


def auto_checkpointing(
    config: Any, recipe: Recipe, free: float, *, kind: int | None = None, trained: int | None = None
) -> tuple[bool, str]:
    """Whether activations have to be recomputed, and why.

    `config` is a model's configuration or a mapping like it, `free` the bytes left once the weights are loaded, `kind` the bytes of a
    number in the forward pass, `trained` the number of trained weights (from the recipe when None), which still need gradients and moments.
    """
    shape = shape_of(config)
    if shape is None:
        return True, "the model's shape is not a usual one, so nobody knows whether its activations fit"
    tokens = footprint.row_tokens(recipe)
    kept = footprint.activations(recipe, shape, tokens, checkpointing=False, kind=kind)
    kept += footprint.adapted_experts(recipe, shape, checkpointing=False)
    learning = footprint.trained(recipe, shape) if trained is None else trained
    others = learning * (footprint.state(recipe) - 4) + footprint.loss_head(recipe, shape, tokens)
    available = max(0.0, free * ROOM - others)
    words = f"activations of {tokens:,} tokens take about {_size(kept)}, and {_size(available)} is free for them"
    return kept > available, words


def fits(recipe: Recipe, shape: Shape | None, most: float, *, gpu: bool = True) -> dict[str, Any]:
    """The settings to change so that a training takes at most `most` bytes, the least harm first; {} when none would do.

    Smaller batches with as many examples a step train the same; recomputing activations costs time; 4 bits and shorter examples change the
    training. Without a shape the first of them that changes anything is given.
    """
    now = sum(footprint.parts(recipe, shape).values()) if shape else 0.0
    goal = min(most * ROOM if most else now, now * LESS)
    for changed in _smaller(recipe, gpu=gpu):
        if shape is None:
            return changed
        smaller = recipe.model_copy(update=changed)
        if sum(footprint.parts(smaller, shape).values()) <= goal:
            return changed
    return {}


def hint(changed: Mapping[str, Any]) -> str:
    """The launch command with these settings."""
    words = [f"--set {name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in changed.items()]
    return " ".join(["llmlab launch", *words]) if words else "llmlab estimate --all"


def asked_for(error: BaseException) -> str:
    """The size of the allocation that failed, in torch's words; "" where the error does not say."""
    match = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w+)", str(error))
    return match[1] if match else ""


def peak() -> float:
    """The most bytes taken so far: of the GPU by torch, else of this process."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def total() -> float:
    """Bytes of the GPU's memory, or of what this machine or container may use."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return _limited(_memory_info("MemTotal"))


def free() -> float:
    """Bytes that can still be taken: of the GPU, or of what this machine or container may use."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    return _limited(_memory_info("MemAvailable"))


def _here(recipe: Recipe) -> Recipe:
    """The recipe with the number format that auto means on this machine."""
    import torch

    return recipe if recipe.precision != "auto" or torch.cuda.is_available() else recipe.model_copy(update={"precision": "fp32"})


def _smaller(recipe: Recipe, *, gpu: bool) -> Iterator[dict[str, Any]]:
    """Settings that take less and less memory, each with those before it."""
    changed: dict[str, Any] = {}
    size, step = recipe.batch_size, recipe.batch_size * recipe.accumulate
    while smaller := next((batch for batch in range(size // 2, recipe.least_batch - 1, -1) if step % batch == 0), 0):
        size = smaller
        changed = {"batch_size": size, "accumulate": step // size}
        yield changed
    if recipe.gradient_checkpointing is not True:
        changed = changed | {"gradient_checkpointing": True}
        yield changed
    if recipe.method == "full":
        changed = changed | {"method": "lora"}
        yield changed
    if recipe.method != "qlora" and gpu:
        changed = changed | {"method": "qlora"}
        yield changed
    length = recipe.max_length
    least = recipe.grpo.max_completion_length + 8 if recipe.objective == "grpo" else 8
    while length > least:
        length = max(least, length // 2)
        yield changed | {"max_length": length}


def _memory_info(name: str) -> float:
    """A line of /proc/meminfo in bytes, 0 where there is none."""
    try:
        text = MEMORY_INFO.read_text(encoding="ascii")
    except OSError:
        return 0.0
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024.0 if match else 0.0


def _limited(machine: float) -> float:
    """The machine's figure, or the container's limit where that is less."""
    for path in CGROUP_LIMITS:
        try:
            return min(machine, float(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such file, or `max`
            continue
    return machine


def _size(amount: float) -> str:
    return f"{amount / GIB:.1f} GiB" if amount >= GIB / 10 else f"{amount / 2**20:.0f} MiB"
