"""Rewards earned: TRL's own numbers on the same data and seed, resumed exactly, learned for real, and what a reward does wrong said."""

import difflib
import inspect
import json
import shutil
from hashlib import sha256
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks import objectives
from llmlab import contract, recipe as recipes
from llmlab.contract import EndReason, TrainerExit, WorkFolder
from llmlab.sandbox import model as sandbox_model
from llmlab.sandbox.runbook import questions
from llmlab.trainer.training import checkpoints, lr_schedule
from llmlab.trainer.training.sampler import StepPlan
from tests.trainer import work as folders, yardstick
from tests.trainer.conftest import Train
from tests.trainer.test_resume import Interrupting, ask, same

LENGTH = {"length": {"longest": 24}}
VOWELS = "def reward(completions, level, **others):\n    return [float(sum(map(one.count, 'aeiou'))) for one in completions]\n"


def rows(count: int) -> list[dict[str, Any]]:
    return [{"prompt": one.text, "answer": one.answer, "level": "easy"} for one in islice(questions(5), count)]


def file(text: str) -> dict[str, Any]:
    return {"file": {"file": "reward.py", "text": text, "sha256": sha256(text.encode()).hexdigest()}}


def make(root: Path, model: Path, *, count: int = 10, rewards: list[Any] | None = None, **recipe: Any) -> WorkFolder:
    grpo = {"num_generations": 4, "max_completion_length": 6, "rewards": rewards or ["similarity"], **recipe.pop("grpo", {})}
    return folders.make(root, model, rows(count), recipe={"objective": "grpo", "batch_size": 8, "grpo": grpo, **recipe})


def metrics(work: WorkFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(work.output, contract.METRICS_FILE).read_text().splitlines()]


def trained_rows(work: WorkFolder) -> list[dict[str, Any]]:
    return [row for row in metrics(work) if "loss" in row]


def test_it_is_trls_own_trainer(tmp_path: Path, model: Path, train: Train) -> None:
    """A bare script on the same prompts in the same order, with the same random numbers in each step."""
    steps = 4
    recipe = {"max_steps": steps, "batch_size": 4, "accumulate": 2, "schedule": "constant", "lora": {"rank": 4, "dropout": 0.0}}
    work = make(tmp_path, model, rewards=["similarity", {"length": {"longest": 8}, "weight": 0.5}], grpo={"beta": 0.1}, **recipe)
    code, log = train(work)
    assert code == 0, log
    theirs = bare(work, steps)
    ours = trained_rows(work)
    assert len(ours) == len(theirs) == steps
    for row, logs in zip(ours, theirs, strict=True):
        for our, its in {"loss": "loss", "reward": "reward", "reward_std": "reward_std", "grad_norm": "grad_norm", "kl": "kl"}.items():
            assert row[our] == pytest.approx(logs[its], abs=1e-5), (row["step"], our)
    assert any(row["reward_std"] > 0 for row in ours)
    assert any(row["kl"] > 0 for row in ours)


def bare(work: WorkFolder, steps: int) -> list[dict[str, float]]:
    """What TRL's GRPOTrainer logs of each step."""
    with yardstick.quiet():
        import torch
        import trl
        from datasets import Dataset
        from transformers import TrainerCallback

        begun = yardstick.start(work)
        recipe, plan = begun.recipe, StepPlan.of(begun.recipe, len(begun.tokens))
        every = rows(10)
        data = [every[int(item)] for step in range(steps) for item in plan.items(step)]
        logged: list[dict[str, float]] = []

        class Noting(TrainerCallback):  # type: ignore[misc]
            def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
                torch.manual_seed(lr_schedule.seed(recipe.seed, state.global_step, 0))

            def on_log(self, _args: Any, _state: Any, _control: Any, logs: dict[str, float], **_: Any) -> None:
                if "reward" in logs:
                    logged.append(dict(logs))

        def similar(completions: Any, answer: Any, **_: Any) -> list[float]:
            said = [one[0]["content"].strip() for one in completions]
            return [difflib.SequenceMatcher(None, one, right, autojunk=False).ratio() for one, right in zip(said, answer, strict=True)]

        def short(completions: Any, **_: Any) -> list[float]:
            return [max(0.0, min(1.0, 2 - len(one[0]["content"]) / 8)) for one in completions]

        given = yardstick.common(recipe, work, steps)
        del given["max_length"]
        settings = trl.GRPOConfig(
            **given, num_generations=4, max_completion_length=6, beta=0.1, reward_weights=[1.0, 0.5], shuffle_dataset=False, temperature=1.0
        )
        prompts = [{"prompt": [{"role": "user", "content": row["prompt"]}], "answer": row["answer"]} for row in data]
        trl.GRPOTrainer(
            model=begun.model, args=settings, train_dataset=Dataset.from_list(prompts), processing_class=begun.tokenizer,
            reward_funcs=[similar, short], callbacks=[Noting()],
        ).train()  # fmt: skip
        return logged


