"""Estimates of a recipe on an instance type before anything has run there: memory of one GPU, tokens a second, hours.

Memory: weights + optimizer + activations + loss head + CUDA context, per GPU; see each term in `llmlab.footprint`.
Time: 6 floating-point operations a parameter and token for a full step (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), of which a
LoRA step saves the weight gradients (2) and checkpointing adds a second forward (2), at the share of the GPU's peak that such trainings
reach; DPO adds the reference's forward (2), KTO three (6). Both are estimates: what a run has measured takes their place
(`llmlab.ops.throughput_history`).
"""

from collections.abc import Mapping

from llmlab import footprint, gpus
from llmlab.aws.instance_types import InstanceType
from llmlab.contract import Manifest
from llmlab.dataset.lengths import fitting
from llmlab.dataset.report import TEMPLATE
from llmlab.ops.model_size import ModelSize
from llmlab.recipe import Recipe

GIB = 1024**3
REACHED = 0.3
"""The share of the peak that adapter training with gradient checkpointing reaches."""
UNPACKING = 1.39
"""Factor by which a step is slower whose weights are held in 4 bits. https://lightning.ai/pages/community/lora-insights/"""
PADDED = 1.85
"""How many times slower TRL's trainers are without packing: medians on a CPU, 787 tokens/s against 1,454 with it. Not measured on a GPU."""
BESIDE = {"dpo": 1, "kto": 3}
"""Forward passes beside the training's own: in DPO one, by the reference model; in KTO three, by the model and the reference."""
LAYER_SECONDS = 0.001
"""Seconds for the kernels of one layer, launched from Python: some 30 tokens a second for the 28 layers of a 1.5B model, on any GPU."""
PRODUCTS_PER_BYTE = 300
"""How many 16-bit products a GPU makes in the time in which it reads a byte: 117 (A10G) to 419 (L40S), by NVIDIA's data sheets."""
NO_BF16 = {"T4", "V100"}
CONTEXT_GIB = 1.5
ROOM = 0.95
"""The share of a GPU's memory a training may fill."""
START_HOURS = 0.15
"""Boot, image pull and model download: about nine minutes."""


def rejection(kind: InstanceType, parts: Mapping[str, float]) -> str:
    """Why a type has too little memory, or "" when it fits or nobody knows."""
    needed = sum(parts.values())
    if needed > kind.gpu_memory_gib * ROOM:
        return f"needs {needed:.1f} GiB, has {kind.gpu_memory_gib:.0f}"
    return ""


def several(kind: InstanceType, recipe: Recipe) -> str:
    """Why a type has too many GPUs, or "": TRL's trainers train on one, and the others would be paid for and idle."""
    if not recipe.by_trl or recipe.device == "cpu" or kind.gpus <= 1:
        return ""
    return f"has {kind.gpus} GPUs, and TRL's trainers train on one here"


def memory(recipe: Recipe, size: ModelSize, over: int = 1, *, checkpointing: bool | None = None) -> dict[str, float]:
    """GiB of memory on one GPU by what takes it; `over` is the number of GPUs that one copy of the model is sharded over."""
    parts = footprint.parts(recipe, size, over=over, checkpointing=checkpointing)
    return {name: taken / GIB for name, taken in parts.items()} | {"CUDA": CONTEXT_GIB}


def spread(kind: InstanceType, recipe: Recipe, size: ModelSize, *, checkpointing: bool | None = None) -> dict[str, float]:
    """`memory` on this instance type: a copy on each GPU where one fits, else one copy over all of them, as the trainer does it.

    4-bit weights and 8-bit moments are never sharded.
    """
    parts = memory(recipe, size, checkpointing=checkpointing)
    if (
        kind.gpus > 1
        and not recipe.by_trl
        and not recipe.whole_copies
        and (recipe.parallel == "fsdp" or (recipe.parallel == "auto" and rejection(kind, parts)))
    ):
        return memory(recipe, size, kind.gpus, checkpointing=checkpointing)
    return parts


def recomputes(kind: InstanceType, recipe: Recipe, size: ModelSize) -> bool:
    """Whether gradient checkpointing computes activations twice: as the recipe says, and with auto where they would not fit."""
    if recipe.gradient_checkpointing != "auto":
        return bool(recipe.gradient_checkpointing)
    return bool(rejection(kind, spread(kind, recipe, size, checkpointing=False)))


