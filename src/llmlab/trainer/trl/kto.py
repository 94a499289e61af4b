"""KTOTrainer: make answers that are labelled good likelier than what is usual, and those labelled bad less likely."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from trl import KTOConfig, KTOTrainer

from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.training.evaluate import Evaluated
from llmlab.trainer.trl.objective import Batch, TrainerParts, TrlObjective, arguments, make, padded, sequences
from llmlab.trainer.trl.stepping import Stepping


class SteppingKto(Stepping, KTOTrainer):  # type: ignore[misc]
    """KTOTrainer on our steps."""

    def _prepare_dataset(self, dataset: Any, *_args: Any, **_options: Any) -> Any:
        """Nothing to prepare: our batches are tokens already. TRL's own name, held to the locked version by a test."""
        return dataset


class KtoObjective(TrlObjective):
    """Loss is the mean of the means over each batch's answers.

    What is usual is measured on each question with the answer of the one before it in the batch, as TRL pairs them. TRL pairs them once, in
    the order of the data; here batches are shuffled by epoch, and so the pairs.
    """

    row: Mapping[str, Any] = {"prompt_ids": [0], "completion_ids": [0], "KL_completion_ids": [0], "label": True}

    def trainer(self, parts: TrainerParts) -> Stepping:
        chosen = parts.recipe.kto
        settings = KTOConfig(
            **arguments(parts),
            beta=chosen.beta,
            desirable_weight=chosen.desirable_weight,
            undesirable_weight=chosen.undesirable_weight,
            disable_dropout=False,
        )
        return make(SteppingKto, settings, parts, self.row, ref_model=parts.reference)

    def batch(self, tokens: Tokens, items: Sequence[int]) -> Batch:
        ids, attention, spoken = sequences(tokens, items)
        kl_ids, kl_attention, kl_mask = self._crossed(tokens, items)
        return {
            "input_ids": ids, "attention_mask": attention, "completion_mask": spoken,
            "KL_input_ids": kl_ids, "KL_attention_mask": kl_attention, "KL_completion_mask": kl_mask,
            "label": torch.tensor([bool(tokens.good[item]) for item in items]),
        }  # fmt: skip

    def _crossed(self, tokens: Tokens, items: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Each question with the answer of the item before it, the first with the last one's."""
        read = [tokens.sequence(item) for item in items]
        starts = [max(1, int(mask.argmax())) for _, mask in read]
        ids, spoken = [], []
        for at, ((question, _), start) in enumerate(zip(read, starts, strict=True)):
            (answer, mask), begins = read[at - 1], starts[at - 1]
            ids.append(np.concatenate([question[:start], answer[begins:]]))
            spoken.append(np.concatenate([np.zeros(start, np.uint8), mask[begins:]]))
        longest = self.recipe.max_length  # two halves of examples that fit may be one that does not
        ids, spoken = [row[:longest] for row in ids], [row[:longest] for row in spoken]
        return padded(ids), padded(np.ones(len(row)) for row in ids), padded(spoken)

    def evaluated(self, trainer: Stepping, batches: Iterator[Batch]) -> Evaluated:
        trainer.held_out = batches
        evaluation = trainer.evaluate()
        return Evaluated(float(evaluation["eval_loss"]), margin=evaluation.get("eval_rewards/margins"))

    def metrics(self, logs: Mapping[str, float]) -> dict[str, float | None]:
        return {
            "margin": logs.get("rewards/margins"),
            "reward_good": logs.get("rewards/chosen"),
            "reward_bad": logs.get("rewards/rejected"),
            "kl": logs.get("kl"),
        }
