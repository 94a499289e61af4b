"""What TRL's objectives have in common: how a trainer of theirs is made, and what a batch of it holds.

An objective is one class: the trainer's class and its own settings, how sequences become a batch, and which of TRL's numbers go into the
metrics. Data come as token ids with our masks, so that TRL renders, cuts and tokenises nothing.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmlab.recipe import Recipe
from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.device import Device
from llmlab.trainer.training.evaluate import Evaluated
from llmlab.trainer.training.sampler import StepBatch
from llmlab.trainer.trl.stepping import Stepping

Batch = dict[str, Any]
OF_THE_START = "ref"
"""The name of the copy that TRL makes of an adapter as its reference. It is deleted: in a training that resumes it would be a copy of what
was learned before, while the model without its adapter is what it was before the first step."""


@dataclass(frozen=True)
class TrainerParts:
    """The arguments of a trainer of TRL's. `reference` is None where the model without its adapter is the reference."""

    recipe: Recipe
    device: Device
    model: Any
    reference: Any
    tokenizer: Any
    optimizer: torch.optim.Optimizer
    folder: Path
    """TRL's output folder, within the work folder; nothing in it is kept."""
    steps: int
    """Optimizer steps that are left."""


class TrlObjective:
    """One objective of TRL's. `tokens` are what it trains on."""

    row: Mapping[str, Any] = {"input_ids": [0], "labels": [0]}
    """Stands for the data where TRL looks at the first row; the batches come from us."""

    def __init__(self, recipe: Recipe, tokens: Tokens) -> None:
        self.recipe, self.tokens = recipe, tokens

    def trainer(self, parts: TrainerParts) -> Stepping:
        """The trainer, before its first step."""
        raise NotImplementedError

    def batch(self, tokens: Tokens, items: Sequence[int]) -> Batch:
        """Some items as the batch that the trainer's `compute_loss` reads."""
        raise NotImplementedError

    def metrics(self, logs: Mapping[str, float]) -> dict[str, float | None]:
        """TRL's numbers of a step under the names of ours."""
        raise NotImplementedError

    def evaluated(self, trainer: Stepping, batches: Iterator[Batch]) -> Evaluated | None:  # noqa: ARG002 - what others need
        """The evaluation of held-out batches by TRL; None where llmlab's own evaluation does it."""
        return None

    def counted(self, step: StepBatch, _items: Sequence[int], _logs: Mapping[str, float]) -> tuple[int, int]:
        """A step's tokens, and those of them that carry loss."""
        return step.tokens, step.trained

    def note(self, _step: StepBatch, _logs: Mapping[str, float]) -> str:
        """A message about a step, "" for none."""
        return ""

    def begun(self) -> tuple[str, ...]:
        """Messages before the first step, a line each."""
        return ()

    def ended(self) -> str:
        """A message about the training when it ends, "" for none."""
        return ""

    def close(self) -> None:
        """End what the objective has started; the training is over."""

    def batches(self, tokens: Tokens, items: Sequence[int]) -> Iterator[Batch]:
        """Batches of the items in order, at most `batch_size` each and nearly alike, so that the mean of their means is nearly the mean.

        So a step has no batch of one example as long as it has another, which KTO could compare with itself alone.
        """
        count = math.ceil(len(items) / self.recipe.batch_size)
        edges = [len(items) * at // count for at in range(count + 1)]
        return (self.batch(tokens, items[start:end]) for start, end in pairwise(edges))


def arguments(parts: TrainerParts) -> dict[str, Any]:
    """The arguments of every trainer: the recipe in TRL's terms, and nothing that saves, reports or sends by itself.

    To the trainer a batch is a whole step, so it accumulates none (`Stepping`).
    """
    recipe, device = parts.recipe, parts.device
    return {
        "output_dir": str(parts.folder), "max_steps": parts.steps, "seed": recipe.seed,
        "per_device_train_batch_size": recipe.batch_size, "per_device_eval_batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate, "weight_decay": recipe.weight_decay, "max_grad_norm": recipe.max_grad_norm,
        "use_cpu": device.kind == "cpu", "bf16": device.dtype == "bfloat16", "fp16": device.dtype == "float16",
        "gradient_checkpointing": False,  # it is on already where it helps
        "max_length": None,  # what is too long was left out or split, and said
        "save_strategy": "no", "eval_strategy": "no", "report_to": "none", "push_to_hub": False, "disable_tqdm": True,
        "logging_strategy": "steps", "logging_steps": 1, "logging_nan_inf_filter": False, "remove_unused_columns": False,
    }  # fmt: skip


def make(kind: Any, settings: Any, parts: TrainerParts, row: Mapping[str, Any], **more: Any) -> Stepping:
    """A trainer of one of our classes with our optimizer, whose learning rate is set before each step."""
    from datasets import Dataset

    options = {"data_collator": _as_it_is} | more
    if options["data_collator"] is None:  # this trainer has one of its own
        del options["data_collator"]
    learning = {name: parameter.detach().clone() for name, parameter in parts.model.named_parameters() if parameter.requires_grad}
    trainer: Stepping = kind(
        model=parts.model,
        args=settings,
        train_dataset=Dataset.from_list([dict(row)]),
        processing_class=parts.tokenizer,
        optimizers=(parts.optimizer, torch.optim.lr_scheduler.LambdaLR(parts.optimizer, lambda _step: 1.0)),
        **options,
    )
    if OF_THE_START in getattr(parts.model, "peft_config", {}):
        parts.model.delete_adapter(OF_THE_START)
    for name, parameter in parts.model.named_parameters():
        if name in learning:
            parameter.data = learning[name]  # over 4 bits TRL makes 16 of what learns, in which a small step is lost
    return trainer


def padded(rows: Iterable[np.ndarray[Any, Any]], fill: int = 0) -> Tensor:
    """Rows under each other, padded on the right to the longest; int64."""
    every = list(rows)
    table = np.full((len(every), max(len(row) for row in every)), fill, np.int64)
    for at, row in enumerate(every):
        table[at, : len(row)] = row
    return torch.from_numpy(table)


def sequences(tokens: Tokens, numbers: Iterable[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and loss mask of some sequences, each (sequences, longest)."""
    read = [tokens.sequence(number) for number in numbers]
    spoken = [mask.copy() for _, mask in read]
    for mask in spoken:
        mask[:1] = 0  # nothing comes before a sequence's first token, so nothing can predict it
    return padded(ids for ids, _ in read), padded(np.ones(len(ids)) for ids, _ in read), padded(spoken)


def _as_it_is(batch: Any) -> Any:
    return batch
