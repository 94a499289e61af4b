"""GRPOTrainer: earn rewards that can be checked. transformers generates, `rewards` says what the completions are worth.

TRL makes the completions of a whole step at once, cuts them into batches and learns from each, so that to us a step's first batch is its
prompts and the others are places alone. Prompts come as our tokens, with the template, date and tools that every objective has.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from trl import GRPOConfig, GRPOTrainer

from llmlab.recipe import Recipe
from llmlab.rewards.scoring import Group, RewardFailed, RewardLimits, Scorer
from llmlab.trainer.data.grpo_prompts import PromptRow
from llmlab.trainer.data.load_examples import Data
from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.failures import DataFailed
from llmlab.trainer.model.load import causal
from llmlab.trainer.training.evaluate import Evaluated
from llmlab.trainer.training.sampler import StepBatch
from llmlab.trainer.trl.objective import Batch, TrainerParts, TrlObjective, arguments, make
from llmlab.trainer.trl.stepping import Stepping

TRY = "llmlab validate data/"
"""Hint of failed rewards: with the recipe at hand this command tries them on the rows."""


class SteppingGrpo(Stepping, GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer on our steps. What is private of TRL here is held to the locked version by a test."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """A step: new completions with its first batch, and as many batches as it has."""
        self._step = 0
        self.args.steps_per_generation = len(inputs)
        return super().training_step(model, inputs, num_items_in_batch)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self.prompts = inputs
        return super()._generate_and_score_completions(inputs)

    def _tokenize_prompts(self, prompts: Any) -> Any:  # noqa: ARG002 - TRL's own signature
        """Our tokens of the prompts, instead of rendering them once more."""
        return [row["ids"] for row in self.prompts], None, {}


class Rewards:
    """The recipe's rewards, each a function as TRL calls one; all of them are computed together."""

    def __init__(self, recipe: Recipe, prompts: Sequence[PromptRow]) -> None:
        grpo = recipe.grpo
        self.prompts = prompts
        self.weights = [reward.weight for reward in grpo.rewards]
        self.scorer = Scorer([reward.asked() for reward in grpo.rewards], RewardLimits(grpo.reward_seconds, grpo.reward_memory_gib), TRY)
        self._scored: tuple[Any, list[list[float]]] | None = None

    def open(self) -> None:
        """Start the process that computes them.

        Raises:
            DataFailed: one cannot be loaded.
        """
        try:
            self.scorer.__enter__()
        except RewardFailed as error:
            raise DataFailed(error.message, error.hint) from error

    def close(self) -> None:
        self.scorer.close()

    @property
    def names(self) -> list[str]:
        """The name of each reward, numbered where several are alike."""
        names = [self.scorer.name(at) for at in range(len(self.weights))]
        return [f"{name} {at + 1}" if names.count(name) > 1 else name for at, name in enumerate(names)]

    def functions(self) -> list[Any]:
        """The functions that TRL calls, and whose names it logs."""
        return [self._function(at, name) for at, name in enumerate(self.names)]

    def _function(self, at: int, name: str) -> Any:
        def reward(*, completions: Any, row: Sequence[int], **_: Any) -> list[float]:
            if self._scored is None or self._scored[0] is not completions:
                self._scored = (completions, self.of(self.prompts, row, [_text(completion) for completion in completions]))
            return self._scored[1][at]

        reward.__name__ = name
        return reward

    def of(self, prompts: Sequence[PromptRow], rows: Sequence[int], texts: Sequence[str]) -> list[list[float]]:
        """Score texts: for each reward a number for each text; the texts of one prompt stand behind each other.

        Raises:
            DataFailed: a reward did not return a number; the row is named.
        """
        numbers: list[list[float]] = [[] for _ in self.weights]
        start = 0
        while start < len(rows):
            end = start + 1
            while end < len(rows) and rows[end] == rows[start]:
                end += 1
            prompt = prompts[rows[start]]
            completions = [prompt.completion(text) for text in texts[start:end]]
            try:
                scored = self.scorer.score(Group(prompt.prompt, completions, prompt.answer, prompt.columns, prompt.place))
            except RewardFailed as error:
                raise DataFailed(error.message, error.hint) from error
            for kept, more in zip(numbers, scored, strict=True):
                kept.extend(more)
            start = end
        return numbers


