"""How large a base model is: from the `config.json` of an uploaded model, else from its name, else not known.

No weights are downloaded and no torch is needed: the count follows from the shapes of a decoder-only transformer.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from llmlab import contract, footprint
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import model_prefix
from llmlab.footprint import Shape

VOCABULARY = 150_000
"""For models known by name alone: the larger vocabularies of today, so that the estimate is not too small."""
TIED = 4e9
"""Parameters under which today's models use one matrix for their embedding and their head."""
NAMED = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)\s*([bBmM])(?![A-Za-z0-9])")
MIXTURE = re.compile(r"-A\d+(\.\d+)?B\b|\b\d+x\d+B\b|mixtral|gpt-oss|-moe\b", re.IGNORECASE)
"""Names of mixtures of experts: parameters that are active beside all of them, experts by their size, and families."""


@dataclass(frozen=True)
class ModelSize(Shape):
    """The shape of a base model. `source` says where it is from, in words."""

    source: str


def of(aws: Aws, model: str, lab_model: str | None) -> ModelSize | None:
    """The size of a recipe's model: of an uploaded one by its `config.json`, of another by its name. None when neither tells."""
    if lab_model is None:
        return from_name(model)
    try:
        answer = aws.s3.get_object(Bucket=aws.names.data_bucket, Key=model_prefix(lab_model) + "config.json")
        return from_config(json.loads(contract.body(answer, contract.DOCUMENT_BYTES)))
    except (NotFound, ValueError, RecursionError):
        return None


def from_config(config: Mapping[str, Any]) -> ModelSize | None:
    """The size by the fields that Hugging Face's configurations share; None for an architecture without them."""
    shape = footprint.shape(config)
    return ModelSize(**asdict(shape), source="its config.json") if shape else None


def from_name(model: str) -> ModelSize | None:
    """The size that a name such as `Qwen/Qwen2.5-1.5B-Instruct` tells, with the usual shape of a model of that size."""
    sizes = NAMED.findall(model.rsplit("/", 1)[-1].replace("-", " ").replace("_", " "))
    if not sizes:
        return None
    number, unit = sizes[-1]
    parameters = int(float(number) * (1e9 if unit in "bB" else 1e6))
    count = 2 if MIXTURE.search(model) else 1
    layers = max(12, min(80, round(6.5 * math.log2(max(parameters / 1e8, 2)))))
    hidden = 128 * max(4, round(math.sqrt(parameters / (12 * layers)) / 128))
    return ModelSize(
        parameters,
        layers,
        hidden,
        VOCABULARY,
        inner=int(3.2 * hidden),
        query=hidden,
        pairs=hidden // 4,
        embeddings=VOCABULARY * hidden * (1 if parameters < TIED else 2),
        experts=count,
        source="its name",
    )
