"""The whole table of commands on a machine that boots, as a user types them, each in a process of its own; what it took is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import STEPS
from llmlab.contract import Env
from tests.docker.conftest import DockerLab

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]
SETUP = ("cloud-init: Cloud-init v.", "'modules:final'", "Login Succeeded", "image: ", "the end, after")


def test_from_an_empty_folder_to_nothing_left(docker_lab: DockerLab, capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, Env.LAB: "whole-way", "PYTHONPATH": str(root)}
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.machine"], env=environment, capture_output=True, text=True, check=False, timeout=1500
    )
    assert answer.returncode == 0, answer.stderr[-8000:]
    with capsys.disabled():
        print(f"\n{answer.stdout}")  # noqa: T201 - the figures of this machine
    assert answer.stdout.count("| `llmlab ") == len(STEPS) > 15
    assert [words for words in SETUP if words not in answer.stderr] == [], answer.stderr[-8000:]
    assert "step 1/" in answer.stderr
    assert "asked AWS again: nothing else of this lab is there" in answer.stderr
    shares = [int(share) for share in re.findall(r"^\| [^—`].* \| [\d.]+ \| (\d+)% \|", answer.stdout, re.MULTILINE)]
    assert len(shares) == 9
    assert 95 <= sum(shares[:-1]) <= 105, "the phases are the whole life"
    ended = {one["StateReason"]["Code"] for one in docker_lab.of_lab("whole-way")}
    assert ended == {"Client.InstanceInitiatedShutdown"}
