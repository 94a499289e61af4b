"""Interrupted and resumed is the same as never interrupted, bit by bit; damage is passed over; no step is twice in the metrics."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import COMPLETE, EndReason, StopRequest, TrainerExit, WorkFolder
from llmlab.trainer.training import checkpoints
from tests.sampling import sampled
from tests.trainer import work as folders
from tests.trainer.conftest import Train

RECIPE = {"epochs": 3, "batch_size": 2, "accumulate": 2, "save_steps": 2, "keep_checkpoints": 3}
"""14 examples: 4 steps an epoch, the last one short; dropout is on."""
COUNT = 14
STEPS = 12


class Interrupting(ManualClock):
    """A clock that asks the trainer to leave when it is read at a given step: the trainer reads it once at each step's end."""

    def __init__(self, work: WorkFolder, at_step: int, act: Callable[[WorkFolder], None]) -> None:
        super().__init__(datetime(2026, 11, 23, tzinfo=UTC))
        self.work, self.at_step, self.act = work, at_step, act

    def now(self) -> datetime:
        if Path(self.work.progress).exists() and folders.progress(self.work).step == self.at_step:
            self.at_step = -1
            self.act(self.work)
        return super().now()


def ask(work: WorkFolder) -> None:
    Path(work.request).write_text(contract.dump(StopRequest(EndReason.SPOT_INTERRUPTED, "2026-11-23T12:00:00Z")))


def interrupted(train: Train, work: WorkFolder, at_step: int, act: Callable[[WorkFolder], None] = ask) -> str:
    """Train until somebody asks to leave at a step, and go on from the checkpoint of the next one; the log of what went on."""
    code, log = train(work, Interrupting(work, at_step, act))
    assert code == TrainerExit.STOPPED_ON_REQUEST, log
    Path(work.request).unlink(missing_ok=True)
    shutil.rmtree(work.output)  # the next attempt is another machine: it gets checkpoints and nothing else
    shutil.rmtree(work.cache)
    code, log = train(work)
    assert code == 0, log
    assert f"resuming: from checkpoint-{at_step + 1}" in log
    return log


def terminate(_work: WorkFolder) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model: Path, train: Train) -> WorkFolder:
    """The run that nobody interrupted."""
    work = folders.make(tmp_path_factory.mktemp("whole"), model, recipe=RECIPE, count=COUNT)
    code, log = train(work)
    assert code == 0, log
    assert len(folders.losses(work)) == STEPS
    return work


def same(one: WorkFolder, two: WorkFolder) -> None:
    assert folders.losses(one) == folders.losses(two)
    assert folders.weights(one) == folders.weights(two)
    assert folders.progress(one).tokens == folders.progress(two).tokens


@pytest.mark.parametrize(
    ("act", "reason"),
    [pytest.param(ask, EndReason.SPOT_INTERRUPTED, id="request"), pytest.param(terminate, EndReason.INSTANCE_LOST, id="SIGTERM")],
)
@pytest.mark.parametrize("step", [2, 4], ids=["mid-epoch", "at an epoch's end"])
def test_asked_to_leave_and_resumed(
    tmp_path: Path, model: Path, train: Train, whole: WorkFolder, act: Callable[[WorkFolder], None], reason: EndReason, step: int
) -> None:
    work = folders.make(tmp_path, model, recipe={**RECIPE, "save_steps": None}, count=COUNT)
    code, log = train(work, Interrupting(work, step - 1, act))
    assert code == TrainerExit.STOPPED_ON_REQUEST, log
    assert folders.outcome(work).reason is reason
    assert folders.outcome(work).step == step
    assert checkpoints.find(Path(work.checkpoints)).step == step
    assert len(folders.losses(work)) == step
    Path(work.request).unlink(missing_ok=True)
    shutil.rmtree(work.output)  # the next attempt is another machine: it gets checkpoints and nothing else
    code, log = train(work)
    assert code == 0, log
    assert f"resuming: from checkpoint-{step}" in log
    same(work, whole)


