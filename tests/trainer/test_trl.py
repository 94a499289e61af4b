"""TRL's own trainers under our contract: our loop's numbers, our checkpoints and requests, and nothing written elsewhere."""

import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from llmlab import footprint
from llmlab.clock import SystemClock
from llmlab.contract import ADAPTER, METRICS_FILE, EndReason, Env, TrainerExit, WorkFolder
from llmlab.trainer import run
from llmlab.trainer.control import Control
from llmlab.trainer.distributed import Processes
from llmlab.trainer.failures import Failed, SetupFailed
from llmlab.trainer.training import checkpoints
from tests.trainer import work as folders, yardstick
from tests.trainer.conftest import Train
from tests.trainer.stable import Stable
from tests.trainer.test_resume import Interrupting, ask, same, terminate

STEPS = 20
SAME: dict[str, dict[str, Any]] = {
    "sft": {"batch_size": 2, "accumulate": 2},
    "sft, full": {"method": "full", "batch_size": 4},
    "dpo": {"objective": "dpo", "batch_size": 2, "accumulate": 2},
    "dpo, full": {"objective": "dpo", "method": "full", "batch_size": 1, "accumulate": 4},
}
FORMS = {"sft": "messages", "dpo": "preference", "kto": "kto", "grpo": "messages"}
LEFT: dict[str, dict[str, Any]] = {
    "sft": {"method": "lora"},
    "sft, full": {"method": "full"},
    "dpo": {"objective": "dpo"},
    "dpo, full": {"objective": "dpo", "method": "full"},
    "kto": {"objective": "kto"},
    "kto, full": {"objective": "kto", "method": "full"},
}
"""14 examples, some held out, in steps of 4: the last one of an epoch is short. Dropout is on where there is an adapter."""


def test_no_case_is_missing() -> None:
    assert (len(SAME), len(LEFT)) == (4, 6)
    assert len(WORDS) == 6


def make(root: Path, model: Path, **recipe: Any) -> WorkFolder:
    common = {"engine": "trl", "epochs": 3, "batch_size": 2, "accumulate": 2, "evaluation": {"share": 0.2, "steps": 2}}
    objective = recipe.get("objective", "sft")
    return folders.make(root, model, form=FORMS[objective], count=14, recipe={**common, **recipe})


def tiered(cases: Iterable[str], quick: set[str], slow: set[str]) -> list[Any]:
    """Parameters for a test: some for `make test`, some for `make test-all`, and the others for `make prove`, which has the time."""
    marks = dict.fromkeys(quick, ()) | dict.fromkeys(slow, (pytest.mark.slow,))
    return [pytest.param(name, marks=marks.get(name, (pytest.mark.hours,))) for name in cases]


@pytest.mark.parametrize("case", tiered(SAME, {"sft"}, {"dpo"}))
def test_twenty_steps_are_our_loops(tmp_path: Path, model: Path, train: Train, case: str) -> None:
    """The same examples in the same order, the same masks, weights and learning rates: so the same losses."""
    recipe = {"max_steps": STEPS, "lora": {"rank": 4, "dropout": 0.0}, "warmup": 0.1, **SAME[case]}
    seen = []
    for engine in ("own", "trl"):
        form = FORMS[recipe.get("objective", "sft")]
        work = folders.make(tmp_path / engine, model, form=form, count=16, recipe={**recipe, "engine": engine})
        code, log = train(work)
        assert code == 0, log
        seen.append(work)
    ours, its = (folders.losses(work) for work in seen)
    assert len(ours) == len(its) == STEPS
    for (step, loss, norm), (at, other, size) in zip(ours, its, strict=True):
        assert step == at
        assert loss == pytest.approx(other, abs=1e-5), step
        assert norm == pytest.approx(size, rel=1e-3), step
    assert ours[-1][1] < ours[0][1] - 0.02
    assert folders.progress(seen[0]).tokens == folders.progress(seen[1]).tokens


@pytest.mark.parametrize("method", tiered(["lora", "full"], set(), {"lora"}))
def test_kto_is_a_bare_script_of_trls(tmp_path: Path, model: Path, train: Train, method: str) -> None:
    """On the same tokens, labels and pairs, in the same order, from the same weights."""
    recipe = {
        "objective": "kto", "method": method, "max_steps": STEPS, "batch_size": 4, "accumulate": 2, "lora": {"rank": 4, "dropout": 0.0},
        "kto": {"beta": 0.3, "desirable_weight": 1.5},
    }  # fmt: skip
    work = folders.make(tmp_path, model, form="kto", count=16, recipe=recipe)
    code, log = train(work)
    assert code == 0, log
    ours, its = folders.losses(work), yardstick.kto(work, STEPS)
    assert len(ours) == len(its.norms) == STEPS
    for (step, loss, norm), other, size in zip(ours, its.losses, its.norms, strict=True):
        assert loss == pytest.approx(other, abs=1e-5), step
        assert norm == pytest.approx(size, rel=1e-3), step
    assert ours[-1][1] < ours[0][1] - 0.02


