"""How large a base model is: from the `config.json` of an uploaded model, else from its name, else not known.

No weights are downloaded and no torch is needed: the count follows from the shapes of a decoder-only transformer.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.aws.session import Aws, NotFound
from llmlab.contract import model_prefix

VOCABULARY = 150_000
"""For models known by name alone: the larger vocabularies of today, so that the estimate is not too small."""
NAMED = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)\s*([bBmM])(?![A-Za-z0-9])")


@dataclass(frozen=True)
class ModelSize:
    """`source` says where it is from, in words."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    source: str


def of(aws: Aws, model: str, lab_model: str | None) -> ModelSize | None:
    """The size of a recipe's model: of an uploaded one by its `config.json`, of another by its name. None when neither tells."""
    if lab_model is None:
        return from_name(model)
    try:
        text = aws.s3.get_object(Bucket=aws.names.data_bucket, Key=model_prefix(lab_model) + "config.json")["Body"].read()
        return from_config(json.loads(text))
    except (NotFound, ValueError):
        return None


def from_config(config: Mapping[str, Any]) -> ModelSize | None:
    """The size by the fields that Hugging Face's configurations share; None for an architecture without them."""
    facts: Mapping[str, Any] = config.get("text_config") or config
    try:
        hidden, layers, vocabulary = int(facts["hidden_size"]), int(facts["num_hidden_layers"]), int(facts["vocab_size"])
    except (KeyError, TypeError, ValueError):
        return None
    heads = int(facts.get("num_attention_heads") or 1)
    head = int(facts.get("head_dim") or hidden // heads)
    pairs = int(facts.get("num_key_value_heads") or heads)
    inner = int(facts.get("intermediate_size") or 4 * hidden)
    experts = int(facts.get("num_local_experts") or facts.get("num_experts") or 1)
    expert = int(facts.get("moe_intermediate_size") or inner) if experts > 1 else inner
    attention = hidden * head * (2 * heads + 2 * pairs)
    feed_forward = 3 * hidden * expert * experts
    embeddings = vocabulary * hidden * (1 if facts.get("tie_word_embeddings", config.get("tie_word_embeddings", False)) else 2)
    parameters = embeddings + layers * (attention + feed_forward + 2 * hidden) + hidden
    return ModelSize(parameters, layers, hidden, vocabulary, "its config.json")


def from_name(model: str) -> ModelSize | None:
    """The size that a name such as `Qwen/Qwen2.5-1.5B-Instruct` tells, with the usual shape of a model of that size."""
    found = NAMED.findall(model.rsplit("/", 1)[-1].replace("-", " ").replace("_", " "))
    if not found:
        return None
    number, unit = found[-1]
    parameters = int(float(number) * (1e9 if unit in "bB" else 1e6))
    layers = max(12, min(80, round(6.5 * math.log2(max(parameters / 1e8, 2)))))
    hidden = 128 * max(4, round(math.sqrt(parameters / (12 * layers)) / 128))
    return ModelSize(parameters, layers, hidden, VOCABULARY, "its name")