def test_one_that_has_no_step_left_says_the_loss_of_the_last_one(tmp_path: Path, model: Path, train: Train) -> None:
    """Its machine was taken back while it uploaded what came out."""
    work = folders.make(tmp_path, model, recipe={**RECIPE, "epochs": 1}, count=COUNT)
    assert train(work)[0] == 0
    last = folders.losses(work)[-1]
    assert folders.progress(work).loss == last[1]
    shutil.rmtree(work.output)
    Path(work.progress).unlink()
    code, log = train(work)
    assert code == 0, log
    assert "step 1/" not in log
    assert (folders.progress(work).step, folders.progress(work).loss) == last[:2]


@pytest.mark.slow
def test_in_16_bits_too(tmp_path: Path, model: Path, train: Train) -> None:
    """There the head's weights are laid out anew by the process that goes on."""
    recipe = {**RECIPE, "precision": "bf16"}
    whole, work = (folders.make(tmp_path / name, model, recipe=recipe, count=COUNT) for name in ("whole", "work"))
    assert train(whole)[0] == 0
    assert train(work, Interrupting(work, 2, ask))[0] == TrainerExit.STOPPED_ON_REQUEST
    Path(work.request).unlink()
    code, log = train(work)
    assert code == 0, log
    assert "bfloat16: asked for" in log
    same(work, whole)


def test_packing_is_as_in_the_checkpoint(tmp_path: Path, model: Path, train: Train) -> None:
    """Another machine may find packing exact where the first did not; here the recipe stands for what is found."""
    whole = folders.make(tmp_path / "whole", model, recipe={**RECIPE, "packing": False}, count=COUNT)
    assert train(whole)[0] == 0
    work = folders.make(tmp_path / "work", model, recipe={**RECIPE, "packing": False}, count=COUNT)
    assert train(work, Interrupting(work, 2, ask))[0] == TrainerExit.STOPPED_ON_REQUEST
    Path(work.request).unlink()
    work = folders.make(tmp_path / "work", model, recipe={**RECIPE, "packing": "auto"}, count=COUNT)
    code, log = train(work)
    assert code == 0, log
    assert "packing: off, as in the checkpoint" in log
    assert "warning" not in log
    same(work, whole)


@pytest.mark.slow
def test_a_packed_checkpoint_goes_on_where_packing_is_not_exact(tmp_path: Path, model: Path, train: Train) -> None:
    """With the same examples in each step: without dropout its losses are those of the run that stayed packed."""
    recipe = {**RECIPE, "lora": {"rank": 4, "dropout": 0.0}}
    whole = folders.make(tmp_path / "whole", model, recipe=recipe, count=COUNT)
    assert train(whole)[0] == 0
    work = folders.make(tmp_path / "work", model, recipe=recipe, count=COUNT)
    assert train(work, Interrupting(work, 2, ask))[0] == TrainerExit.STOPPED_ON_REQUEST
    Path(work.request).unlink()
    work = folders.make(tmp_path / "work", model, recipe={**recipe, "packing": False}, count=COUNT)
    code, log = train(work)
    assert code == 0, log
    assert "packing: off, asked for" in log
    assert "warning: the checkpoint was packed: each step's examples stay the same, but from here on dropout falls elsewhere" in log
    assert len(folders.losses(work)) == STEPS
    for one, two in zip(folders.losses(work), folders.losses(whole), strict=True):
        assert one == pytest.approx(two, rel=1e-5)


