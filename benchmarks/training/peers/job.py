"""What a contestant is told and what it answers: a JSON file each way, and how a Trainer's work is timed and counted.

Every peer runs in its own virtual environment, so this file needs the standard library alone.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

IGNORED = -100
SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "llamafactory", "torchtune", "torchao")
LORA = {"rank": 16, "alpha": 32, "dropout": 0.05, "targets": ["q_proj", "v_proj"]}
LEARNING_RATE = 2e-5


class Job:
    """Read from the file named on the command line. `settings` is what tells one setting of a peer from another."""

    def __init__(self) -> None:
        told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        self.assets = Path(told["assets"])
        self.scratch = Path(told["scratch"])
        self.epochs: int = told["epochs"]
        self.settings: dict[str, Any] = told["settings"]

    @property
    def model(self) -> str:
        return str(self.assets / "model")

    def tokens(self) -> list[list[int]]:
        documents: list[list[int]] = json.loads((self.assets / "tokens.json").read_text(encoding="utf-8"))
        return documents

    def answer(self, count: "Count", losses: list[float]) -> None:
        """Write what was measured."""
        versions = {}
        for name in SHOWN:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                continue
        answer = {**vars(count), "losses": losses, "versions": versions}
        (self.scratch / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


class Count:
    """What a training did. `tokens` are without padding; `targets` are those of them that carry loss, as next token of some other."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps = 0
        self.tokens = 0
        self.targets = 0
        self.gpu_bytes = 0
        self.marks: list[float] = []


def watch(trainer_class: type, count: Count, states: list[Any]) -> None:
    """Have a Trainer's class time `train`, and count what each batch holds. Its state, with the losses, is added to `states`."""
    train: Callable[..., Any] = trainer_class.train  # type: ignore[attr-defined]
    step: Callable[..., Any] = trainer_class.training_step  # type: ignore[attr-defined]

    def timed(trainer: Any, *arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        done = train(trainer, *arguments, **options)
        count.marks.append(time.perf_counter())
        count.seconds = count.marks[-1] - began
        count.steps = trainer.state.global_step
        states.append(trainer.state)
        return done

    def counted(trainer: Any, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        count.marks.append(time.perf_counter())
        count.targets += int((inputs["labels"][:, 1:] != IGNORED).sum())
        count.tokens += present(inputs)
        return step(trainer, model, inputs, *arguments, **options)

    trainer_class.train = timed  # type: ignore[attr-defined]
    trainer_class.training_step = counted  # type: ignore[attr-defined]


def present(inputs: dict[str, Any]) -> int:
    """Tokens of a batch without padding. A pack whose mask is tokens by tokens has a label on every token that is no padding."""
    mask = inputs.get("attention_mask")
    if mask is None:
        return int(inputs["input_ids"].numel())
    return int((mask != 0).sum()) if mask.dim() == 2 else int((inputs["labels"] != IGNORED).sum())


def losses_of(state: Any) -> list[float]:
    return [float(row["loss"]) for row in state.log_history if "loss" in row]
