"""How much memory a training takes, and what takes it: arithmetic over a recipe and a model's shape, without a weight or a library.

The estimate before a run and the trainer's own explanation of what filled the memory are this one sum. It is held to what torch really
keeps for the backward pass in `tests/trainer/test_memory.py`, and as a whole to the most that a real step has alive at once in
`tests/trainer/test_memory_peak.py`: 28 cases on the sandbox's model and a wider one, 12 % below to 10 % above.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmlab.recipe import Recipe

CHUNK = 512
"""Positions whose logits are in memory at once."""
TRLS_POSITIONS, TRLS_WORDS = 4096, 32_768
"""A tile of TRL's logits: `TOKEN_CHUNK_SIZE` in trl 1.16's kernels/chunked_logprob, `_CHUNKED_LOGPROB_CHUNK_SIZE` in trainer/utils."""
FOUR_BITS = 0.55
"""Bytes a weight of NF4 takes with its constants, doubly quantised (arXiv 2305.14314, section 3)."""
EXPERTS_IN_16_BITS = "method qlora does not fit {model}: it is a mixture of experts, and 4 bits leave the experts in 16"
"""bitsandbytes 0.50 quantises matrices, and transformers 5 holds the experts of a layer as one tensor of three dimensions."""
IN_8_BITS = 2 * (1 + 4 / 256)
MOMENTS = {"adamw": 8.0, "adamw_8bit": IN_8_BITS, "paged_adamw_8bit": IN_8_BITS, "paged_adamw_32bit": 8.0}
"""Bytes of AdamW's two moments of a weight, by the recipe's optimizer; bitsandbytes has 8 bits and, for each 256 of them, a scale of 32.
Pages count as if they stayed on the GPU, which they do until it is full."""


@dataclass(frozen=True)
class Shape:
    """A decoder-only transformer in numbers. Widths in elements: of queries and of keys (each head's size x their number)."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    inner: int
    query: int
    pairs: int
    embeddings: int
    """Weights of the input embedding and the head, which quantisation leaves alone."""
    experts: int = field(default=1, kw_only=True)
    """Experts of each layer; 1 where a layer is not a mixture."""
    expert: int = field(default=0, kw_only=True)
    """Inner width of one expert; 0 where a layer is not a mixture."""
    converted: bool = field(default=False, kw_only=True)
    """Whether PEFT puts all-linear's adapters on the experts and their router too."""
    fused: bool = field(default=False, kw_only=True)
    """Whether the trainer puts its fused norms and gates, which keep less, in the places of the model's."""

    def width(self, module: str) -> int:
        """Inputs plus outputs of a linear module; two times hidden for a name that is not one of the usual."""
        return {
            "q_proj": self.hidden + self.query,
            "k_proj": self.hidden + self.pairs,
            "v_proj": self.hidden + self.pairs,
            "o_proj": self.query + self.hidden,
            "gate_proj": self.hidden + self.inner,
            "up_proj": self.hidden + self.inner,
            "down_proj": self.inner + self.hidden,
        }.get(module, 2 * self.hidden)


FUSED = frozenset({"llama", "ministral", "ministral3", "mistral", "qwen2", "qwen3", "granite", "smollm3"})
"""Architectures in which every norm and gate is replaced, as `tests/trainer/test_memory.py` sees. There are more, counted as they are."""

CONVERTED = frozenset({
    "afmoe", "cohere2_moe", "deepseek_v2", "deepseek_v3", "dots1", "ernie4_5_moe", "exaone_moe", "flex_olmo", "glm4_moe", "hunyuan_v1_moe",
    "minimax", "minimax_m2", "mixtral", "olmoe", "qwen3_moe", "qwen3_next",
})  # fmt: skip
"""Mixtures whose experts were matrices of their own before transformers 5. PEFT puts an adapter on what holds them now, of twice the
rank where two were made one: `_convert_peft_config_moe` of peft 0.21, utils/transformers_weight_conversion.py."""

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What all-linear means for the usual decoder."""


EXPERTS = ("gate_proj", "up_proj", "down_proj")
"""Those of `LINEAR` that a mixture holds as parameters instead."""


def shape(config: Mapping[str, Any]) -> Shape | None:
    """The shape by the fields that Hugging Face's configurations share; None for an architecture without them."""
    facts: Mapping[str, Any] = config.get("text_config") or config
    try:
        hidden, layers, vocabulary = int(facts["hidden_size"]), int(facts["num_hidden_layers"]), int(facts["vocab_size"])
    except (KeyError, TypeError, ValueError):
        return None
    heads = int(facts.get("num_attention_heads") or 1)
    head = int(facts.get("head_dim") or hidden // heads)
    pairs = int(facts.get("num_key_value_heads") or heads)
    inner = int(facts.get("intermediate_size") or 4 * hidden)
    count = experts(config)
    expert = int(facts.get("moe_intermediate_size") or inner) if count > 1 else inner
    active = int(facts.get("num_experts_per_tok") or 1) if count > 1 else 1
    attention = hidden * head * (2 * heads + 2 * pairs)
    tied = facts.get("tie_word_embeddings", config.get("tie_word_embeddings", False))
    embeddings = vocabulary * hidden * (1 if tied else 2)
    parameters = embeddings + layers * (attention + 3 * hidden * expert * count + 2 * hidden) + hidden
    widths = (expert * active, heads * head, pairs * head)
    fused = facts.get("model_type", config.get("model_type")) in FUSED
    converted = facts.get("model_type", config.get("model_type")) in CONVERTED
    return Shape(
        parameters, layers, hidden, vocabulary, *widths, embeddings,
        experts=count, expert=expert if count > 1 else 0, converted=converted, fused=fused,
    )  # fmt: skip


def experts(config: Mapping[str, Any]) -> int:
    """How many experts a layer has, by the names that Hugging Face's configurations have for it; 1 without any."""
    facts: Mapping[str, Any] = config.get("text_config") or config
    names = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_moe_experts")
    counts = [count for name in names if isinstance(count := facts.get(name), int)]
    return max([1, *counts])


def parts(recipe: Recipe, shape: Shape, *, checkpointing: bool | None = None, over: int = 1) -> dict[str, float]:
    """Bytes on one GPU by what takes them; `over` is the number of GPUs that weights and optimizer are spread over.

    Weights: 2 bytes each (4 in fp32), in 4 bits with their constants for qlora; for full the half-precision copies that autocast makes of
    the 32-bit ones, and with dpo and kto a frozen copy to compare with. Trained weights: `state` bytes each. Activations: see
    `activations`, and a fused gate's gradient while its inputs are still there. Loss head: one chunk of positions by the vocabulary. With
    `checkpointing` None the recipe's own word holds, and auto counts as on, the least that the training needs.
    """
    kind = element(recipe)
    quantised = shape.parameters - shape.embeddings if recipe.method == "qlora" else 0
    weights = quantised * FOUR_BITS + (shape.parameters - quantised) * kind
    if recipe.method == "full":
        weights = (shape.parameters - shape.embeddings) * kind if kind < 4 else 0
    recomputed = recipe.gradient_checkpointing is not False if checkpointing is None else checkpointing
    slope = row_tokens(recipe) * shape.inner * kind if shape.fused and not recipe.by_trl else 0
    reference = 4 * shape.parameters if recipe.objective in {"dpo", "kto"} and recipe.method == "full" else 0
    added = adapted_experts(recipe, shape, checkpointing=recomputed)
    taken = {
        "weights": (weights + reference) / over,
        "gradients and optimizer": trained(recipe, shape) * state(recipe) / over,
        "activations": activations(recipe, shape, row_tokens(recipe), checkpointing=recomputed) + slope,
        "loss head": loss_head(recipe, shape, row_tokens(recipe)),
        **({"adapted experts": added} if added else {}),
    }
    if recipe.objective == "grpo":  # generation ends before the forward pass of a step, which has its memory again
        taken["generation"] = max(0.0, generation(recipe, shape) - taken["activations"] - taken["loss head"])
    return taken


def generation(recipe: Recipe, shape: Shape) -> float:
    """Bytes that transformers takes while it makes the completions of a step, all of them at once.

    Keys and values of every token in every layer; of each sequence's next token the logits, and what sampling makes of them in 32 bits
    (scaled, sorted and as probabilities); one layer in full over all prompts, as they are read. Held to no measurement on a GPU.
    """
    kind = element(recipe)
    sequences = recipe.batch_size * recipe.accumulate
    cache = sequences * recipe.max_length * shape.layers * 2 * shape.pairs * kind
    logits = sequences * shape.vocabulary * (kind + 3 * 4)
    prompts = sequences * (recipe.max_length - recipe.grpo.max_completion_length)
    return float(cache + logits + prompts * (3 * shape.hidden + 2 * shape.inner + shape.query + 2 * shape.pairs) * kind)


def element(recipe: Recipe) -> int:
    """Bytes of a number in the forward pass on a GPU."""
    return 4 if recipe.precision == "fp32" else 2


def row_tokens(recipe: Recipe) -> int:
    """The most tokens of one forward pass; a preference is two sequences."""
    return recipe.batch_size * recipe.max_length * (2 if recipe.objective == "dpo" else 1)


def state(recipe: Recipe) -> float:
    """Bytes a trained weight takes: itself, its gradient and AdamW's two moments; the first two in 32 bits."""
    return 8 + MOMENTS[recipe.optimizer]


def trained(recipe: Recipe, shape: Shape) -> int:
    """Weights that are trained: all, or the adapter's, `rank x (inputs + outputs)` for each module it is put on."""
    if recipe.method == "full":
        return shape.parameters
    targets = LINEAR if recipe.lora.targets == "all-linear" else recipe.lora.targets
    magnitudes = sum(shape.width(name) for name in targets) // 2 if recipe.lora.dora else 0
    if shape.expert and recipe.lora.targets == "all-linear":
        targets = tuple(name for name in LINEAR if name not in EXPERTS)
    widths = sum(shape.width(name) for name in targets) + experts_widths(recipe, shape)
    return shape.layers * (widths * recipe.lora.rank + magnitudes) + sum(whole(name, shape) for name in recipe.lora.modules_to_save)


def whole(module: str, shape: Shape) -> int:
    """Weights of a module that learns whole: the embedding's or the head's, else a norm's of each layer."""
    return shape.vocabulary * shape.hidden if module in {"embed_tokens", "lm_head"} else shape.layers * shape.hidden


def adapted_experts(recipe: Recipe, shape: Shape, *, checkpointing: bool) -> float:
    """Bytes of the experts with their adapters added, which is how PEFT has them compute, and of the gradient of one layer's."""
    if recipe.method == "full" or not experts_widths(recipe, shape):
        return 0.0
    layer = shape.experts * 3 * shape.hidden * shape.expert * element(recipe)
    return float(layer * ((1 if checkpointing else shape.layers) + 1))


def experts_widths(recipe: Recipe, shape: Shape) -> int:
    """Inputs and outputs of a layer's experts that get an adapter, times their number, and twice where PEFT's has twice the rank."""
    into, out = shape.hidden + 2 * shape.expert, shape.expert + shape.hidden
    if shape.converted and recipe.lora.targets == "all-linear":
        return shape.experts * (2 * into + out) + shape.hidden + shape.experts
    known = {"gate_up_proj": into, "down_proj": out}
    return shape.experts * sum(known.get(name.rpartition(".")[2], into) for name in recipe.lora.target_parameters if shape.expert)


def activations(recipe: Recipe, shape: Shape, tokens: int, *, checkpointing: bool, kind: int | None = None) -> float:
    """Bytes kept for the backward pass of `tokens` tokens in one row, `kind` bytes a number.

    With checkpointing each layer's input, and one layer in full while it is recomputed; without, every layer in full.
    """
    kind = kind or element(recipe)
    layer = of_layer(recipe, shape, kind)
    ends = shape.hidden * (4 + 2 * kind)
    if checkpointing:
        return float(tokens * (shape.layers * shape.hidden * kind + layer + ends))
    return float(tokens * (shape.layers * layer + ends))


def of_layer(recipe: Recipe, shape: Shape, kind: int) -> float:
    """Bytes that one layer keeps of one token.

    The two norms keep their input in 32 bits, a trained norm what it scales too. The linear modules keep their inputs: in 32 bits the
    queries', keys' and values' is one tensor, under autocast each has a copy of its own. Attention keeps queries, keys, values and what it
    gave (with flash-like kernels, so nothing quadratic); the feed-forward part the gate, its activation, the other factor and the product.
    Adapters keep their inner values, and under dropout what was dropped of their inputs.

    """
    if shape.fused and not recipe.by_trl:  # TRL's trainers have the model as it is
        return _of_fused_layer(recipe, shape, kind)
    inputs = 6 * shape.hidden
    dropped = recipe.method != "full" and recipe.lora.dropout > 0
    kept = 8 * shape.hidden
    kept += (inputs if kind < 4 or dropped else 2 * shape.hidden) * kind
    kept += (2 * shape.query + 2 * shape.pairs + 4 * shape.inner) * kind
    if recipe.method == "full":
        return kept + 8 * shape.hidden
    kept += len(LINEAR) * recipe.lora.rank * kind
    return kept + (4 * (inputs + shape.inner) if dropped else 0)


def _of_fused_layer(recipe: Recipe, shape: Shape, kind: int) -> float:
    """Bytes that one layer with the trainer's own norms and gates keeps of one token.

    A norm keeps its input as it comes, which full training has in 32 bits, and a gate no activation. Between a frozen model's modules
    nothing is copied; what is dropped of an adapter's input is kept with its mask.
    """
    kept = (2 * shape.query + 2 * shape.pairs + 3 * shape.inner) * kind
    if recipe.method == "full":
        return kept + 8 * shape.hidden + (6 if kind < 4 else 2) * shape.hidden * kind
    kept += (2 * shape.hidden + len(LINEAR) * recipe.lora.rank) * kind
    return kept + ((kind + 1) * (6 * shape.hidden + shape.inner) if recipe.lora.dropout > 0 else 2 * shape.hidden * kind)


def loss_head(recipe: Recipe, shape: Shape, tokens: int) -> float:
    """Bytes of one chunk's logits in 32 bits and, in half precision, of their gradient; the gradient of a trained head beside them.

    TRL's trainers have one buffer for a tile of the logits, as large for a small vocabulary as for a large one.
    """
    kind = element(recipe)
    learns = recipe.method == "full" or "lm_head" in recipe.lora.modules_to_save
    if recipe.by_trl:
        chunk = min(TRLS_POSITIONS, tokens) * TRLS_WORDS * kind
    else:
        chunk = min(CHUNK, tokens) * shape.vocabulary * (4 + (kind if kind < 4 else 0))
    return chunk + (4 * shape.vocabulary * shape.hidden if learns else 0)
