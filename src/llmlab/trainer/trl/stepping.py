"""A mixin by which a trainer of TRL's takes our steps: it overrides public methods of transformers' Trainer alone.

To the trainer, a batch is all of a step's batches together. So it counts steps as we do, also where an epoch's last one is short, and goes
on at any step without reading the data before it. Within a step it does what it would do while it accumulates: each batch forward and
backward, its loss divided by their number where TRL divides.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from transformers import Trainer

Steps = Callable[[], Iterator[list[dict[str, Any]]]]


class Stepping(Trainer):  # type: ignore[misc] # transformers is looked into by nobody
    """Comes before the class of TRL's that it is mixed into.

    Attributes:
        steps: the batches of each step that is left.
        weigh: called with the loss of a step before the weights move; raises where they must not.
        held_out: the batches of an evaluation.
    """

    steps: Steps
    weigh: Callable[[float], object]
    held_out: Iterable[dict[str, Any]] = ()

    def get_train_dataloader(self) -> Any:
        """Our batches: as it has no length, the trainer takes `max_steps` of it."""
        return self.steps()

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:  # noqa: ARG002 - Trainer's own signature
        """Our held-out batches."""
        return self.held_out

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:  # noqa: ARG002
        """A step's batches as one, and how many tokens carry loss in all of them."""
        batches = next(epoch_iterator, None)
        if batches is None:
            return [], None
        whole, items = super().get_batch_samples(iter(batches), len(batches), device)
        return [whole], items

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Each batch of a step forward and backward; the step's loss."""
        self.current_gradient_accumulation_steps = len(inputs)
        losses = [super(Stepping, self).training_step(model, batch, num_items_in_batch) for batch in inputs]
        whole = torch.stack(losses).sum()
        self.weigh(float(whole))
        return whole

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002 - Trainer's own signature
        """Not counted here: `Speed` does."""
        return 0