@pytest.mark.slow  # a process that imports torch; test_kills has fifty
def test_killed_and_resumed(tmp_path: Path, model: Path, train: Train, whole: WorkFolder) -> None:
    """SIGKILL in the middle of a step, in a process of its own (which costs the time of importing torch)."""
    work = folders.make(tmp_path, model, recipe=RECIPE, count=COUNT)
    killer = (
        "import os, sys\n"
        "from llmlab.trainer.training.training_loop import Loop\n"
        "from llmlab.trainer.__main__ import main\n"
        "move = Loop._move\n"
        "def deadly(self, rate):\n"
        "    if self.state.step == 7:\n"
        "        self.saver.finish()\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return move(self, rate)\n"
        "Loop._move = deadly\n"
        "sys.exit(main())\n"
    )
    environment = {**os.environ, "LLMLAB_WORK": work.root, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", killer], env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not Path(work.outcome).exists()
    assert len(folders.losses(work)) == 7
    code, log = train(work)
    assert code == 0, log
    assert "resuming: from checkpoint-6" in log
    same(work, whole)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "no COMPLETE": (COMPLETE, Path.unlink, "it has no COMPLETE"),
    "half a COMPLETE": (COMPLETE, truncate, "its COMPLETE cannot be read"),
    "no optimizer": ("optimizer.safetensors", Path.unlink, "optimizer.safetensors is missing"),
    "truncated optimizer": ("optimizer.safetensors", truncate, "optimizer.safetensors has"),
    "no metrics": ("metrics.jsonl", Path.unlink, "metrics.jsonl is missing"),
    "truncated adapter": ("adapter_model.safetensors", truncate, "adapter_model.safetensors has"),
    "a flipped bit": ("optimizer.safetensors", flip, "optimizer.safetensors is not what was saved"),
    "no state": ("state.json", Path.unlink, "state.json is missing"),
}


def test_no_case_is_missing() -> None:
    assert len(DAMAGE) == 8
    assert len(FULL) == 7


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, whole: WorkFolder, kind: str) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(whole.checkpoints, folder)
    assert checkpoints.find(folder).step == STEPS
    name, harm, reason = DAMAGE[kind]
    harm(folder / "checkpoint-12" / name)
    found = checkpoints.find(folder)
    assert found.step == 10
    assert len(found.damaged) == 1
    assert found.damaged[0].startswith(f"checkpoint-12: {reason}")


