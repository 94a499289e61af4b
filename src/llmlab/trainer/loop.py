"""The training loop: TRL's `SFTTrainer` on sequences of our own, and what happens at each step.

TRL brings the optimizer, the schedule, accumulation normalised by trained tokens, and a loss head that never holds tokens by vocabulary.
Ours are: labels, checkpoints, when to save, metrics, and stopping on request. A save happens at an optimizer step's boundary, because
only there is everything that resuming needs at rest. Two private methods of Trainer are overridden (`_save`, `_save_checkpoint`), which
is why its version is pinned and why resuming is tested bit by bit.
"""

import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer

from llmlab.contract import Progress, Request, checkpoint_name
from llmlab.recipe import Recipe
from llmlab.trainer import checkpoints
from llmlab.trainer.control import Control
from llmlab.trainer.data import Data
from llmlab.trainer.endings import Failed
from llmlab.trainer.metrics import Metrics
from llmlab.trainer.model import Machine, Say


class Loop(SFTTrainer):
    """SFTTrainer with whole checkpoints, and an end to training on numbers that are none."""

    def __init__(self, recipe: Recipe, machine: Machine, folder: Path, watch: "Watch", **rest: Any) -> None:
        self.folder = folder
        self.keep = recipe.keep_checkpoints
        self.watch = watch
        shutil.rmtree(folder / checkpoints.STAGING, ignore_errors=True)
        super().__init__(args=arguments(recipe, machine, folder / checkpoints.STAGING), callbacks=[watch], **rest)
        self.remove_callback(PrinterCallback)
        if isinstance(self.model, PeftModel):
            self.model.peft_config["default"].base_model_name_or_path = recipe.model
            self.model.peft_config["default"].revision = None if recipe.lab_model else recipe.revision

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        """One batch forward and backward.

        Raises:
            Failed: the loss is not a number. No checkpoint has seen it.
        """
        loss: torch.Tensor = super().training_step(*args, **options)
        if not torch.isfinite(loss):
            step = self.state.global_step
            rate = self.args.learning_rate / 4
            raise Failed(f"the loss is {loss.item()} after step {step}", f"llmlab launch --set learning_rate={rate:g}")
        return loss

    def create_model_card(self, *_args: Any, **_options: Any) -> None:
        """Ours is written with the output."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Adapter and tokenizer. PEFT would else ask the hub for the base model's vocabulary, which never changes here."""
        assert output_dir is not None
        self.model.save_pretrained(output_dir, state_dict=state_dict, save_embedding_layers=False)
        self.processing_class.save_pretrained(output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.watch.saving()
        step = self.state.global_step
        Trainer._save_checkpoint(self, model, trial)  # noqa: SLF001 - past SFTTrainer's, which only adds a model card
        staged = Path(self.args.output_dir) / checkpoint_name(step)
        self.watch.metrics.copy_into(staged)
        checkpoints.publish(staged, self.folder, step)
        checkpoints.keep_newest(self.folder, self.keep)
        self.watch.saved(step)


class Watch(TrainerCallback):
    """What happens at each step: metrics, progress, and whether to save or to leave.

    After `train`, `left` is the request that ended it early, or None.
    """

    def __init__(self, recipe: Recipe, control: Control, metrics: Metrics, say: Say) -> None:
        self.recipe = recipe
        self.control = control
        self.metrics = metrics
        self.say = say
        self.left: Request | None = None
        self.tokens_before = int(metrics.last.get("tokens", 0))
        self.tokens = self.tokens_before
        self.started = self.stepped = time.perf_counter()
        self.save_time = 0.0
        self.last_save = self.control.clock.now()
        self.last_step = self.last_save

    def on_train_begin(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        self.say(f"training: steps {state.global_step} to {state.max_steps}, {self.recipe.step_examples} sequences each")
        self.started = self.stepped = time.perf_counter()
        self.last_save = self.last_step = self.control.clock.now()
        self.control.progress(Progress("training", state.global_step, state.max_steps, tokens=self.tokens))

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Save when `save_minutes` would pass before the next step ends, at `save_steps`, at the end, and when asked to leave."""
        now = self.control.clock.now()
        step_seconds = (now - self.last_step).total_seconds()
        self.last_step = now
        overdue = (now - self.last_save).total_seconds() + step_seconds >= self.recipe.save_minutes * 60
        due = self.recipe.save_steps is not None and state.global_step % self.recipe.save_steps == 0
        self.left = self.control.request() if state.global_step < state.max_steps else None
        if overdue or due or self.left or state.global_step >= state.max_steps:
            control.should_save = True
        if self.left:
            control.should_training_stop = True

    def on_log(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        logs = logs or {}
        if "loss" not in logs:
            return
        now = time.perf_counter()
        seconds = now - self.stepped - self.save_time
        self.stepped, self.save_time = now, 0.0
        before, self.tokens = self.tokens, self.tokens_before + int(logs.get("num_tokens", 0))
        speed = (self.tokens - before) / seconds if seconds > 0 else 0.0
        self.metrics.add(
            {
                "step": state.global_step,
                "epoch": state.epoch,
                "loss": logs["loss"],
                "learning_rate": logs.get("learning_rate"),
                "grad_norm": _finite(logs.get("grad_norm")),
                "token_accuracy": logs.get("mean_token_accuracy"),
                "entropy": logs.get("entropy"),
                "tokens": self.tokens,
                "tokens_per_second": round(speed, 1),
                "seconds": round(seconds, 4),
                "memory_gib": torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None,
            }
        )
        average = (self.tokens - self.tokens_before) / (now - self.started)
        self.control.progress(
            Progress(
                "training",
                state.global_step,
                state.max_steps,
                float(state.epoch or 0),
                float(logs["loss"]),
                logs.get("learning_rate"),
                self.tokens,
                round(average, 1),
                round(now - self.started, 2),
            )
        )
        self.say(
            f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  "
            f"learning rate {logs.get('learning_rate', 0):.2e}  {speed:,.0f} tokens/s"
        )

    def saving(self) -> None:
        self._save_began = time.perf_counter()
        self.control.phase("saving")

    def saved(self, step: int) -> None:
        seconds = time.perf_counter() - self._save_began
        self.save_time += seconds
        self.last_save = self.control.clock.now()
        self.say(f"saved {checkpoint_name(step)} in {seconds:.2f} s")
        self.control.phase("training")


def arguments(recipe: Recipe, machine: Machine, staging: Path) -> SFTConfig:
    """The recipe in TRL's words."""
    return SFTConfig(
        output_dir=str(staging),
        use_cpu=machine.device == "cpu",
        bf16=machine.dtype == "bfloat16",
        fp16=machine.dtype == "float16",
        gradient_checkpointing=machine.checkpointing,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulate,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch_fused",
        seed=recipe.seed,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_strategy="steps",
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=machine.device == "cuda",
        push_to_hub=False,
    )


def rows(data: Data) -> Dataset:
    """Sequences as the table that TRL reads."""
    return Dataset.from_dict({"input_ids": [one.ids for one in data.sequences], "labels": [one.labels for one in data.sequences]})


def _finite(value: float | None) -> float | None:
    """JSON has no infinity; fp16's scaler meets one now and then and skips the step."""
    return value if value is not None and math.isfinite(value) else None