def tokens_per_second(kind: InstanceType, recipe: Recipe, size: ModelSize) -> float | None:
    """Training tokens a second of all GPUs together; None for a GPU of unknown speed. A step of few examples leaves GPUs idle."""
    peak = gpus.teraflops(kind.gpu)
    if not peak:
        return None
    beside = int(recipe.grpo.beta > 0) if recipe.objective == "grpo" else BESIDE.get(recipe.objective, 0)
    passes = (6 if recipe.method == "full" else 4) + (2 if recomputes(kind, recipe, size) else 0) + 2 * beside
    slower = (UNPACKING if recipe.method == "qlora" else 1.0) * (PADDED if recipe.by_trl else 1.0)
    if recipe.objective == "grpo":
        trained = passes * size.parameters * slower / (peak * 1e12 * REACHED)
        return 1 / (trained + next_token_seconds(peak, size) * slower / (recipe.batch_size * recipe.accumulate))
    return peak * 1e12 * REACHED * min(kind.gpus, recipe.step_examples) / (passes * size.parameters * slower)


def next_token_seconds(peak: float, size: ModelSize) -> float:
    """Seconds that transformers takes to generate the next token of all of a step's completions together.

    Python launches each layer's kernels, and every weight is read once, whatever the number of completions.
    https://github.com/huggingface/transformers/issues/43089 describes the first; nobody here has measured either.
    """
    return size.layers * LAYER_SECONDS + 2 * size.parameters * PRODUCTS_PER_BYTE / (peak * 1e12)


def uncertainty(recipe: Recipe) -> str:
    """A note on how uncertain the estimated hours of TRL's trainers are; "" for llmlab's own loop."""
    if not recipe.by_trl:
        return ""
    if recipe.objective != "grpo":
        what = f"objective {recipe.objective}" if recipe.objective == "kto" else "engine trl"
        return (
            f"the hours of {what} assume that batches are padded at the price that was measured on a CPU, {PADDED:g} times the work: take "
            "them as right within a factor of 2, until a run of this recipe has been measured"
        )
    return (
        f"the hours of objective grpo assume completions of {recipe.grpo.max_completion_length:,} tokens, the most the recipe allows, and "
        "transformers' generation as nobody has measured it here: take them and the memory of generation as right within a factor of 3, "
        "until a run of this recipe has been measured"
    )


def hours(tokens: float, per_second: float) -> float:
    """Instance hours for a training of so many tokens, start included."""
    return START_HOURS + tokens / per_second / 3600


def training_tokens(recipe: Recipe, data: Manifest) -> float | None:
    """Tokens of the whole training, or None when those of an epoch are not known."""
    epoch = data_tokens(data, recipe)
    if not epoch:
        return None
    items = data_items(data, recipe)
    if recipe.objective == "grpo":  # each prompt is read and answered several times
        epoch = recipe.completions * (epoch + (items or 0) * recipe.grpo.max_completion_length)
    if recipe.max_steps and items:
        return epoch * recipe.max_steps * recipe.step_examples / items
    return epoch * recipe.epochs


def data_tokens(data: Manifest, recipe: Recipe) -> int | None:
    """Tokens of one epoch, as validation counted or estimated them; a quarter of the bytes when it did not.

    Where a chat template was tried these are the tokens of all sequences that fit into the recipe's `max_length`.
    """
    if fit := _that_fit(data, recipe, "tokens_by_length"):
        return fit
    for key in ("tokens", "total_tokens", "estimated_tokens"):
        value = data.facts.get(key)
        if isinstance(value, dict):
            value = value.get("total") or value.get("sum")
        if isinstance(value, int | float) and value > 0:
            return int(value)
    return sum(file.size for file in data.files) // 4 or None


def steps(recipe: Recipe, data: Manifest) -> int | None:
    """Optimizer steps of the whole training on one GPU, or None when the manifest counts no examples."""
    if recipe.max_steps:
        return recipe.max_steps
    items = data_items(data, recipe)
    return max(1, round(-(-items // recipe.step_examples) * recipe.epochs)) if items else None


def data_items(data: Manifest, recipe: Recipe) -> int | None:
    """The items of one epoch that steps count: sequences where a template was tried (a conversation may make several), else examples."""
    if recipe.objective == "sft" and (fit := _that_fit(data, recipe, "sequences_by_length")):
        return fit
    examples = data.facts.get("examples")
    return examples if isinstance(examples, int) and examples else None


def _that_fit(data: Manifest, recipe: Recipe, key: str) -> int:
    """How many items of a count by length this recipe trains on; 0 where no template was tried."""
    template = data.facts.get(TEMPLATE)
    counts = template.get(key) if isinstance(template, dict) else None
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        return 0
    return fitting(counts, recipe.max_length) if recipe.too_long == "drop" else sum(counts.values())
