"""A lab in a sandbox whose machines are containers. The first start on a computer builds two images, which takes minutes."""

import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws.session import Aws
from llmlab.clock import SystemClock, wait_until
from llmlab.contract import PROJECT, Marker, RunKeys
from llmlab.sandbox.server import Sandbox
from llmlab.watchdog.records import Bucket
from tests.cli.conftest import CommandLine, Result

BOOT_SECONDS = 180
LIMIT_SECONDS = 400


class DockerLab:
    """A lab with the small model and a hundred examples."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.aws = Aws("us-east-1", lab=PROJECT)
        self.bucket = Bucket(self.aws.s3, self.aws.names.outputs_bucket)

    def run(self, *arguments: str | Path) -> Result:
        result = CommandLine()(*arguments)
        assert result.code == 0, result.err
        return result

    def launch(self, *settings: str) -> str:
        """The id of a new run."""
        words = [word for setting in settings for word in ("--set", setting)]
        self.run("launch", "--data", "d", "--recipe", "sandbox", *words, "--spot", "--max-hours", "1")
        return max(self.bucket.runs())

    def instance(self, run: str) -> dict[str, Any]:
        answer: Any = self.aws.ec2.describe_instances(Filters=[{"Name": "tag:Run", "Values": [run]}])
        found: list[dict[str, Any]] = [one for reservation in answer["Reservations"] for one in reservation["Instances"]]
        return found[-1]

    def docker(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """The engine in which the machines are."""
        host = self.sandbox.state()["docker"]
        environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
        return subprocess.run(
            ["docker", *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=120
        )

    def on(self, run: str, *command: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """A command on the machine of a run, as root."""
        return self.docker("exec", "--interactive", f"llmlab-{self.instance(run)['InstanceId']}", *command, stdin=stdin)

    def until(self, what: str, run: str, check: Any, seconds: float = LIMIT_SECONDS) -> None:
        held = wait_until(lambda: bool(check()), SystemClock(), limit_seconds=seconds, every_seconds=1)
        if not held:
            log = self.on(run, "cat", "/var/log/llmlab/setup.log").stdout
            console = self.sandbox.console(self.instance(run)["InstanceId"])
            raise AssertionError(f"waited {seconds} s for {what}\n{log}\n{console[-4000:]}")

    def marker(self, run: str) -> Marker:
        """The last word about a run, once it is there and its instance is gone."""
        keys = RunKeys(run)
        self.until("the end", run, lambda: run in self.bucket.ended() and self.instance(run)["State"]["Name"] == "terminated")
        found = self.bucket.load(Marker, keys.success) or self.bucket.load(Marker, keys.failure)
        assert found is not None
        return found


@pytest.fixture(scope="session")
def docker_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerLab]:
    from llmlab.sandbox.examples import write
    from llmlab.sandbox.model import make

    folder = tmp_path_factory.mktemp("docker-lab")
    with pytest.MonkeyPatch.context() as patch:
        # images are kept where this user keeps such things: the tests' own home is empty each time
        patch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or f"{pwd.getpwuid(os.getuid()).pw_dir}/.cache")
        sandbox = Sandbox.start(attached=True, containers=True)
        try:
            for name, value in sandbox.environment().items():
                patch.setenv(name, value)
            patch.chdir(folder)
            made = DockerLab(sandbox)
            make(folder / "tiny", steps=0)
            write(folder / "data", rows=100)
            made.run("bootstrap", "--yes", "--email", "me@example.org")
            made.run("upload", folder / "tiny", "--model", "tiny")
            made.run("upload", folder / "data", "--name", "d")
            yield made
        finally:
            sandbox.stop()


def parsed(text: str) -> Any:
    """The last line, which is JSON."""
    return json.loads(text.strip().splitlines()[-1])
