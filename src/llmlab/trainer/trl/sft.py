"""SFTTrainer: say what the assistant says."""

from collections.abc import Mapping, Sequence

from trl import SFTConfig, SFTTrainer

from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.trl.objective import Batch, TrainerParts, TrlObjective, arguments, make, sequences
from llmlab.trainer.trl.stepping import Stepping


class SteppingSft(Stepping, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer on our steps."""


class SftObjective(TrlObjective):
    """Loss is the mean over all tokens of a step that carry it."""

    def trainer(self, parts: TrainerParts) -> Stepping:
        settings = SFTConfig(**arguments(parts), dataset_kwargs={"skip_prepare_dataset": True})
        return make(SteppingSft, settings, parts, self.row)

    def batch(self, tokens: Tokens, items: Sequence[int]) -> Batch:
        ids, attention, spoken = sequences(tokens, items)
        return {"input_ids": ids, "attention_mask": attention, "labels": ids.masked_fill(spoken == 0, -100)}

    def metrics(self, logs: Mapping[str, float]) -> dict[str, float | None]:
        return {"token_accuracy": logs.get("mean_token_accuracy")}