@pytest.mark.slow  # enough steps to see it
def test_kto_turns_the_margin(tmp_path: Path, model: Path, train: Train) -> None:
    """Answers that it never trained on: the good ones are rewarded above the bad ones."""
    recipe = {"objective": "kto", "batch_size": 8, "epochs": 4, "learning_rate": 0.003, "evaluation": {"share": 0.25}}
    work = folders.make(tmp_path, model, form="kto", count=64, recipe=recipe)
    code, log = train(work)
    assert code == 0, log
    rows = [json.loads(line) for line in Path(work.output, METRICS_FILE).read_text().splitlines()]
    told = [row["eval_margin"] for row in rows if "eval_loss" in row]
    assert len(told) == 5
    assert told[0] == pytest.approx(0, abs=1e-5)
    assert told[-1] > 0.5
    assert {"margin", "reward_good", "reward_bad", "kl", "grad_norm", "tokens"} <= set(rows[-1])
    assert rows[-1]["reward_good"] > rows[-1]["reward_bad"]


def test_labels_of_one_kind_alone_are_refused_on_the_machine_too(tmp_path: Path, model: Path, train: Train) -> None:
    rows = [{"prompt": f"q {number}", "completion": "w", "label": True} for number in range(6)]
    work = folders.make(tmp_path, model, rows, recipe={"objective": "kto"})
    code, log = train(work)
    assert code == TrainerExit.DATA_ERROR, log
    assert "is labelled good, and objective kto learns from good and bad ones side by side" in log


@pytest.mark.parametrize("objective", ["sft", "kto", "grpo"])
def test_several_gpus_are_refused_by_the_trainer_too(tmp_path: Path, model: Path, objective: str) -> None:
    """A launch asks for no machine with several; whoever has one all the same reads it before anything is loaded."""
    grpo = {"grpo": {"rewards": ["similarity"], "num_generations": 2, "max_completion_length": 6}} if objective == "grpo" else {}
    work = make(tmp_path, model, objective=objective, **grpo)
    spec, recipe = run.parse(work)
    with Control(work, SystemClock()) as control, pytest.raises(SetupFailed) as caught:
        run.train(work, spec, recipe, control, Processes(0, 2), print)
    assert caught.value.message == "TRL's trainers train on one GPU here, and this machine has 2"
    assert caught.value.hint == "llmlab launch --instance-type g6.xlarge"


@pytest.mark.parametrize("case", tiered(LEFT, set(), {"dpo", "kto"}))
def test_asked_to_leave_and_resumed(tmp_path: Path, model: Path, train: Train, case: str) -> None:
    """Losses, evaluations, counters and weights bit by bit, on a CPU."""
    whole, work = (make(tmp_path / name, model, **LEFT[case]) for name in ("whole", "work"))
    code, log = train(whole)
    assert code == 0, log
    act = terminate if "full" in case else ask
    code, log = train(work, Interrupting(work, 4, act))
    assert code == TrainerExit.STOPPED_ON_REQUEST, log
    assert folders.outcome(work).reason is (EndReason.INSTANCE_LOST if "full" in case else EndReason.SPOT_INTERRUPTED)
    assert checkpoints.find(Path(work.checkpoints)).step == folders.outcome(work).step == 5
    Path(work.request).unlink(missing_ok=True)
    shutil.rmtree(work.output)  # the next attempt is another machine: it gets checkpoints and nothing else
    shutil.rmtree(work.cache)
    code, log = train(work)
    assert code == 0, log
    assert "resuming: from checkpoint-5" in log
    assert f"engine: TRL {version('trl')}, {case[:3].upper()}Trainer" in log
    same(work, whole)
    assert folders.evaluated(work) == folders.evaluated(whole)
    assert len(folders.evaluated(whole)) >= 4


@pytest.mark.hours
@pytest.mark.parametrize("case", LEFT)
def test_killed_at_ten_random_moments(tmp_path: Path, model: Path, stable: Stable, case: str) -> None:
    assert killed(tmp_path, model, stable, case, signal.SIGKILL, 5) >= 5
    assert killed(tmp_path, model, stable, case, signal.SIGTERM, 5) >= 5


def killed(root: Path, model: Path, stable: Stable, case: str, kind: signal.Signals, times: int) -> int:
    """Kill a run at random moments of its second half, whose first is starting, and compare what comes out; how often it was killed."""
    recipe = {**LEFT[case], "save_steps": 1, "keep_checkpoints": 2}
    whole = make(root / f"whole {kind.name}", model, **recipe)
    done, log = stable.run(whole)
    assert done.codes == [0], log
    draw, seen = random.Random(f"{case} {kind}"), 0
    for number in count():
        work = make(root / f"{kind.name} {number}", model, **recipe)
        for attempt in count():
            after = None if seen >= times or attempt > 2 else draw.uniform(0.5 * done.seconds, 0.95 * done.seconds)
            ended, log = stable.run(work, after=after, signal=int(kind))
            if ended.codes == [0]:
                break
            assert ended.codes[0] in {-kind, TrainerExit.STOPPED_ON_REQUEST}, log
            seen += 1
        same(work, whole)
        assert folders.evaluated(work) == folders.evaluated(whole)
        if seen >= times or number >= 3 * times:
            return seen
    raise AssertionError("unreachable")


