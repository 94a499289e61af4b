"""The memory estimate of what TRL's trainers train, held to the most that torch has alive at once in a real step of theirs.

A step is what the loop gives such a trainer: with `kto` its batches forward and backward, what is usual and the reference's pass included;
with `grpo` the completions of the whole step are made first.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from llmlab import footprint, recipe as recipes
from llmlab.contract import METRICS_FILE
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_memory_peak import most_alive

LOW, HIGH = 0.75, 1.35
WORDS = "restart the old server and drain the main queue before the new node is moved "
GRPO = {"objective": "grpo", "grpo": {"num_generations": 4, "max_completion_length": 16, "rewards": ["similarity"]}}
MANY = {"num_generations": 32, "max_completion_length": 32, "rewards": ["similarity"]}
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "kto": (6, {"objective": "kto"}),
    "kto, full": (6, {"objective": "kto", "method": "full"}),
    "grpo": (6, GRPO),
    "grpo, full": (6, {**GRPO, "method": "full"}),
    "grpo, many completions": (1, {"objective": "grpo", "batch_size": 1, "accumulate": 32, "grpo": MANY}),
}
"""How often a prompt says the words, and the recipe."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that what a training keeps is more than what Python's own objects do."""
    from llmlab.sandbox.model import make

    folder = tmp_path_factory.mktemp("base") / "tiny"
    make(folder, steps=0, hidden=128, layers=4)
    return folder


@pytest.mark.hours
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", CASES)
def test_the_estimate_is_what_trl_takes(tmp_path: Path, base: Path, train: Train, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    from llmlab.trainer import memory
    from llmlab.trainer.trl.grpo import SteppingGrpo
    from llmlab.trainer.trl.kto import SteppingKto

    times, chosen = CASES[case]
    peaks: list[int] = []
    shapes: list[Any] = []
    for kind in (SteppingKto, SteppingGrpo):
        monkeypatch.setattr(kind, "training_step", watched(kind.training_step, peaks, shapes, memory.shape_of))
    said = WORDS * times
    rows = [{"prompt": said, "completion": said, "label": number % 2 == 0} for number in range(8)]
    if chosen["objective"] == "grpo":
        rows = [{"prompt": said, "answer": said} for _ in range(4)]
    recipe = {
        "batch_size": 4, "max_length": 512, "max_steps": 2, "precision": "fp32", "gradient_checkpointing": False,
        "lora": {"rank": 16, "dropout": 0.0}, **chosen,
    }  # fmt: skip
    work = folders.make(tmp_path, base, rows, recipe=recipe)
    code, log = train(work)
    assert code == 0, log
    metrics = [json.loads(line) for line in Path(work.output, METRICS_FILE).read_text().splitlines()]
    asked = recipes.check({**folders.RECIPE, **recipe})
    sequences = asked.batch_size * asked.accumulate
    length = round((metrics[1]["tokens"] - metrics[0]["tokens"]) / sequences)
    parts = footprint.parts(asked.model_copy(update={"max_length": length}), shapes[0])
    ratio = sum(parts.values()) / max(peaks)
    assert len(peaks) == 2
    assert LOW < ratio < HIGH, f"{ratio:.3f} of {max(peaks) / 2**20:.1f} MiB: {parts}"


def watched(step: Any, peaks: list[int], shapes: list[Any], shape_of: Any) -> Any:
    """A trainer's step that notes the bytes alive at its peak: weights and moments, and whatever it makes."""

    def training_step(trainer: Any, model: Any, *inputs: Any) -> Any:
        state = trainer.optimizer.state
        moments = [one for values in state.values() for one in values.values() if hasattr(one, "untyped_storage")]
        held, came = [*model.parameters(), *moments], []
        alive = most_alive(lambda: came.append(step(trainer, model, *inputs)), held)
        peaks.append(alive + sum(one.numel() * one.element_size() for one in held))
        shapes.append(shape_of(model))
        return came[0]

    return training_step
