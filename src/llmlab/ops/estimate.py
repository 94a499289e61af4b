"""VRAM, hours and dollars of a recipe on each instance type, and why a type is rejected.

Memory: weights + optimizer + activations + loss head + CUDA context, per GPU; see each term in `llmlab.footprint`.
Time: 6 floating-point operations a parameter and token for a full step, of which a LoRA step saves the weight gradients (2) and
checkpointing adds a second forward (2), at the share of the GPU's peak that such trainings reach; DPO adds the reference's forward (2).
Both are estimates: the run itself measures.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from llmlab import footprint, gpus
from llmlab.aws import instance_types, prices
from llmlab.aws.instance_types import InstanceType
from llmlab.aws.session import Aws
from llmlab.contract import Manifest
from llmlab.errors import LabError
from llmlab.ops.model_size import ModelSize
from llmlab.recipe import Recipe

GIB = 1024**3
REACHED = 0.3
"""The share of the peak that adapter training with gradient checkpointing reaches."""
NO_BF16 = {"T4", "V100"}
CONTEXT_GIB = 1.5
ROOM = 0.95
"""The share of a GPU's memory a training may fill."""
START_HOURS = 0.15
"""Boot, image pull and model download: about nine minutes."""


@dataclass(frozen=True)
class Option:
    """A recipe on one type. GiB of one GPU, hours of instance time, US dollars. None where it is not known."""

    instance_type: str
    gpu: str
    gpus: int
    gpu_memory_gib: float
    fits: bool
    reason: str
    """Why not, or what to know, in a few words."""
    hours: float | None
    on_demand_price: float | None
    spot_price: float | None
    """Of the cheapest zone now."""
    approximate: bool
    on_demand_cost: float | None
    spot_cost: float | None
    preferred: bool
    """It is one of the types the settings name, which a launch would take."""

    @property
    def priced(self) -> bool:
        return self.on_demand_price is not None or self.spot_price is not None


@dataclass(frozen=True)
class Estimate:
    """A recipe and a dataset on every type that was asked for.

    Those that fit come first, the cheapest at the head, then those that do not fit, then those without a price.
    """

    model: str
    parameters: int | None
    source: str
    lacks: str
    """What has to be uploaded before more can be said, and the command for it in `hint`; "" when nothing."""
    hint: str
    data: str
    tokens: int | None
    """Of one epoch."""
    steps: int | None
    memory_gib: float | None
    parts_gib: dict[str, float]
    options: tuple[Option, ...]


def estimate(
    aws: Aws,
    recipe: Recipe,
    size: ModelSize | None,
    data: Manifest | None,
    types: Sequence[InstanceType],
    now: datetime,
    *,
    preferred: Sequence[str] = (),
    lacking: LabError | None = None,
) -> Estimate:
    """The options for these types, with the prices of now. `lacking` is why `size` is not known, where something can be done about it."""
    names = [one.name for one in types]
    with ThreadPoolExecutor(2) as pool:
        asked_spot = pool.submit(prices.spot, aws, names, now)
        on_demand = prices.on_demand(aws, names)
        spot = asked_spot.result()
    parts = memory(recipe, size) if size else {}
    tokens = data_tokens(data) if data else None
    options = [option(one, recipe, size, tokens, on_demand, spot, preferred=one.name in preferred) for one in types]
    return Estimate(
        model=recipe.model,
        parameters=size.parameters if size else None,
        source=size.source if size else "",
        lacks=lacking.message if lacking else "",
        hint=lacking.hint if lacking else "",
        data=data.name if data else "",
        tokens=tokens,
        steps=steps(recipe, data) if data else None,
        memory_gib=sum(parts.values()) if parts else None,
        parts_gib=parts,
        options=tuple(
            sorted(options, key=lambda one: (not one.priced, not one.fits, one.on_demand_cost or one.on_demand_price or math.inf))
        ),
    )