@pytest.mark.slow  # two processes that import everything
def test_what_comes_out_is_what_our_loop_writes(tmp_path: Path, model: Path, train: Train) -> None:
    """The same files, in the work folder, beside an empty home that stays empty; nothing of TRL's is among them."""
    home = tmp_path / "home"
    home.mkdir()
    recipe = {"evaluation": {"share": 0.2, "prompts": ["What is the rule?"], "prompt_tokens": 4}}
    own, trl = (folders.make(tmp_path / engine, model, recipe={**recipe, "engine": engine}) for engine in ("own", "trl"))
    assert train(own)[0] == 0
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), Env.WORK: trl.root, "OMP_NUM_THREADS": "1", "TMPDIR": str(home)}
    command = [sys.executable, "-m", "llmlab.trainer"]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert [one for one in home.rglob("*") if one.is_file()] == []
    assert f"output/{ADAPTER}/adapter_model.safetensors" in written(trl)
    assert written(trl) == written(own)


def written(work: WorkFolder) -> set[str]:
    """What of a run is uploaded, but for the names of TensorBoard's files, which hold the time."""
    parts = {"output": Path(work.output), "checkpoints": Path(work.checkpoints)}
    every = {f"{name}/{file.relative_to(part)}" for name, part in parts.items() for file in part.rglob("*")}
    return {name for name in every if "tensorboard" not in name}


WORDS = {
    "`per_device_train_batch_size` must be at least 2": "batch_size must be at least 2",
    "set `args.gradient_accumulation_steps=4` or `bf16=False`": "set accumulate or precision",
    "the `target_modules` of the adapter": "the lora.targets of the adapter",
    "a larger `beta` is needed": "a larger dpo.beta is needed",
    "`num_generations` must divide `generation_batch_size`": "grpo.num_generations must divide batch_size x accumulate",
    "as many `reward_weights` as `reward_funcs`": "as many weights of grpo.rewards as grpo.rewards",
}


@pytest.mark.parametrize("theirs", WORDS)
def test_trls_words_are_the_recipes_fields(theirs: str) -> None:
    from llmlab.trainer.trl.words import translated

    assert translated(theirs, "dpo") == WORDS[theirs]


OF_NO_RECIPE = {
    "output_dir", "save_strategy", "eval_strategy", "report_to", "push_to_hub", "disable_tqdm", "logging_strategy", "logging_steps",
    "logging_nan_inf_filter", "remove_unused_columns",
}  # fmt: skip
"""What TRL is told whatever the recipe says."""


def test_every_setting_that_trl_is_given_has_a_name_in_the_recipe() -> None:
    from llmlab import recipe as recipes
    from llmlab.trainer.device import Device
    from llmlab.trainer.trl.objective import TrainerParts, arguments
    from llmlab.trainer.trl.words import FIELDS

    recipe = recipes.check({"model": "a/b", "engine": "trl"})
    told = set(arguments(TrainerParts(recipe, Device("cpu", "float32"), None, None, None, None, Path("trl"), 1)))  # type: ignore[arg-type]
    assert len(told) >= 20
    assert told - set(FIELDS) - set(recipes.Recipe.model_fields) == OF_NO_RECIPE


def test_what_trl_refuses_is_a_setup_that_failed() -> None:
    from llmlab import recipe as recipes
    from llmlab.trainer.trl.words import of_the_recipe

    with pytest.raises(SetupFailed) as caught, of_the_recipe(recipes.check({"model": "a/b", "engine": "trl"})):
        raise ValueError("`num_train_epochs` is wrong. See the documentation.")
    assert caught.value.message == "TRL's trainer refuses this: epochs is wrong"
    assert caught.value.hint == "llmlab launch --set engine=own"
    kto = recipes.check({"model": "a/b", "objective": "kto", "batch_size": 2})
    with pytest.raises(Failed) as failed, of_the_recipe(kto, begun=True):
        raise TypeError("a larger `beta` is needed")
    assert (failed.value.message, failed.value.hint) == ("TRL's trainer failed: a larger kto.beta is needed", "")
    assert failed.value.reason is EndReason.TRAINING_ERROR


def test_what_is_private_of_trl_is_there_in_the_locked_version() -> None:
    """`_prepare_dataset` is overridden where a trainer has no public way to be given tokens."""
    import trl

    assert f"trl=={version('trl')}" in {line.split()[0].rstrip(";") for line in Path("requirements.lock").read_text().splitlines() if line}
    seen = 0
    for kind in (trl.DPOTrainer, trl.KTOTrainer):
        assert list(inspect.signature(kind._prepare_dataset).parameters) == ["self", "dataset", "processing_class", "args", "dataset_name"]
        seen += 1
    assert seen == 2


def test_a_tile_of_trls_logits_is_as_large_as_the_estimate_counts_it() -> None:
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    assert footprint.TRLS_POSITIONS == chunked_logprob.TOKEN_CHUNK_SIZE
    assert footprint.TRLS_WORDS == utils._CHUNKED_LOGPROB_CHUNK_SIZE
