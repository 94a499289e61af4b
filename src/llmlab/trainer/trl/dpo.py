"""DPOTrainer: prefer the chosen answer to the rejected one."""

from collections.abc import Mapping, Sequence
from typing import Any

from trl import DPOConfig, DPOTrainer

from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.trl.objective import Batch, TrainerParts, TrlObjective, arguments, make, sequences
from llmlab.trainer.trl.stepping import Stepping


class SteppingDpo(Stepping, DPOTrainer):  # type: ignore[misc]
    """DPOTrainer on our steps."""

    def _prepare_dataset(self, dataset: Any, *_args: Any, **_options: Any) -> Any:
        """Nothing to prepare: our batches are tokens already. TRL's own name, held to the locked version by a test."""
        return dataset


class DpoObjective(TrlObjective):
    """Loss is the mean of the means over each batch's pairs."""

    row: Mapping[str, Any] = {"prompt_ids": [0], "chosen_ids": [0], "rejected_ids": [0]}

    def trainer(self, parts: TrainerParts) -> Stepping:
        # what the recipe says of dropout holds, and none is turned off behind its back
        settings = DPOConfig(**arguments(parts), beta=parts.recipe.dpo.beta, loss_type=["sigmoid"], disable_dropout=False)
        return make(SteppingDpo, settings, parts, self.row, ref_model=parts.reference)

    def batch(self, tokens: Tokens, items: Sequence[int]) -> Batch:
        both = [2 * item + side for side in (0, 1) for item in items]  # every chosen answer, then every rejected one
        ids, attention, spoken = sequences(tokens, both)
        return {"input_ids": ids, "attention_mask": attention, "completion_mask": spoken}

    def metrics(self, logs: Mapping[str, float]) -> dict[str, float | None]:
        return {"preference_accuracy": logs.get("rewards/accuracies"), "margin": logs.get("rewards/margins")}