FULL = ("model.safetensors", "config.json", "state.json", "optimizer.safetensors", "best.safetensors", "metrics.jsonl", COMPLETE)
"""Every kind of file in a checkpoint of a full training that evaluates."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, model: Path, train: Train) -> WorkFolder:
    recipe = {**RECIPE, "method": "full", "evaluation": {"share": 0.3, "steps": 3}}
    work = folders.make(tmp_path_factory.mktemp("full"), model, recipe=recipe, count=COUNT)
    code, log = train(work)
    assert code == 0, log
    return work


def test_what_a_full_trainings_checkpoint_holds(full: WorkFolder) -> None:
    newest = checkpoints.find(Path(full.checkpoints)).newest
    assert newest is not None
    assert {path.name for path in newest.iterdir()} - {"generation_config.json"} == set(FULL)


@pytest.mark.parametrize("name", sampled(FULL, "model.safetensors", COMPLETE))
def test_training_goes_on_from_the_older_one_whatever_is_truncated(
    tmp_path: Path, model: Path, train: Train, full: WorkFolder, name: str
) -> None:
    """To the same weights, through the real entry point."""
    work = tmp_path / "work"
    shutil.copytree(full.root, work, symlinks=True)
    again = WorkFolder(str(work))
    newest = checkpoints.find(Path(again.checkpoints))
    assert newest.newest is not None
    truncate(newest.newest / name)
    shutil.rmtree(again.output)
    code, log = train(again)
    assert code == 0, log
    assert f"warning: not resuming from {newest.newest.name}: " in log
    assert name in next(line for line in log.splitlines() if line.startswith("warning: not resuming"))
    assert "resuming: from checkpoint-" in log
    assert folders.losses(again) == folders.losses(full)
    assert folders.weights(again) == folders.weights(full)


def test_damaged_checkpoints_push_no_good_one_out(tmp_path: Path, model: Path, train: Train, whole: WorkFolder) -> None:
    """Both newer ones are damaged: what is saved next is older than they are, and has to stay."""
    work = folders.make(tmp_path, model, recipe={**RECIPE, "max_steps": 8, "keep_checkpoints": 2}, count=COUNT)
    shutil.rmtree(work.checkpoints)
    shutil.copytree(whole.checkpoints, work.checkpoints)
    for step in (8, 10, 12):
        truncate(Path(work.checkpoints, f"checkpoint-{step}", "state.json"))
    code, log = train(work)
    assert code == 0, log
    assert log.count("warning: not resuming from") == 3
    assert {path.name for path in Path(work.checkpoints).iterdir() if path.name.startswith("checkpoint")} == {
        "checkpoint-6",
        "checkpoint-8",
    }
    assert checkpoints.find(Path(work.checkpoints)).step == 8


def test_training_goes_on_from_the_older_one(tmp_path: Path, model: Path, train: Train, whole: WorkFolder) -> None:
    work = folders.make(tmp_path, model, recipe=RECIPE, count=COUNT)
    shutil.rmtree(work.checkpoints)
    shutil.copytree(whole.checkpoints, work.checkpoints)
    (Path(work.checkpoints) / "checkpoint-12" / "optimizer.safetensors").unlink()
    (Path(work.checkpoints) / checkpoints.STAGING / "checkpoint-14").mkdir(parents=True)
    code, log = train(work)
    assert code == 0, log
    assert "warning: not resuming from checkpoint-12: optimizer.safetensors is missing" in log
    assert "resuming: from checkpoint-10" in log
    same(work, whole)
    assert checkpoints.find(Path(work.checkpoints)).damaged == ()


def test_a_finished_run_only_writes_its_output_again(tmp_path: Path, model: Path, train: Train, whole: WorkFolder) -> None:
    """The machine was lost after the last checkpoint and before the upload."""
    work = folders.make(tmp_path, model, recipe=RECIPE, count=COUNT)
    shutil.rmtree(work.checkpoints)
    shutil.copytree(whole.checkpoints, work.checkpoints)
    code, log = train(work)
    assert code == 0, log
    same(work, whole)


class Ticking(ManualClock):
    """A minute passes each time it is read."""

    def now(self) -> datetime:
        self.time += timedelta(minutes=1)
        return self.time


def test_saves_by_the_clock_and_keeps_the_newest(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model, recipe={**RECIPE, "save_steps": None, "save_minutes": 4, "keep_checkpoints": 2}, count=COUNT)
    code, log = train(work, Ticking(datetime(2026, 11, 23, tzinfo=UTC)))
    assert code == 0, log
    saved = [line.split()[1] for line in log.splitlines() if line.startswith("saved ")]
    assert len(saved) >= 3
    assert saved[-1] == "checkpoint-12"
    kept = {path.name for path in Path(work.checkpoints).iterdir() if path.name.startswith("checkpoint")}
    assert kept == set(saved[-2:])


def test_a_good_checkpoint_is_never_written_again(tmp_path: Path, whole: WorkFolder) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(whole.checkpoints, folder)
    before = (folder / "checkpoint-12" / COMPLETE).read_bytes()
    staged = folder / checkpoints.STAGING / "checkpoint-12"
    staged.mkdir(parents=True)
    (staged / "other").write_text("other")
    checkpoints.publish(staged, folder, 12)
    assert (folder / "checkpoint-12" / COMPLETE).read_bytes() == before
    assert not staged.exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_stands_in_the_place_of_complete_is_passed_over_and_removed(tmp_path: Path, kind: str) -> None:
    """Other code in the container can put anything there; a pipe would be waited at for ever, and a folder cannot be unlinked."""
    odd = tmp_path / contract.checkpoint_name(9) / contract.COMPLETE
    odd.parent.mkdir()
    if kind == "folder":
        odd.mkdir()
    elif kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(tmp_path / "nowhere")
    assert checkpoints.find(tmp_path).damaged == (f"{odd.parent.name}: it has no {contract.COMPLETE}",)
    checkpoints.keep_newest(tmp_path, 1, newest=3)
    assert not odd.parent.exists()
