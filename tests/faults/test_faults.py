"""A sample of the fault table, the planted bugs, and commands side by side; each in a process without threads, which can be forked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.planted import PLANTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
SEED = 1
SHARE = "0.006"
"""The whole table is `python -m tests.faults`; its counts are in benchmarks/RESULTS.md."""
DELIVERED = "0.08"
"""Of the plays of `python -m tests.faults.deliveries`."""
LOST = [
    ("bootstrap", "ec2:CreateVpc"), ("bootstrap", "ec2:CreateSubnet"), ("bootstrap", "iam:AddRoleToInstanceProfile"),
    ("launch", "s3:PutObject"), ("launch", "scheduler:CreateSchedule"), ("launch", "ec2:CreateFleet"),
    ("teardown", "iam:DeleteRolePolicy"), ("teardown", "ec2:DisassociateRouteTable"),
]  # fmt: skip
"""Calls whose lost answer once made a command fail or leave something behind."""


def play(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)


def rows(done: "subprocess.CompletedProcess[str]") -> list[dict[str, int]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_sample_of_every_command_converges() -> None:
    done = play("tests.faults", "--share", SHARE, "--seed", str(SEED))
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(rows(done)) == 18
    assert sum(row["cases"] for row in rows(done)) > 15


@pytest.mark.parametrize(("command", "call"), LOST)
def test_a_lost_answer_is_healed(command: str, call: str) -> None:
    done = play("tests.faults", "--only", command, "--call", call, "--way", "answer lost once")
    assert done.returncode == 0, done.stderr[-3000:]
    assert rows(done)[0]["cases"] > 0


@pytest.mark.parametrize("name", PLANTS)
def test_planted_bugs_are_caught(name: str) -> None:
    done = play("tests.faults", "--planted", name)
    assert done.returncode == 1, done.stderr[-3000:]
    assert PLANTS[name].said in done.stderr
    assert rows(done)[0]["wrong"] > 0


def test_a_sample_of_events_delivered_wrongly_ends_as_delivered_once() -> None:
    done = play("tests.faults.deliveries", "--share", DELIVERED, "--seed", str(SEED))
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(rows(done)) == 10
    assert sum(row["plays"] for row in rows(done)) > 15


@pytest.mark.parametrize(
    "name",
    [
        "two bootstraps",
        "ten launches",
        "two uploads",
        "two fetches",
        "a teardown during a launch",
        "a bootstrap during a teardown",
        "a stop beside a resume",
        "two stops",
        "two resumes",
    ],
)
def test_commands_side_by_side(name: str) -> None:
    done = play("tests.faults.concurrent", "--only", name, "--seed", str(SEED))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "converged" in done.stdout
