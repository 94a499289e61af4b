"""`llmlab sandbox …` as it is typed. Each test starts a sandbox of its own, which costs some two seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import llmlab as package
from llmlab.sandbox.server import Sandbox

pytestmark = pytest.mark.slow


def llmlab(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    more["PYTHONPATH"] = str(Path(package.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "llmlab", *words], env={**os.environ, **more}, capture_output=True, text=True, check=False, timeout=120
    )


def test_exec_runs_a_command_in_a_fresh_sandbox_and_hands_its_code_back(project: Path) -> None:
    program = (
        "import os, boto3, sys; boto3.client('s3').create_bucket(Bucket='made-there'); print(os.environ['AWS_ENDPOINT_URL']); sys.exit(7)"
    )
    done = llmlab("sandbox", "exec", "--", sys.executable, "-c", program, AWS_PROFILE="someone", AWS_SESSION_TOKEN="real")
    assert (done.returncode, done.stderr) == (7, "")
    endpoint = done.stdout.strip()
    assert endpoint.startswith("http://127.0.0.1:")
    assert Sandbox.find({"AWS_ENDPOINT_URL": endpoint}) is None


def test_start_is_found_by_later_commands_and_stopped(project: Path) -> None:
    state = {"XDG_STATE_HOME": str(project)}
    started = llmlab("--json", "sandbox", "start", "--delay", "2.5", **state)
    facts = json.loads(started.stdout)
    try:
        running = Sandbox.find({"AWS_ENDPOINT_URL": facts["endpoint"]})
        assert running is not None
        assert running.state()["delay"] == 2.5
        running.delay(7)
        assert running.state()["delay"] == 7
        running.reset()
        assert running.state()["delay"] == 2.5
        again = llmlab("sandbox", "start", **state)
        assert f"export AWS_ENDPOINT_URL={facts['endpoint']}\n" in again.stdout
        assert "was running already" in again.stderr
        unknown = llmlab("sandbox", "interrupt", "20260101-000000-aaaa", **state)
        assert unknown.returncode == 1
        assert unknown.stderr.startswith("error: no spot instance of 20260101-000000-aaaa is running\nhint: ")
        short = llmlab("sandbox", "interrupt", "aaaa", **state)
        assert short.returncode == 1
        assert "only a whole run id is known, and aaaa is none" in short.stderr, "AWS itself is not asked by a shell that is led nowhere"
    finally:
        stopped = llmlab("--json", "sandbox", "stop", **state)
    assert json.loads(stopped.stdout)["stopped"] is True
    assert not Path(facts["folder"]).exists()
    assert "no sandbox is running" in llmlab("sandbox", "stop", **state).stderr


def test_a_command_that_is_not_there_is_a_usage_error(project: Path) -> None:
    assert llmlab("sandbox", "exec").returncode == 2
    missing = llmlab("sandbox", "exec", "--", "no-such-program")
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (2, "error: no-such-program cannot be run: No such file or directory")
