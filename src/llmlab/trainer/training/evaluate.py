"""Evaluation: loss and accuracy on held-out examples, and sample answers to the recipe's prompts.

The loss is that of training without dropout, summed over tokens (or pairs) of all processes; the head works in chunks here too, so that
an evaluation never needs more memory than a training step.
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llmlab.recipe import Recipe
from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.distributed import Processes
from llmlab.trainer.model.generate import encode, generate
from llmlab.trainer.model.load import causal
from llmlab.trainer.model.objective import Objective
from llmlab.trainer.training.sampler import Batches

SAMPLES = "samples-by-step.jsonl"
"""In the output: one object a prompt and evaluated step, `{"step", "prompt", "text"}`."""


@dataclass(frozen=True)
class Evaluated:
    """Means over the held-out tokens (sft), pairs (dpo), answers (kto, of which none is right by itself) or prompts (grpo).

    A reward's negative stands for the loss.
    """

    loss: float
    accuracy: float | None = None
    margin: float | None = None
    reward: float | None = None

    @property
    def words(self) -> str:
        """The evaluation in words, for the log."""
        if self.reward is not None:
            return f"reward {self.reward:.4f}"
        if self.accuracy is not None:
            return f"loss {self.loss:.4f}, {self.accuracy:.1%} right"
        return f"loss {self.loss:.4f}" + (f", margin {self.margin:.4f}" if self.margin is not None else "")

    def row(self, objective: str) -> dict[str, float | None]:
        """The evaluation as keys of a metrics row."""
        if objective == "dpo":
            return {"eval_loss": self.loss, "eval_preference_accuracy": self.accuracy, "eval_margin": self.margin}
        if objective == "kto":
            return {"eval_loss": self.loss, "eval_margin": self.margin}
        if objective == "grpo":
            return {"eval_loss": self.loss, "eval_reward": self.reward}
        return {"eval_loss": self.loss, "eval_perplexity": math.exp(min(self.loss, 700.0)), "eval_token_accuracy": self.accuracy}


def evaluate(
    objective: Objective, held_out: Tokens, recipe: Recipe, processes: Processes, report_activity: Callable[[], None]
) -> Evaluated:
    """Loss and accuracy on the first `evaluation.most_examples` held-out items; `report_activity` is called after each batch."""
    batches = Batches(held_out, recipe, packed=objective.packed, rank=processes.rank, world_size=processes.world_size)
    count = min(len(held_out), recipe.evaluation.most_examples)
    sums = torch.zeros(3, dtype=torch.float64, device=processes.device)
    with evaluating(objective):
        for start in range(0, count, recipe.step_examples):
            for row in batches.step(range(start, min(count, start + recipe.step_examples))).rows:
                sums += objective(row.to(processes.device)).sums
                report_activity()
    loss, right, margin = processes.all_reduce([float(total) for total in sums])
    pairs = recipe.objective == "dpo"
    weight = count if pairs else int(batches.trained[:count].sum())
    return Evaluated(loss / max(1, weight), right / max(1, weight), margin / count if pairs else None)


def sample(objective: Objective, tokenizer: Any, recipe: Recipe, step: int, output: Path) -> Iterator[tuple[str, str]]:
    """Each prompt of the recipe and the model's likeliest answer, also written to `SAMPLES`."""
    model = causal(objective.model)
    lines = []
    with evaluating(objective), objective.device.autocast():
        for prompt in recipe.evaluation.prompts:
            coded = encode(tokenizer, prompt).to(objective.device.name)
            text = generate(model, tokenizer, coded, recipe.evaluation.prompt_tokens)
            lines.append(json.dumps({"step": step, "prompt": prompt, "text": text}, ensure_ascii=False))
            yield prompt, text
    path = output / SAMPLES
    before = [line for line in path.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] < step] if path.is_file() else []
    path.write_text("\n".join([*before, *lines]) + "\n", encoding="utf-8")


@contextmanager
def evaluating(objective: Objective) -> Iterator[None]:
    """Context of an evaluation: no dropout, no gradients."""
    objective.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        objective.train()
