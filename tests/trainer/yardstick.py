"""TRL's trainers on the very tokens, order and first weights of one of our runs: what our loop is measured against."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmlab import contract, recipe as recipes
from llmlab.contract import Spec, WorkFolder
from llmlab.recipe import Recipe


@dataclass
class Curve:
    """Of each optimizer step: the loss, and the norm of its gradients before clipping. `gradients` are the first step's."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    gradients: dict[str, Any] = field(default_factory=dict)


@dataclass
class Start:
    """A run as it stands before its first step."""

    recipe: Recipe
    model: Any
    tokenizer: Any
    tokens: Any

    def plan(self) -> Any:
        """What each step trains."""
        from llmlab.trainer.training.sampler import StepPlan

        return StepPlan.of(self.recipe, len(self.tokens))

    def rows(self, steps: int) -> Iterator[tuple[list[int], list[bool]]]:
        """Ids and mask of each sequence in the order of training."""
        plan = self.plan()
        for step in range(steps):
            for item in plan.items(step):
                for one in range(self.tokens.width):
                    ids, mask = self.tokens.sequence(int(item) * self.tokens.width + one)
                    yield ids.tolist(), mask.astype(bool).tolist()


def start(work: WorkFolder) -> Start:
    from llmlab.trainer.data import load_examples
    from llmlab.trainer.data.example_encoder import Encoder
    from llmlab.trainer.device import Device
    from llmlab.trainer.model.adapter import adapt
    from llmlab.trainer.model.load import load_model, load_tokenizer

    spec = contract.load(Spec, Path(work.spec).read_bytes())
    recipe = recipes.check(spec.recipe)
    tokenizer = load_tokenizer(recipe, work)
    examples = load_examples.load(Path(work.data), spec.data, Encoder(tokenizer), recipe, Path(work.cache), lambda: None)
    base = load_model(recipe, work, Device("cpu", "float32"), tokenizer)
    return Start(recipe, adapt(base, recipe, None, lambda _text: None), tokenizer, examples.train)


def dpo(work: WorkFolder, steps: int) -> Curve:
    """TRL's DPOTrainer."""
    with quiet():
        import trl
        from datasets import Dataset

        begun = start(work)
        rows = list(begun.rows(steps))
        pairs = [
            {"prompt_ids": chosen[0][: chosen[1].index(True)], "chosen_ids": spoken(*chosen), "rejected_ids": spoken(*rejected)}
            for chosen, rejected in zip(rows[::2], rows[1::2], strict=True)
        ]
        given = begun.recipe.dpo
        # TRL leaves smoothing out of its "sigmoid"; its "aot" is the same with it, as long as a batch is one pair
        kind = "aot" if given.label_smoothing else "sigmoid"
        settings = trl.DPOConfig(
            **common(begun.recipe, work, steps), beta=given.beta, label_smoothing=given.label_smoothing, loss_type=[kind]
        )
        return trained(trl.DPOTrainer, begun, settings, Dataset.from_list(pairs))


def sft(work: WorkFolder, steps: int) -> Curve:
    """TRL's SFTTrainer."""
    with quiet():
        import trl
        from datasets import Dataset

        begun = start(work)
        rows = [
            {"input_ids": ids, "labels": [one if said else -100 for one, said in zip(ids, mask, strict=True)]}
            for ids, mask in begun.rows(steps)
        ]
        settings = trl.SFTConfig(**common(begun.recipe, work, steps), dataset_kwargs={"skip_prepare_dataset": True})
        return trained(trl.SFTTrainer, begun, settings, Dataset.from_list(rows))


def spoken(ids: list[int], mask: list[bool]) -> list[int]:
    return [one for one, said in zip(ids, mask, strict=True) if said]


def labels(ids: list[int], mask: list[bool]) -> list[int]:
    return [one if said else -100 for one, said in zip(ids, mask, strict=True)]


def common(recipe: Recipe, work: WorkFolder, steps: int) -> dict[str, Any]:
    """The recipe in TRL's words; what it does by default beyond that is turned off."""
    return {
        "output_dir": f"{work.root}/trl", "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulate,
        "max_steps": steps, "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule, "warmup_steps": 0,
        "weight_decay": recipe.weight_decay, "max_grad_norm": recipe.max_grad_norm, "optim": "adamw_torch", "bf16": False,
        "gradient_checkpointing": False, "use_cpu": True, "report_to": "none", "save_strategy": "no", "logging_steps": 1,
        "disable_tqdm": True, "max_length": None, "seed": recipe.seed,
    }  # fmt: skip


def trained(kind: type, begun: Start, settings: Any, rows: Any) -> Curve:
    """Train, and note what is logged."""
    from torch.utils.data import SequentialSampler

    curve = Curve()

    class Noting(kind):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_args: Any, **_options: Any) -> Any:
            return dataset

        def _get_train_sampler(self, *_args: Any, **_options: Any) -> Any:
            return SequentialSampler(self.train_dataset)

        def training_step(self, model: Any, *args: Any, **options: Any) -> Any:
            loss = super().training_step(model, *args, **options)
            curve.losses.append(float(loss))
            curve.gradients = curve.gradients or {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
            return loss

        def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
            if "grad_norm" in logs:
                curve.norms.append(logs["grad_norm"])
            super().log(logs, *args, **options)

    Noting(model=begun.model, args=settings, train_dataset=rows, processing_class=begun.tokenizer).train()
    many = begun.recipe.accumulate
    curve.losses = [sum(curve.losses[at : at + many]) for at in range(0, len(curve.losses), many)]
    return curve


@contextmanager
def quiet() -> Iterator[None]:
    """TRL and what it stands on warn about each other, and print."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def kto(work: WorkFolder, steps: int) -> Curve:
    """TRL's KTOTrainer, which pairs each question with the answer before it in the order of the data."""
    with quiet():
        import trl
        from datasets import Dataset

        begun = start(work)
        plan, rows = begun.plan(), []
        for step in range(steps):
            for item in plan.items(step):
                ids, mask = begun.tokens.sequence(int(item))
                first = int(mask.argmax())
                rows.append(
                    {
                        "prompt_ids": ids[:first].tolist(),
                        "completion_ids": spoken(ids.tolist(), mask.astype(bool).tolist()),
                        "label": bool(begun.tokens.good[int(item)]),
                    }
                )
        size = begun.recipe.batch_size
        for at, row in enumerate(rows):
            before = at - 1 if at % size else min(at + size, len(rows)) - 1
            row["KL_completion_ids"] = rows[before]["completion_ids"]
        given = begun.recipe.kto
        settings = trl.KTOConfig(
            **common(begun.recipe, work, steps),
            beta=given.beta,
            desirable_weight=given.desirable_weight,
            undesirable_weight=given.undesirable_weight,
        )
        return trained(trl.KTOTrainer, begun, settings, Dataset.from_list(rows))