class GrpoObjective(TrlObjective):
    """Loss is TRL's own default (DAPO's): the advantage of each completion over its group, by token."""

    row: Mapping[str, Any] = {"prompt": "?", "row": 0, "ids": [0]}

    def __init__(self, recipe: Recipe, data: Data) -> None:
        super().__init__(recipe, data.train)
        self.data = data
        self.rewards = Rewards(recipe, data.prompts)
        self.groups = self.alike = 0
        """Groups so far, and those whose completions all got the same reward."""
        self.vain = 0
        """Steps of which nothing was learned."""

    def trainer(self, parts: TrainerParts) -> Stepping:
        grpo, recipe = self.recipe.grpo, self.recipe
        self.parts = parts
        self.rewards.open()
        settings = arguments(parts)
        del settings["max_length"]  # prompts that leave no room were left out
        config = GRPOConfig(
            **settings,
            num_generations=grpo.num_generations,
            max_completion_length=grpo.max_completion_length,
            temperature=grpo.temperature,
            beta=grpo.beta,
            reward_weights=self.rewards.weights,
            steps_per_generation=recipe.accumulate,
            disable_dropout=False,
        )
        return make(SteppingGrpo, config, parts, self.row, reward_funcs=self.rewards.functions(), data_collator=None)

    def close(self) -> None:
        self.rewards.close()

    def batches(self, tokens: Tokens, items: Sequence[int]) -> Iterator[Batch]:
        """Batches of a step: each prompt as often as it has completions, then empty ones for TRL to fill; of held-out items, prompts."""
        if tokens is self.data.held_out:
            size = self.recipe.batch_size
            for rows in (items[start : start + size] for start in range(0, len(items), size)):
                yield {"row": list(rows), "ids": [prompt_ids(tokens, row) for row in rows]}
            return
        step = [
            {"prompt": self.data.prompts[item].messages, "row": item, "ids": prompt_ids(tokens, item)}
            for item in items
            for _ in range(self.recipe.completions)
        ]
        fewest = -(-len(step) // self.recipe.batch_size)
        count = next(count for count in range(fewest, len(step) + 1) if len(step) % count == 0)
        yield step  # type: ignore[misc] # TRL's own batch is a list of rows
        yield from ({} for _ in range(count - 1))

    def counted(self, step: StepBatch, items: Sequence[int], logs: Mapping[str, float]) -> tuple[int, int]:
        """Prompts with their completions, and the completions alone."""
        completed = round(logs.get("completions/mean_length", 0.0) * step.items * self.recipe.completions)
        prompted = sum(len(prompt_ids(self.data.train, item)) for item in items) * self.recipe.completions
        return prompted + completed, completed

    def metrics(self, logs: Mapping[str, float]) -> dict[str, float | None]:
        several = len(self.rewards.weights) > 1
        each = {f"reward/{name}": logs.get(f"rewards/{name}/mean") for name in self.rewards.names} if several else {}
        return {
            "reward": logs.get("reward"),
            "reward_std": logs.get("reward_std"),
            **each,
            "groups_alike": logs.get("frac_reward_zero_std"),
            "kl": logs.get("kl"),
            "entropy": logs.get("entropy"),
            "completion_tokens": logs.get("completions/mean_length"),
            "completions_cut": logs.get("completions/clipped_ratio"),
        }

    def note(self, step: StepBatch, logs: Mapping[str, float]) -> str:
        """The warning about a step of which nothing was learned, at the first, the tenth and the hundredth such; else ""."""
        share = logs.get("frac_reward_zero_std") or 0.0
        self.groups += step.items
        self.alike += round(share * step.items)
        if share < 1:
            return ""
        self.vain += 1
        if self.vain not in {10**power for power in range(9)}:
            return ""
        return (
            f"warning: nothing is learned from this step, the {self.vain}. such: in each of its {step.items} groups all "
            f"{self.recipe.completions} completions got the same reward"
        )

    def begun(self) -> tuple[str, ...]:
        scorer = self.rewards.scorer
        held = f"rewards: {', '.join(self.rewards.names)}, computed in a process that is held by {', '.join(scorer.holds)}"
        lacks = f"warning: nothing on this machine keeps a reward from {' or '.join(scorer.lacks)}"
        return (held, lacks) if scorer.lacks else (held,)

    def ended(self) -> str:
        if not self.alike:
            return ""
        return f"rewards: in {self.alike} of {self.groups} groups all completions got the same reward, which teaches nothing"

    def evaluated(self, trainer: Stepping, batches: Iterator[Batch]) -> Evaluated:
        """The mean reward of the likeliest completion of each held-out prompt."""
        count, total = 0, 0.0
        for batch in batches:
            rows = batch["row"]
            texts = self._likeliest(trainer.model, batch["ids"])
            numbers = self.rewards.of(self.data.held_out_prompts, rows, texts)
            total += sum(weight * sum(each) for weight, each in zip(self.rewards.weights, numbers, strict=True))
            count += len(rows)
        return Evaluated(-total / count, reward=total / count)

    def _likeliest(self, model: Any, prompts: Sequence[Sequence[int]]) -> list[str]:
        """Greedy completions of some prompts, which are padded on the left."""
        tokenizer, device = self.parts.tokenizer, self.parts.device
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        longest = max(len(ids) for ids in prompts)
        table = np.full((len(prompts), longest), pad, np.int64)
        seen = np.zeros_like(table)
        for at, ids in enumerate(prompts):
            table[at, longest - len(ids) :] = ids
            seen[at, longest - len(ids) :] = 1
        was = model.training
        model.eval()
        try:
            with torch.no_grad(), device.autocast():
                generated = causal(model).generate(
                    input_ids=torch.from_numpy(table).to(device.name),
                    attention_mask=torch.from_numpy(seen).to(device.name),
                    max_new_tokens=self.recipe.grpo.max_completion_length,
                    do_sample=False,
                    pad_token_id=pad,
                )
        finally:
            model.train(was)
        texts: list[str] = tokenizer.batch_decode(generated[:, longest:], skip_special_tokens=True)
        return texts


def prompt_ids(tokens: Tokens, item: int) -> list[int]:
    """The tokens before the answer."""
    ids, mask = tokens.sequence(item)
    return [int(token) for token in ids[: int(mask.argmax())]]


def _text(completion: Any) -> str:
    """The words of a completion as TRL hands it on."""
    return completion if isinstance(completion, str) else str(completion[-1].get("content") or "")
