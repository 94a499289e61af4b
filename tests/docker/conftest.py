"""A lab in a sandbox whose machines are containers. The first start on a computer builds two images, which takes minutes."""

import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import AttemptEnd, Marker, RunKeys, Tag
from llmlab.sandbox.server import Sandbox
from tests.docker.shelved import Shelved
from tests.sandbox.whole_runs import Lab


class DockerLab(Lab):
    """A lab whose machines are containers."""

    limit_seconds = 1200.0
    every_seconds = 1.0

    def instance(self, run: str) -> dict[str, Any]:
        """The newest of the run."""
        return self.instances(run)[-1]

    def of_lab(self, name: str) -> list[dict[str, Any]]:
        """Every instance of another lab in this sandbox."""
        answer: Any = self.aws.ec2.describe_instances(Filters=[{"Name": f"tag:{Tag.LAB}", "Values": [name]}])
        return [one for reservation in answer["Reservations"] for one in reservation["Instances"]]

    def docker(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """The engine in which the machines are."""
        words, environment = ["docker", *arguments], self.sandbox.engine()
        return subprocess.run(words, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=120)

    def on(self, run: str, *command: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """A command on the machine of a run, as root."""
        return self.docker("exec", "--interactive", f"llmlab-{self.instance(run)['InstanceId']}", *command, stdin=stdin)

    def launch(self, *settings: str, hours: float = 1, image: str = "latest") -> str:
        """Of the training image: the newest one may be one that a test has spoiled."""
        return super().launch(*settings, hours=hours, image=image)

    def until_step(self, run: str, step: int) -> None:
        """Until the newest machine of a run has trained a step; a run that is over before fails at once, with what it said."""

        def there() -> bool:
            if run in self.bucket.over():
                raise AssertionError("\n".join([*self.said(run), f"{run} ended before step {step}:", *self.ends(run)]))
            return f"\nstep {step}/" in self.on(run, "cat", "/var/log/llmlab/training.log").stdout

        self.until(f"step {step}", there, run)

    def ends(self, run: str) -> list[str]:
        """What is written of a run and of each of its machines; what comes last in a failed test's words is what CI shows whole."""
        keys = RunKeys(run)
        attempts = (self.bucket.load(AttemptEnd, keys.attempt_end(number)) for number in range(1, len(self.instances(run)) + 1))
        return [str(written) for written in (*attempts, self.bucket.load(Marker, keys.success), self.bucket.load(Marker, keys.failure))]

    def shelved(self) -> Shelved:
        """The lab's images in the registry."""
        return Shelved(Path(self.sandbox.folder, "estate/registry"), self.aws.names.repository, self.aws.client("ecr"))

    def said(self, run: str) -> list[str]:
        return [self.on(run, "cat", "/var/log/llmlab/setup.log").stdout, *super().said(run)]


@pytest.fixture(scope="package")
def docker_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerLab]:
    """For this folder: what comes after it in the same process must not be led into this sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        # images are kept where this user keeps such things: the tests' own home is empty each time
        patch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or f"{pwd.getpwuid(os.getuid()).pw_dir}/.cache")
        sandbox = Sandbox.start(attached=True, containers=True)
        try:
            yield DockerLab.stocked(sandbox, tmp_path_factory.mktemp("docker-lab"), patch)
        finally:
            sandbox.stop()


def parsed(text: str) -> Any:
    """The last line, which is JSON."""
    return json.loads(text.strip().splitlines()[-1])