@pytest.mark.slow  # three trainings, each of which makes its completions one token after the other
def test_asked_to_leave_and_resumed(tmp_path: Path, model: Path, train: Train) -> None:
    """Losses, rewards, evaluations, counters and weights bit by bit, on a CPU. An epoch's last step is short."""
    recipe = {"epochs": 2, "accumulate": 1, "grpo": {"beta": 0.1}, "evaluation": {"share": 0.3, "steps": 2}, "rewards": [file(VOWELS)]}
    whole, work = (make(tmp_path / name, model, count=10, **recipe) for name in ("whole", "work"))
    code, log = train(whole)
    assert code == 0, log
    code, log = train(work, Interrupting(work, 2, ask))
    assert code == TrainerExit.STOPPED_ON_REQUEST, log
    assert checkpoints.find(Path(work.checkpoints)).step == folders.outcome(work).step == 3
    Path(work.request).unlink()
    shutil.rmtree(work.output)
    shutil.rmtree(work.cache)
    code, log = train(work)
    assert code == 0, log
    assert "resuming: from checkpoint-3" in log
    best = max(row["eval_reward"] for row in metrics(work) if "eval_reward" in row)
    assert "held out: reward " in log
    assert f"  reward {trained_rows(work)[-1]['reward']:.4f}  " in log
    card = Path(work.output, contract.ADAPTER, "README.md").read_text()
    assert f"| reward of held-out prompts | {best:.4f}, the best" in card
    assert "| step | reward | its deviation | learning rate | held-out reward |" in card
    same(work, whole)
    assert [row["reward"] for row in trained_rows(work)] == [row["reward"] for row in trained_rows(whole)]
    assert folders.evaluated(work) == folders.evaluated(whole)
    assert len(folders.evaluated(whole)) >= 4


def test_each_step_makes_its_own_completions(tmp_path: Path, model: Path, train: Train) -> None:
    """Behind an epoch's last step, too, which has fewer prompts and so fewer batches."""
    work = make(tmp_path, model, count=4, rewards=[file(VOWELS)], batch_size=4, accumulate=3, epochs=2)
    code, log = train(work)
    assert code == 0, log
    seen = trained_rows(work)
    assert len(seen) == 4
    assert len({row["reward"] for row in seen}) > 1
    assert folders.progress(work).reward == seen[-1]["reward"]
    assert f"  reward {seen[-1]['reward']:.4f}  " in log


def test_a_reward_that_fails_ends_the_run_with_the_row(tmp_path: Path, model: Path, train: Train) -> None:
    text = "def reward(completions, answer, **others):\n    return [1.0 if 'router' in one else None for one in answer]\n"
    work = make(tmp_path, model, rewards=[file(text)])
    code, log = train(work)
    assert code == TrainerExit.DATA_ERROR, log
    told = folders.outcome(work)
    assert told.reason is EndReason.DATA_ERROR
    assert told.detail.startswith("the reward reward.py returned None for completion 1, which is no finite number (train.jsonl:")
    assert "rewards: reward.py, computed in a process that is held by" in log


def test_rewards_that_are_all_alike_are_said(tmp_path: Path, model: Path, train: Train) -> None:
    work = make(tmp_path, model, count=4, rewards=[{"regex": "nobody says this"}])
    code, log = train(work)
    assert code == 0, log
    assert "warning: nothing is learned from this step, the 1. such: in each of its 2 groups all 4 completions got the same reward" in log
    assert "rewards: in 4 of 4 groups all completions got the same reward, which teaches nothing" in log
    assert [row["groups_alike"] for row in trained_rows(work)] == [1, 1]


def test_prompts_without_room_for_a_completion_are_left_out(tmp_path: Path, model: Path, train: Train) -> None:
    long = {"prompt": "How do I remove the busy router? " * 40, "answer": "No."}
    grpo = {"num_generations": 4, "max_completion_length": 6, "rewards": ["similarity"]}
    work = folders.make(tmp_path, model, [*rows(3), long], recipe={"objective": "grpo", "batch_size": 4, "grpo": grpo})
    code, log = train(work)
    assert code == 0, log
    assert "data: 1 longer than 256 tokens left out" in log
    assert len(trained_rows(work)) == 3


def test_text_is_no_prompt(tmp_path: Path, model: Path, train: Train) -> None:
    grpo = {"max_completion_length": 6, "rewards": ["similarity"]}
    work = folders.make(tmp_path, model, [{"text": "Once"}], recipe={"objective": "grpo", "grpo": grpo, "batch_size": 8})
    code, log = train(work)
    assert code == TrainerExit.DATA_ERROR, log
    assert "cannot be learned from with objective grpo" in folders.outcome(work).detail


