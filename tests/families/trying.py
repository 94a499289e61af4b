"""One family, one way: a tiny random model of it is made, trained for a few steps, and how that went is judged."""

import io
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmlab.contract import Env, TrainerExit
from tests.families import configs
from tests.trainer import work as folders

STEPS = 3
WAYS: dict[str, dict[str, Any]] = {
    "lora": {},
    "full": {"method": "full"},
    "qlora": {"method": "qlora", "precision": "bf16"},
    "dpo": {"objective": "dpo"},
    "checkpointed": {"gradient_checkpointing": True, "precision": "bf16"},
}
"""The recipe's fields of each way."""
TRAINED, REFUSED, WRONG = "trained", "refused", "wrong"


@dataclass(frozen=True)
class Ended:
    """How a training ended: `kind` is one of the three above; `words` the sentence of a refusal, or what is wrong."""

    family: str
    kind: str
    words: str = ""
    packed: bool = False
    log: str = ""


def families() -> list[str]:
    """All that transformers has as causal language models, without those that are too large or want more than a configuration."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return [family for family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if family not in configs.NOT_TRIED]


def make(folder: Path, family: str) -> Path:
    """A model folder of the family with the sandbox's tokenizer.

    Raises:
        AssertionError: no field makes it small.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from llmlab.sandbox.model import make_tokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = make_tokenizer(0)
        config = AutoConfig.for_model(**configs.fields(family, tokenizer))
        with torch.device("meta"):
            size = AutoModelForCausalLM.from_config(config).num_parameters()
        assert size < configs.LARGEST, f"{family} has {size:,} weights"
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def train(root: Path, model: Path, family: str, way: str) -> Ended:
    """Train a model folder by the real entry point."""
    from llmlab.trainer.__main__ import main

    recipe = {"max_steps": STEPS, "lora": {"rank": 4, "dropout": 0.0}, "evaluation": {"share": 0.2}, **WAYS[way]}
    work = folders.make(root, model, recipe=recipe, form="preference" if way == "dpo" else "messages")
    out = io.StringIO()
    code = main({Env.WORK: work.root}, None, out)
    log, ended = out.getvalue(), folders.outcome(work)
    if code == TrainerExit.COMPLETED:
        learned = [all(map(_is_number, row)) and row[2] > 0 for row in folders.losses(work)]
        if learned == [True] * STEPS:
            return Ended(family, TRAINED, packed="packing: on" in log, log=log)
        return Ended(family, WRONG, f"of {STEPS} steps {sum(learned)} learned", log=log)
    if code == TrainerExit.SETUP_FAILED and folders.hint(ended) and "\n" not in ended.detail and "step 1/" not in log:
        return Ended(family, REFUSED, reason(ended.detail), log=log)
    return Ended(family, WRONG, ended.detail, log=log)


def reason(detail: str) -> str:
    """A refusal without what is of the one model."""
    return re.sub(r"\d+", "N", detail.replace("lab:tiny", "MODEL"))


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
