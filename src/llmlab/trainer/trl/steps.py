"""llmlab's loop with a trainer of TRL's in it: TRL goes forward, backward and moves the optimizer, everything between steps is ours.

A step's examples, learning rate and random numbers follow from its number here too, so that going on from a checkpoint is the same as
never having stopped: the order of the data, the counters and the optimizer exactly, and bit by bit on a CPU. Checkpoints are llmlab's own.
"""

import math
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, TrainerCallback

from llmlab.recipe import Recipe
from llmlab.trainer.data.load_examples import Data
from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.training import lr_schedule
from llmlab.trainer.training.evaluate import Evaluated
from llmlab.trainer.training.sampler import StepBatch
from llmlab.trainer.training.training_loop import Loop
from llmlab.trainer.trl import words
from llmlab.trainer.trl.objective import Batch, TrainerParts, TrlObjective
from llmlab.trainer.trl.stepping import Stepping


def objective_of(recipe: Recipe, data: Data) -> TrlObjective:
    """The recipe's objective; TRL's trainers take seconds to import, so that each is imported alone."""
    if recipe.objective == "kto":
        from llmlab.trainer.trl.kto import KtoObjective

        return KtoObjective(recipe, data.train)
    if recipe.objective == "grpo":
        from llmlab.trainer.trl.grpo import GrpoObjective

        return GrpoObjective(recipe, data)
    if recipe.objective == "dpo":
        from llmlab.trainer.trl.dpo import DpoObjective

        return DpoObjective(recipe, data.train)
    from llmlab.trainer.trl.sft import SftObjective

    return SftObjective(recipe, data.train)


def _name_of(trainer: Stepping) -> str:
    """The name of TRL's own class."""
    return next(kind.__name__ for kind in type(trainer).__mro__ if kind.__module__.startswith("trl."))


class TrlLoop(Loop):
    """One training by a trainer of TRL's."""

    trainer: Stepping

    def __post_init__(self) -> None:
        super().__post_init__()
        self.trl_objective = objective_of(self.recipe, self.data)

    def run(self) -> None:
        """As `Loop.run`.

        Raises:
            Failed: as there, or TRL refuses the recipe.
        """
        tokens = self.data.train
        lengths, trained = tokens.lengths(), np.asarray(tokens.trained).reshape(len(tokens), tokens.width).sum(1)
        self.lengths, self.trained_tokens = lengths, trained
        try:
            with words.of_the_recipe(self.recipe):
                self.trainer = self._trainer()
            with words.of_the_recipe(self.recipe, begun=True):
                self.say(f"engine: TRL {version('trl')}, {_name_of(self.trainer)}, which pads its batches")
                for line in self.trl_objective.begun():
                    self.say(line)
                self._begin()
                if not self.stopped_early and self.state.step < self.plan.steps:
                    self.trainer.train()
        finally:
            self.trl_objective.close()
        if closing := self.trl_objective.ended():
            self.say(closing)
        self._close()

    def _trainer(self) -> Stepping:
        parts = TrainerParts(
            self.recipe,
            self.objective.device,
            self.objective.model,
            self.objective.reference,
            self.tokenizer,
            self.optimizer,
            Path(self.control.work.cache) / "trl",
            max(1, self.plan.steps - self.state.step),
        )
        trainer = self.trl_objective.trainer(parts)
        trainer.steps, trainer.weigh = self._steps, self._weigh
        trainer.remove_callback(PrinterCallback)  # it prints beside our log
        trainer.add_callback(Between(self))
        if trainer.accelerator.scaler is not None:
            if kept := self.scaler.state_dict():
                trainer.accelerator.scaler.load_state_dict(kept)
            self.scaler = trainer.accelerator.scaler
        return trainer

    def _steps(self) -> Iterator[list[Batch]]:
        """The batches of each step that is left."""
        for number in range(self.state.step, self.plan.steps):
            items = self.plan.items(number)
            tokens, trained = int(self.lengths[items].sum()), int(self.trained_tokens[items].sum())
            self.coming, self.items = StepBatch((), len(items), tokens, trained), [int(item) for item in items]
            yield list(self.trl_objective.batches(self.data.train, self.items))

    def _weigh(self, loss: float) -> None:
        self.speed.lap("compute")
        self._is_good(loss)

    def _held_out(self, held_out: Tokens) -> Evaluated:
        evaluated = self.trl_objective.evaluated(self.trainer, self._held_out_batches(held_out))
        return evaluated or super()._held_out(held_out)

    def _held_out_batches(self, held_out: Tokens) -> Iterator[Batch]:
        items = range(min(len(held_out), self.recipe.evaluation.most_examples))
        for batch in self.trl_objective.batches(held_out, items):
            yield batch
            self.control.report_activity()

    # ------------------------------------------------------------ what TRL tells

    def begin_step(self, optimizer: Any) -> None:
        """Learning rate and random numbers of the step that begins."""
        number = self.state.step
        torch.manual_seed(lr_schedule.seed(self.recipe.seed, number, self.processes.rank))
        for group in optimizer.param_groups:
            group["lr"] = self.rate
        self.speed.begin()

    @property
    def rate(self) -> float:
        """The learning rate of the step that is taken."""
        return self.recipe.learning_rate * lr_schedule.lr_factor(self.recipe, self.state.step, self.plan.steps)

    def end_step(self, logs: Mapping[str, float]) -> None:
        """A step's row of metrics, and what is due between it and the next."""
        norm, rate, step = float(logs.get("grad_norm", 0.0)), self.rate, self.coming
        if not self.scaler.is_enabled() and not math.isfinite(norm):
            self._refuse(f"the gradient's norm is {norm:.4g} at step {self.state.step + 1}", self.state.step)
        self._note_move(moved=math.isfinite(norm))
        self.speed.lap("optimizer")
        self.overdue, self.leaving = self._pressed()
        tokens, trained = self.trl_objective.counted(step, self.items, logs)
        self.state.step, self.state.tokens = self.state.step + 1, self.state.tokens + tokens
        if note := self.trl_objective.note(step, logs):
            self.say(note)
        self._between(
            {
                "step": self.state.step, "epoch": round(self.plan.epoch(self.state.step), 6), "loss": logs["loss"], "learning_rate": rate,
                "grad_norm": norm if math.isfinite(norm) else None, **self.trl_objective.metrics(logs), "tokens": self.state.tokens,
                **self.speed.end(tokens, trained),
            }
        )  # fmt: skip


class Between(TrainerCallback):  # type: ignore[misc] # transformers is looked into by nobody
    """Callback that reports each step to the loop."""

    def __init__(self, loop: TrlLoop) -> None:
        self.loop = loop

    def on_step_begin(self, _args: Any, _state: Any, _control: Any, **passed: Any) -> None:
        self.loop.begin_step(passed["optimizer"])

    def on_log(self, _args: Any, state: Any, control: Any, **passed: Any) -> None:
        """A step's numbers come when the optimizer has moved; evaluations and the end of training are logged as well."""
        logs = passed["logs"]
        state.log_history.clear()  # the metrics keep it
        if "learning_rate" not in logs or "loss" not in logs:
            return
        self.loop.end_step(logs)
        control.should_training_stop = control.should_training_stop or bool(self.loop.left or self.loop.stopped_early)
