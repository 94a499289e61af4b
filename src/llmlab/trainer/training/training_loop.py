"""The training loop: a step is rows forward and backward, gradients summed and clipped, one move of the optimizer.

Read `Loop.run` first. A step's examples, learning rate and random numbers follow from its number and the recipe alone, so going on at
step N is the same as never having stopped. Whatever has to happen between steps (evaluate, save, leave) happens at a step's end,
because only there is everything at rest.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from llmlab.contract import METRICS_FILE, Progress, StopRequest
from llmlab.recipe import Recipe
from llmlab.trainer.control import Control
from llmlab.trainer.data.load_examples import Data
from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.device import Say
from llmlab.trainer.distributed import Processes
from llmlab.trainer.failures import Failed
from llmlab.trainer.model.objective import Objective
from llmlab.trainer.training import async_checkpoint, checkpoints, evaluate, lr_schedule, optimizers, trainable_state
from llmlab.trainer.training.async_checkpoint import Saver, TrainerState
from llmlab.trainer.training.evaluate import Evaluated
from llmlab.trainer.training.metrics_file import Metrics
from llmlab.trainer.training.sampler import Batches, StepBatch, StepPlan, ahead
from llmlab.trainer.training.throughput import Speed
from llmlab.trainer.training.trainable_state import Named, TrainableState

REMEMBERED = 50
"""Losses that a jump is measured against."""
ENOUGH = 10
"""Losses that are needed before any is called a jump."""
UNMOVED = 50
"""Steps in a row without finite gradients, after which none will come: by the 16th the scale of the gradients is down to 1."""
BF16_GPUS = "llmlab launch --instance-type g6.xlarge,g5.xlarge"


@dataclass
class Loop:
    """One training. `state` is where it is; `left` the request that ended it early, if one did."""

    recipe: Recipe
    data: Data
    objective: Objective
    tokenizer: Any
    processes: Processes
    control: Control
    metrics: Metrics
    saver: Saver
    speed: Speed
    say: Say
    state: TrainerState = field(default_factory=TrainerState)
    best: Named | None = None
    left: StopRequest | None = None
    stopped_early: bool = False

    def __post_init__(self) -> None:
        self.parameters = dict(self.objective.trained())
        self.optimizer = optimizers.build(self.recipe, self.parameters)
        self.scaler = torch.amp.GradScaler(self.device.partition(":")[0], enabled=self.objective.device.dtype == "float16")
        self.plan = StepPlan.of(self.recipe, len(self.data.train))
        self.divided = any(hasattr(parameter, "full_tensor") for parameter in self.parameters.values())

    @property
    def device(self) -> str:
        return self.processes.device

    # ------------------------------------------------------------ the way

    def resume(self, checkpoint: Path) -> None:
        """Go on from a whole checkpoint, whose weights are in the model already."""
        self.state = async_checkpoint.read_state(checkpoint)
        self.best = async_checkpoint.read_best(checkpoint) if self.processes.is_main else None
        optimizers.put_back(self.optimizer, self.parameters, async_checkpoint.read_optimizer(checkpoint))
        if self.state.scaler:  # of a checkpoint in another number format there is none, and the scale is found anew
            self.scaler.load_state_dict(self.state.scaler)
        before, now = self.state.dtype, self.objective.device.dtype
        if before and before != now:
            self.say(f"warning: the checkpoint was trained in {before}, from here on in {now}: each step rounds otherwise than before")

    def run(self) -> None:
        """Train to the last step, or until there is a reason to end.

        Raises:
            Failed: the loss is no number or has jumped, and the recipe says to stop; or the optimizer never moved.
        """
        self._begin()
        batches = Batches(
            self.data.train, self.recipe, packed=self.objective.packed, rank=self.processes.rank, world_size=self.processes.world_size
        )
        self.objective.train()
        for step in () if self.stopped_early else ahead(self.plan, batches, self.state.step):
            row = self._step(step)
            self._between(row)
            if self.left or self.stopped_early:
                break
        self._close()

    def _close(self) -> None:
        """Finish writing checkpoints, and check that something was learned.

        Raises:
            Failed: the optimizer never moved.
        """
        self.saver.close()
        if self.state.step and self.state.moves == 0 and not self.left:
            raise Failed(f"{self._in_vain()}; none of {self.state.step} steps had finite gradients", self._instead())

    def trained(self) -> TrainableState:
        """The resulting weights, in the main process: those with the best held-out loss, the last ones where nothing is held out."""
        from_before = self.processes.broadcast(self.best is not None and self.state.best_step != self.state.step)
        if from_before:
            best = self.state.best_loss or 0.0
            what = f"reward {-best:.4f}" if self.recipe.objective == "grpo" else f"loss {best:.4f}"
            self.say(f"output: the weights of step {self.state.best_step}, whose held-out {what} was the best")
        taken = self.best or {} if from_before else self._take()
        return TrainableState.of(self.objective.model, self.recipe, taken)

    def _take(self) -> Named:
        """A copy of the trainable weights, in the main process alone."""
        return trainable_state.take(self.parameters, keep=self.processes.is_main)

    def _begin(self) -> None:
        count, state = self.processes.world_size, self.state
        self.say(
            f"training: steps {state.step} to {self.plan.steps}, {self.recipe.step_examples} examples each"
            + (f", on {count} processes" if count > 1 else "")
        )
        if (warm := lr_schedule.warm_up(self.recipe, self.plan.steps)) >= self.plan.steps > 1:
            self.say(f"warning: the learning rate never reaches its peak: it rises for {warm} steps, and there are {self.plan.steps}")
        self.started = time.perf_counter()
        self.last_save = self.last_step = self.control.clock.now()
        self._report("training", None)
        self.stopped_early = self._has_lost_patience()
        if state.step == 0 or state.owes_evaluation:
            evaluated = self._evaluate()
            state.owes_evaluation = False
            if evaluated:
                self.metrics.add({"step": state.step, **evaluated})

    # ------------------------------------------------------------ one step

    def _step(self, step: StepBatch) -> dict[str, Any]:
        """Train one step; returns its row of metrics."""
        number = self.state.step
        self.speed.begin()
        torch.manual_seed(lr_schedule.seed(self.recipe.seed, number, self.processes.rank))
        weight = step.items if self.recipe.objective == "dpo" else max(1, step.trained)
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        for row in step.rows:
            result = self.objective(row.to(self.device))
            # dividing the weights takes the gradients' mean over processes, and the loss is a sum
            self.scaler.scale(result.loss / weight * (self.processes.world_size if self.divided else 1)).backward()
            sums += result.sums
        loss, right, margin = (float(total) for total in sums)  # the GPU is waited for here, once a step
        self.speed.lap("compute")
        if not self.divided:
            self.processes.all_reduce_gradients(list(self.parameters.values()))
        overdue, leave = self._pressed() if self.processes.is_main else (False, False)
        loss, right, margin, overdues, leaves = self.processes.all_reduce([loss, right, margin, float(overdue), float(leave)])
        self.overdue, self.leaving = overdues > 0, leaves > 0
        self.speed.lap("exchange")
        loss /= weight
        rate = self.recipe.learning_rate * lr_schedule.lr_factor(self.recipe, number, self.plan.steps)
        norm = self._move(rate) if self._is_good(loss) else float("nan")
        self._note_move(moved=math.isfinite(norm))
        self.speed.lap("optimizer")
        self.state.step, self.state.tokens = number + 1, self.state.tokens + step.tokens
        accuracy = (
            {"preference_accuracy": right / weight, "margin": margin / weight}
            if self.recipe.objective == "dpo"
            else {"token_accuracy": right / weight}
        )
        return {
            "step": self.state.step, "epoch": round(self.plan.epoch(self.state.step), 6), "loss": loss, "learning_rate": rate,
            "grad_norm": norm if math.isfinite(norm) else None, **accuracy, "tokens": self.state.tokens,
            **self.speed.end(step.tokens, step.trained),
        }  # fmt: skip

    def _pressed(self) -> tuple[bool, bool]:
        """Whether `save_minutes` would pass before the next step ends, and whether a stop is requested."""
        now = self.control.clock.now()
        step_seconds = (now - self.last_step).total_seconds()
        self.last_step = now
        overdue = (now - self.last_save).total_seconds() + step_seconds >= self.recipe.save_minutes * 60
        return overdue, self.control.request() is not None

    def _move(self, rate: float) -> float:
        """Clip, and let the optimizer move; returns the gradients' norm before clipping.

        Raises:
            Failed: the norm is no number, and the recipe says to stop.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.max_grad_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        if not self.scaler.is_enabled() and not math.isfinite(norm):  # a scaler leaves such steps out itself, and scales less
            self._refuse(f"the gradient's norm is {float(norm):.4g} at step {self.state.step + 1}", self.state.step)
            return float("nan")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def _note_move(self, *, moved: bool) -> None:
        """Count steps that taught nothing.

        Raises:
            Failed: too many in a row. In fp16 whole families of models have no finite gradients: https://github.com/QwenLM/Qwen3/issues/670,
                https://github.com/huggingface/transformers/issues/39972
        """
        state = self.state
        state.moves = (state.moves if state.moves is not None else state.step) + moved
        state.unmoved = 0 if moved else state.unmoved + 1
        if state.unmoved >= UNMOVED:
            raise Failed(f"{self._in_vain()}; the last {state.unmoved} steps had no finite gradients", self._instead())

    def _in_vain(self) -> str:
        return f"nothing is learned in {self.objective.device.dtype}"

    def _instead(self) -> str:
        return BF16_GPUS if self.scaler.is_enabled() else f"llmlab launch --set learning_rate={self.recipe.learning_rate / 4:g}"

    def _is_good(self, loss: float) -> bool:
        """Whether the optimizer may move on this loss; gradients are dropped when not.

        Raises:
            Failed: it may not, and the recipe says to stop.
        """
        known = self.state.losses
        usual = median(known) if len(known) >= ENOUGH else None
        if math.isfinite(loss) and (usual is None or loss < usual + self.recipe.spike):
            self.state.losses = [*known, loss][-REMEMBERED:]
            return True
        problem = f"the loss is {loss:.4g} at step {self.state.step + 1}" + (f", after {usual:.4g}" if usual is not None else "")
        self._refuse(problem, self.state.step - 1)  # the step before may be what made it so, and a checkpoint of it holds that
        return False

    def _refuse(self, what: str, good: int) -> None:
        """Stop, naming the newest checkpoint of step `good` or before, or leave a step out."""
        if self.recipe.on_bad_loss == "stop":
            self.saver.finish()
            last = checkpoints.find(self.saver.folder, good).newest
            raise Failed(
                f"{what}; " + (f"the last good checkpoint is {last.name}" if last else "there is no good checkpoint from before"),
                f"llmlab launch --set learning_rate={self.recipe.learning_rate / 4:g}",
            )
        self.state.skipped += 1
        self.say(f"warning: {what}: this step is left out, the {self.state.skipped}. so far")
        self.optimizer.zero_grad(set_to_none=True)

    # ------------------------------------------------------------ between steps

    def _between(self, row: dict[str, Any]) -> None:
        """Log, evaluate and save after a step, and see whether a stop is requested."""
        last = self.state.step >= self.plan.steps
        request = self.processes.broadcast(self.control.request() if self.processes.is_main else None) if self.leaving else None
        self.left = request if not last else None
        due = self._evaluation_is_due(last=last)
        if due and not self.left:
            row |= self._evaluate()
        self.state.owes_evaluation = bool(due and self.left)  # whoever requests a stop has no time to wait for it
        last = last or self.stopped_early
        self.metrics.add(row)
        self._report("training", row)
        self._say_step(row)
        if self._save_is_due(last=last, evaluated="eval_loss" in row):
            self._save()

    def _evaluation_is_due(self, *, last: bool) -> bool:
        if self.data.held_out is None and not self.recipe.evaluation.prompts:
            return False
        every = self.recipe.evaluation.steps
        return last or self.state.step % self.plan.per_epoch == 0 or (every is not None and self.state.step % every == 0)

    def _evaluate(self) -> dict[str, Any]:
        """Held-out loss and samples; the keys for the metrics."""
        row: dict[str, Any] = {}
        self.control.phase("evaluating")
        if self.data.held_out is not None:
            evaluated = self._held_out(self.data.held_out)
            row = evaluated.row(self.recipe.objective)
            better = self.state.best_loss is None or evaluated.loss < self.state.best_loss
            if better:
                self.state.best_loss, self.state.best_step, self.state.worse = evaluated.loss, self.state.step, 0
                self.best = self._take()
            else:
                self.state.worse += 1
            self.say(f"held out: {evaluated.words}" + (", the best so far" if better else ""))
            if self._has_lost_patience():
                self.say(f"ending early: {self.state.worse} evaluations without a better loss than {self.state.best_loss:.4f}")
                self.stopped_early = True
        if self.recipe.evaluation.prompts and not self.divided and self.processes.is_main:
            for prompt, text in evaluate.sample(self.objective, self.tokenizer, self.recipe, self.state.step, self.metrics.path.parent):
                self.say(f"sample: {prompt!r} → {text!r}")
                self.control.report_activity()
        self.control.phase("training")
        return row

    def _held_out(self, held_out: Tokens) -> Evaluated:
        """How good the model is on examples that it never trains on."""
        return evaluate.evaluate(self.objective, held_out, self.recipe, self.processes, self.control.report_activity)

    def _has_lost_patience(self) -> bool:
        patience = self.recipe.evaluation.patience
        return patience is not None and self.state.worse >= patience

    def _save_is_due(self, *, last: bool, evaluated: bool) -> bool:
        """At the end, when a stop is requested, at `save_steps`, at a new best, and every `save_minutes`."""
        every = self.recipe.save_steps
        best = evaluated and self.state.best_step == self.state.step
        return bool(last or self.left or self.overdue or best or (every and self.state.step % every == 0))

    def _save(self) -> None:
        began = time.perf_counter()
        self.control.phase("saving")
        self.state.scaler = self.scaler.state_dict() or self.state.scaler
        self.state.packed, self.state.dtype = self.objective.packed, self.objective.device.dtype
        trained = TrainableState.of(self.objective.model, self.recipe, self._take())
        optimizer = optimizers.take(self.optimizer, self.parameters, keep=self.processes.is_main)
        if self.processes.is_main:
            self.saver.save(self.state, trained, optimizer, self.best, self.metrics.path.parent / METRICS_FILE, began)
        self.last_save = self.control.clock.now()
        self.control.phase("training")

    # ------------------------------------------------------------ words

    def _report(self, phase: str, row: dict[str, Any] | None) -> None:
        seconds = time.perf_counter() - self.started
        if row is None:  # before the first step of one that goes on
            row = {**self.metrics.last, "loss": self.state.losses[-1] if self.state.losses else None, "learning_rate": None}
        self.control.progress(
            Progress(
                phase, self.state.step, self.plan.steps, self.plan.epoch(self.state.step), row.get("loss"), row.get("learning_rate"),
                self.state.tokens, round(self.speed.average, 1) if self.speed.average else None, round(seconds, 2), self.control.last.moves,
                self._earned("reward", row), self._earned("margin", row),
            )
        )  # fmt: skip

    def _earned(self, what: str, row: dict[str, Any]) -> float | None:
        """A reward or margin of a step, or of the one before where this one has none: KTO's batch may be of good answers alone."""
        value = row.get(what)
        before: float | None = getattr(self.control.last, what)
        return value if value is not None and math.isfinite(value) else before

    def _say_step(self, row: dict[str, Any]) -> None:
        earned = "".join(f"{what} {row[what]:.4f}  " for what in ("reward", "margin") if row.get(what) is not None)
        self.say(
            f"step {row['step']}/{self.plan.steps}  loss {row['loss']:.4f}  {earned}learning rate {row['learning_rate']:.2e}  "
            f"{row['tokens_per_second']:,.0f} tokens/s"
        )