def option(
    kind: InstanceType,
    recipe: Recipe,
    size: ModelSize | None,
    tokens: int | None,
    on_demand: Mapping[str, prices.Price],
    spot: Mapping[tuple[str, str], float],
    *,
    preferred: bool = False,
) -> Option:
    """One type judged: does it fit, how long, how much."""
    reason = rejection(kind, spread(kind, recipe, size)) if size else ""
    duration = hours(kind, recipe, size, tokens) if size and tokens and not reason else None
    price = on_demand.get(kind.name)
    cheapest = min((dollars for (name, _), dollars in spot.items() if name == kind.name), default=None)
    note = "fp16, no bf16" if kind.gpu in NO_BF16 else ""
    return Option(
        instance_type=kind.name,
        gpu=kind.gpu,
        gpus=kind.gpus,
        gpu_memory_gib=round(kind.gpu_memory_gib, 1),
        fits=not reason,
        reason=reason or note,
        hours=duration,
        on_demand_price=price.dollars if price else None,
        spot_price=cheapest if kind.spot else None,
        approximate=bool(price and price.approximate),
        on_demand_cost=duration * price.dollars if duration and price else None,
        spot_cost=duration * cheapest if duration and cheapest and kind.spot else None,
        preferred=preferred,
    )


def rejection(kind: InstanceType, parts: Mapping[str, float]) -> str:
    """Why a type has too little memory, or "" when it fits or nobody knows."""
    needed = sum(parts.values())
    if needed > kind.gpu_memory_gib * ROOM:
        largest = max(parts, key=lambda part: parts[part])
        return f"needs {needed:.1f} GiB, has {kind.gpu_memory_gib:.0f}; most of it {largest}"
    return ""


def memory(recipe: Recipe, size: ModelSize, over: int = 1) -> dict[str, float]:
    """GiB on one GPU by what takes it; `over` is the number of GPUs that one copy of the model is spread over."""
    return {name: taken / GIB for name, taken in footprint.parts(recipe, size, over=over).items()} | {"CUDA": CONTEXT_GIB}


def spread(kind: InstanceType, recipe: Recipe, size: ModelSize) -> dict[str, float]:
    """`memory` on this type: a copy on each GPU where one fits, else one copy over all of them, as the trainer does it.

    4-bit weights are never divided.
    """
    parts = memory(recipe, size)
    if kind.gpus > 1 and recipe.method != "qlora" and (recipe.parallel == "fsdp" or (recipe.parallel == "auto" and rejection(kind, parts))):
        return memory(recipe, size, kind.gpus)
    return parts


def hours(kind: InstanceType, recipe: Recipe, size: ModelSize, tokens: int) -> float | None:
    """Instance hours over all epochs, start included; None for a GPU of unknown speed."""
    peak = gpus.teraflops(kind.gpu)
    if not peak:
        return None
    passes = (
        (6 if recipe.method == "full" else 4)
        + (0 if recipe.gradient_checkpointing is False else 2)
        + (2 if recipe.objective == "dpo" else 0)
    )
    seconds = passes * size.parameters * tokens * recipe.epochs / (peak * 1e12 * REACHED * kind.gpus)
    return START_HOURS + seconds / 3600


def data_tokens(data: Manifest) -> int | None:
    """Tokens of one epoch, as validation counted or estimated them; a quarter of the bytes when it did not."""
    for key in ("tokens", "total_tokens", "estimated_tokens"):
        value = data.facts.get(key)
        if isinstance(value, dict):
            value = value.get("total") or value.get("sum")
        if isinstance(value, int | float) and value > 0:
            return int(value)
    return sum(one.size for one in data.files) // 4 or None


def steps(recipe: Recipe, data: Manifest) -> int | None:
    """Optimizer steps of the whole training on one GPU, or None when the manifest counts no examples."""
    if recipe.max_steps:
        return recipe.max_steps
    examples = data.facts.get("examples")
    if not isinstance(examples, int) or not examples:
        return None
    return max(1, round(-(-examples // recipe.step_examples) * recipe.epochs))


def asked_types(aws: Aws, names: Sequence[str]) -> list[InstanceType]:
    """The types of these names; every usable one of the region when there are none."""
    return list(instance_types.describe(aws, names).values()) if names else instance_types.usable(aws)
