"""One, two and four processes train the same, go on from each other's checkpoints, and end together."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import EndReason, TrainerExit, WorkFolder
from llmlab.sandbox.programs import containment
from llmlab.trainer.training import checkpoints
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.stable import Stable, log_of

CASES: dict[str, tuple[dict[str, Any], str]] = {
    f"{name}, {parallel}": ({**changed, "parallel": parallel}, form)
    for name, (changed, form) in {
        "lora": ({"method": "lora"}, "messages"),
        "full": ({"method": "full"}, "messages"),
        "dpo": ({"objective": "dpo", "method": "lora"}, "preference"),
        "dpo full": ({"objective": "dpo", "method": "full"}, "preference"),
        "lora in 16 bits": ({"method": "lora", "precision": "bf16"}, "messages"),
    }.items()
    for parallel in ("ddp", "fsdp")
}
SHORT = ("lora, ddp", "full, fsdp", "dpo, ddp", "dpo full, fsdp", "lora in 16 bits, fsdp")
"""Each objective, method, precision and way once; seven processes each, most of it their starts."""
RECIPE: dict[str, Any] = {"max_steps": 4, "lora": {"rank": 4, "dropout": 0.0}, "evaluation": {"share": 0.2}, "schedule": "constant"}


def test_no_case_is_missing() -> None:
    assert len(CASES) == 10
    assert set(SHORT) < set(CASES)


BF16 = 2**-8
"""How far apart two neighbours of bf16 are, relatively: rows of another length sum in another order, and are rounded to it."""


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.slow if case in SHORT else pytest.mark.hours) for case in CASES])
def test_the_same_losses_on_one_two_and_four(tmp_path: Path, model: Path, stable: Stable, case: str) -> None:
    """Four share steps of four examples, and an epoch's last step has fewer: some have nothing to do."""
    changed, form = CASES[case]
    seen = {}
    for count in (1, 2, 4):
        work = folders.make(tmp_path / str(count), model, form=form, count=14, recipe={**RECIPE, **changed})
        done, log = stable.run(work, processes=count)
        assert done.codes == [0] * count, log
        if count > 1:
            assert f"{'divided over' if changed['parallel'] == 'fsdp' else 'a copy on each of'} {count} processes" in log
            assert f", on {count} processes" in log
        seen[count] = (folders.losses(work), folders.evaluated(work))
    assert len(seen[1][0]) == 4
    assert len(seen[1][1]) >= 2
    for count in (2, 4):
        for one, two in zip([*seen[count][0], *seen[count][1]], [*seen[1][0], *seen[1][1]], strict=True):
            assert one == pytest.approx(two, rel=BF16 if "precision" in changed else 2e-5)


@pytest.mark.slow  # seven processes, as above
@pytest.mark.parametrize("case", ["lora, ddp", "full, fsdp"])
def test_four_then_two_then_one(tmp_path: Path, model: Path, stable: Stable, train: Train, case: str) -> None:
    changed, form = CASES[case]
    recipe = {**RECIPE, **changed}
    whole = folders.make(tmp_path / "whole", model, form=form, count=14, recipe={**recipe, "max_steps": 9})
    code, log = train(whole)
    assert code == 0, log
    for count, steps in ((4, 3), (2, 6), (1, 9)):
        work = folders.make(tmp_path / "work", model, form=form, count=14, recipe={**recipe, "max_steps": steps})
        done, log = stable.run(work, processes=count)
        assert done.codes == [0] * count, log
        assert count == 4 or f"resuming: from checkpoint-{steps - 3}" in log
    assert len(folders.losses(whole)) == 9
    for one, two in zip(folders.losses(work), folders.losses(whole), strict=True):
        assert one == pytest.approx(two, rel=2e-5)


@pytest.mark.slow  # two processes, and the one they are forked from, which imports torch
def test_a_failure_in_one_of_them_is_told_in_its_own_words(tmp_path: Path, model: Path, stable: Stable) -> None:
    work = folders.make(tmp_path, model, recipe=RECIPE)
    done, _ = stable.run(work, processes=2, fails=1)
    assert done.codes == [TrainerExit.TRAINING_ERROR] * 2
    assert (folders.outcome(work).reason, folders.outcome(work).detail) == (EndReason.TRAINING_ERROR, "ArithmeticError: planted")
    assert "planted" in log_of(work.root, 1).read_text()


NO_NETWORK = [
    "unshare", "--net", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', "a-container-of-no-network", sys.executable, "-I", "-S",
    str(containment.__file__),
]  # fmt: skip
"""As `docker run --network none`: a loopback that is up, and a name that leads nowhere."""


def can_be_alone() -> bool:
    words = ["unshare", "--net", "--uts", "true"]
    return bool(shutil.which("unshare")) and subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.slow  # torchrun and its two processes each import torch
@pytest.mark.skipif(not can_be_alone(), reason="needs root and Linux's namespaces")
def test_two_processes_find_each_other_without_a_network(tmp_path: Path, model: Path) -> None:
    work = folders.make(tmp_path, model, recipe={**RECIPE, "max_steps": 2})
    with begin(work, 2, before=NO_NETWORK) as started:
        log = started.communicate(timeout=300)[0]
    assert started.returncode == TrainerExit.COMPLETED, log
    assert "on 2 processes" in log
    assert len(folders.losses(work)) == 2


def begin(work: WorkFolder, count: int, before: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """The whole of it, from the program that starts the processes. `before` is a command that starts another."""
    environment = {**os.environ, "LLMLAB_WORK": work.root, "LLMLAB_PROCESSES": str(count), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*before, sys.executable, "-m", "llmlab.trainer"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def left_behind(work: WorkFolder) -> list[str]:
    """Processes that train in this work folder."""
    mine = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if f"LLMLAB_WORK={work.root}\0".encode() in (folder / "environ").read_bytes():
                    mine.append(folder.name)
            except OSError:
                continue
    return mine


@pytest.mark.slow  # torchrun and its two processes each import torch
def test_a_signal_reaches_all_of_them(tmp_path: Path, model: Path) -> None:
    work = folders.make(tmp_path, model, recipe={**RECIPE, "max_steps": 10_000})
    with begin(work, 2) as started:
        assert started.stdout
        for line in started.stdout:
            if line.startswith("step 3/"):
                assert len(left_behind(work)) >= 3
                started.send_signal(signal.SIGTERM)
                break
        log = started.stdout.read()
    assert started.returncode == TrainerExit.STOPPED_ON_REQUEST, log
    told = folders.outcome(work)
    assert told.reason is EndReason.INSTANCE_LOST
    assert told.step >= 3
    assert checkpoints.find(Path(work.checkpoints)).step == told.step
    assert left_behind(work) == []


@pytest.mark.slow  # as above
def test_bad_data_is_told_by_the_first_and_ends_all(tmp_path: Path, model: Path) -> None:
    work = folders.make(tmp_path, model, [{"text": "restart the server"}, "{broken"], recipe=RECIPE)
    with begin(work, 2) as started:
        assert started.stdout
        log = started.stdout.read()
    assert started.returncode == TrainerExit.DATA_ERROR, log
    told = folders.outcome(work)
    assert told.reason is EndReason.DATA_ERROR
    assert "train.jsonl:2: not JSON" in told.detail
    assert left_behind(work) == []
