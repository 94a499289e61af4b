"""Translates the names of TRL's and transformers' arguments in errors to the recipe's fields."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from llmlab.errors import LabError, one_line
from llmlab.recipe import Recipe
from llmlab.recipe.engines import TRL_ALONE
from llmlab.trainer import failures
from llmlab.trainer.failures import Failed, SetupFailed

FIELDS = {
    "per_device_train_batch_size": "batch_size",
    "per_device_eval_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    "num_train_epochs": "epochs",
    "lr_scheduler_type": "schedule",
    "warmup_ratio": "warmup",
    "target_modules": "lora.targets",
    "lora_dropout": "lora.dropout",
    "lora_alpha": "lora.alpha",
    "label_smoothing": "dpo.label_smoothing",
    "padding_free": "packing",
    "activation_checkpointing": "gradient_checkpointing",
    "bf16": "precision",
    "fp16": "precision",
    "optim": "optimizer",
    "use_cpu": "device",
    "num_generations": "grpo.num_generations",
    "max_completion_length": "grpo.max_completion_length",
    "generation_batch_size": "batch_size x accumulate",
    "steps_per_generation": "accumulate",
    "reward_funcs": "grpo.rewards",
    "reward_weights": "weights of grpo.rewards",
    "desirable_weight": "kto.desirable_weight",
    "undesirable_weight": "kto.undesirable_weight",
    "train_dataset": "the data",
}
"""What TRL, transformers and PEFT call a field, and what the recipe calls it."""
WORDS = re.compile(rf"`?\b(?:args\.)?({'|'.join(sorted(FIELDS, key=len, reverse=True))})\b`?(?:=\S+)?")


def translated(text: str, objective: str) -> str:
    """A sentence of theirs with the recipe's fields in it."""
    return WORDS.sub(lambda match: FIELDS[match[1]], text).replace("`beta`", f"{objective}.beta")


@contextmanager
def of_the_recipe(recipe: Recipe, *, begun: bool = False) -> Iterator[None]:
    """Context in which TRL's errors are raised anew in terms of the recipe's fields; `begun` is whether TRL has taken the recipe already.

    Raises:
        SetupFailed: TRL refuses the recipe.
        Failed: it refused something later.
    """
    try:
        yield
    except LabError:
        raise
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        if failures.is_out_of_memory(error):
            raise
        first = one_line(str(error)).partition(". ")[0].rstrip(".")
        sentence = f"TRL's trainer {'failed' if begun else 'refuses this'}: {translated(first, recipe.objective)}"
        hint = "" if recipe.objective in TRL_ALONE else "llmlab launch --set engine=own"
        raise (Failed if begun else SetupFailed)(sentence, hint) from error
