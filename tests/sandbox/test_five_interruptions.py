"""One run, taken back five times, each time at another bad moment: it ends like one that nobody disturbed. Costs about two minutes: seven
machines really boot, and each loads torch.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from llmlab import contract
from llmlab.clock import SystemClock, wait_until
from llmlab.contract import AttemptEnd, EndReason, LogStream, RunKeys, WorkFolder
from llmlab.lifecycle import billing
from llmlab.trainer.training.checkpoints import STAGING
from tests.sandbox.whole_runs import Lab

pytestmark = [pytest.mark.slow, pytest.mark.hours, pytest.mark.timeout(1800)]  # seven machines, one after another
SETTINGS = ("epochs=10", "save_steps=5", "lora.dropout=0.1", "lora.rank=256")
"""An adapter so large that writing a checkpoint takes long enough to be met in it."""


class Moments:
    """Bad moments of a run's newest machine, seen in its own files, because the API is too slow to meet a save."""

    def __init__(self, lab: Lab, run: str) -> None:
        self.lab = lab
        self.run = run

    def root(self, attempt: int) -> Path:
        """The root folder of the machine of an attempt, once it is up."""
        self.lab.until(f"the machine of attempt {attempt}", lambda: len(self.lab.instances(self.run)) >= attempt)
        (identity,) = [
            one["InstanceId"] for one in self.lab.instances(self.run) if {"Key": "Attempt", "Value": str(attempt)} in one["Tags"]
        ]
        (folder,) = [one["folder"] for one in self.lab.sandbox.state()["machines"] if one["instance"] == identity]
        return Path(folder) / "root"

    def take(self, attempt: int, what: str, moment: Callable[[Path], bool], notice_seconds: float = 0) -> Path:
        """Take the machine of an attempt back when the moment has come; returns its root when it is gone."""
        root = self.root(attempt)
        assert wait_until(lambda: moment(root), SystemClock(), limit_seconds=200, every_seconds=0.002), f"never met {what}"
        assert len(self.lab.sandbox.interrupt(self.run, notice_seconds=notice_seconds)) == 1
        end = RunKeys(self.run).attempt_end(attempt)
        self.lab.until(f"the end of attempt {attempt}", lambda: self.lab.bucket.load(AttemptEnd, end))
        return root


def steps(root: Path) -> int:
    """How many steps this machine has done."""
    log = root / "var/log/llmlab/training.log"
    return log.read_text(encoding="utf-8").count("\nstep ") if log.exists() else 0


def folder_of(root: Path) -> WorkFolder:
    return WorkFolder(f"{root}/opt/dlami/nvme/llmlab")


def in_a_save(root: Path) -> bool:
    """Read without a walk through the folders beside it, which the trainer makes and removes meanwhile."""
    try:
        return any(Path(folder_of(root).checkpoints, STAGING).iterdir())
    except FileNotFoundError:
        return False


def stopped_in_a_save(root: Path) -> bool:
    """Whether the trainer is in the middle of a save, where it then stays."""
    if not in_a_save(root):
        return False
    group = int((root.parent / "containers/llmlab-training/pid").read_text(encoding="ascii"))
    os.killpg(group, signal.SIGSTOP)
    if in_a_save(root):
        return True
    os.killpg(group, signal.SIGCONT)
    return False


def test_a_run_interrupted_five_times_ends_like_one_that_was_not(lab: Lab) -> None:
    whole = lab.launch(*SETTINGS)
    assert lab.marker(whole).reason is EndReason.COMPLETED
    run = lab.launch(*SETTINGS)
    moments, keys = Moments(lab, run), RunKeys(run)

    booting = moments.take(1, "the boot", lambda root: (root / "var/log/llmlab/setup.log").exists())
    assert steps(booting) == 0
    moments.take(2, "three steps", lambda root: steps(root) >= 3, notice_seconds=40)
    moments.take(3, "a step between saves", lambda root: steps(root) >= 3)
    saving = moments.take(4, "a save", lambda root: steps(root) >= 1 and stopped_in_a_save(root))
    assert in_a_save(saving), "the save was over before the machine was gone"
    moments.take(5, "the last upload", lambda root: Path(folder_of(root).training_exit).exists())
    done = lab.marker(run)

    assert (done.reason, done.attempts) == (EndReason.COMPLETED, 6)
    assert lab.losses(run) == lab.losses(whole)
    assert done.loss == lab.losses(whole)[done.step]
    assert lab.adapter(run) == lab.adapter(whole)
    ends = [lab.bucket.load(AttemptEnd, keys.attempt_end(number)) for number in range(1, 7)]
    reasons = [end.reason for end in ends if end]
    assert reasons == [EndReason.SPOT_INTERRUPTED] * 5 + [EndReason.COMPLETED]
    saved = [end.step for end in ends if end]
    assert saved == sorted(saved)
    assert 3 <= saved[1] < done.step, "what a notice leaves time for"
    assert f"checkpoint {saved[1]} is here" in lab.logged(run, LogStream.AGENT)
    ways = [one["StateReason"]["Code"] for one in lab.instances(run)]
    assert ways == ["Server.SpotInstanceTermination"] * 5 + ["Client.InstanceInitiatedShutdown"]
    assert done.cost == pytest.approx(sum(end.cost for end in ends if end), abs=1e-6)
    assert done.hours == pytest.approx(sum(end.hours for end in ends if end), abs=1e-6)
    assert all(end.cost == pytest.approx(billing.total(end.costs)) for end in ends if end)
    assert all(end.costs[billing.INSTANCE] == 0 for end in ends[:5] if end), "AWS takes nothing for an interrupted first hour"
    charges = {name for end in ends if end for name, dollars in end.costs.items() if dollars > 0}
    assert charges == {"instance", "disk", "address"}
    assert contract.parse_attempt(keys.attempt_end(6)) == (6, "end")