def learned(root: Path, model: Path, train: Train, steps: int, **recipe: Any) -> list[float]:
    """The mean reward of the likeliest completions of held-out prompts, at each evaluation."""
    common = {
        "batch_size": 32, "max_length": 96, "max_steps": steps, "schedule": "constant", "lora": {"rank": 8, "alpha": 16, "dropout": 0.0},
        "evaluation": {"share": 0.3, "steps": 5}, "grpo": {"num_generations": 8, "max_completion_length": 32},
    }  # fmt: skip
    work = make(root, model, count=60, rewards=[LENGTH], **{**common, **recipe})
    code, log = train(work)
    assert code == 0, log
    return [row["eval_reward"] for row in metrics(work) if "eval_reward" in row]


@pytest.mark.slow  # makes a base model that can read a little, and lets it answer 480 times
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_reward_is_earned_by_a_small_model(tmp_path: Path, train: Train) -> None:
    folder = tmp_path / "tiny"
    with yardstick.quiet():
        sandbox_model.make(folder, steps=120, hidden=64, layers=2)
    seen = learned(tmp_path / "work", folder, train, 15, learning_rate=0.01)
    assert seen[0] < 0.4
    assert max(seen) > 0.8


@pytest.mark.hours
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_sandboxs_model_earns_a_reward_and_turns_a_margin(tmp_path: Path) -> None:
    """The curves of benchmarks/RESULTS.md: from near 0 to over 0.8, and good answers of a question that was never asked above bad ones."""
    folder = tmp_path / "tiny"
    with yardstick.quiet():
        sandbox_model.make(folder)
    rewards = [row["eval_reward"] for row in objectives.metrics("grpo", tmp_path / "grpo", folder) if "eval_reward" in row]
    assert rewards[0] < 0.1
    assert max(rewards) > 0.8
    margins = [row["eval_margin"] for row in objectives.metrics("kto", tmp_path / "kto", folder) if "eval_margin" in row]
    assert margins[0] == pytest.approx(0, abs=1e-5)
    assert margins[-1] > 5


def test_what_is_private_of_trl_is_there_in_the_locked_version() -> None:
    import trl

    assert f"trl=={version('trl')}" in {line.split()[0].rstrip(";") for line in Path("requirements.lock").read_text().splitlines() if line}
    kind = trl.GRPOTrainer
    assert list(inspect.signature(kind._tokenize_prompts).parameters) == ["self", "prompts"]
    assert list(inspect.signature(kind._generate_and_score_completions).parameters) == ["self", "inputs"]
    assert "self._step % generate_every == 0" in inspect.getsource(kind._prepare_inputs)
    assert "self.args.steps_per_generation" in inspect.getsource(kind._prepare_inputs)
    assert "self._step = 0" in inspect.getsource(kind.__init__)


BAD = {
    "rewards: []": ("objective grpo has no rewards: nothing says which completions are better", "grpo.rewards=[exact_match]"),
    "rewards: [exact_match]\n  num_generations: 3": (
        "objective grpo makes 8 completions a step (batch_size x accumulate), which groups of grpo.num_generations 3 do not divide",
        "accumulate=9",
    ),
    "rewards: [exact_match]\n  max_completion_length: 4096": (
        "objective grpo has no room for a prompt in max_length 2048 beside grpo.max_completion_length 4096", "max_length=8192",
    ),
    "rewards: [exact_match]\n  beta: 0.1\nmethod: full": (
        "objective grpo compares with the model before training by leaving the adapter out, so method full cannot have grpo.beta 0.1",
        "grpo.beta=0",
    ),
    "rewards: [exact_match]\ntoo_long: split": (
        "objective grpo makes its own completions, so that too_long split has nothing to split", "too_long=drop",
    ),
    "rewards: [exact_match]\npacking: true": ("objective grpo pads its batches, so packing true cannot be had", "packing=auto"),
}  # fmt: skip


def test_no_case_is_missing() -> None:
    assert len(BAD) == 6


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_is_refused_before_it_is_paid_for(tmp_path: Path, text: str) -> None:
    """And what the hint sets is taken."""
    path = tmp_path / "recipe.yaml"
    path.write_text(f"model: some/model\nobjective: grpo\ngrpo:\n  {text}")
    words, mends = BAD[text]
    with pytest.raises(recipes.UsageError) as stop:
        recipes.load(path)
    assert stop.value.message == f"{words} ({path})"
    assert stop.value.hint.replace("'", "") == f"llmlab launch --set {mends}"
    name, _, value = mends.partition("=")
    assert recipes.load(path, {name: value}).objective == "grpo"
