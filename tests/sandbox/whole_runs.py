"""A lab in which whole runs are watched: the command line in front, machines that really run the user data behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from llmlab import contract
from llmlab.aws.session import Aws
from llmlab.clock import SystemClock, wait_until
from llmlab.contract import ADAPTER, PROJECT, LogStream, Marker, RunKeys
from llmlab.lifecycle.run_documents import RunDocuments
from llmlab.sandbox.server import Sandbox
from tests.cli.conftest import CommandLine, Result

ENDLESS = "max_steps=1000000"
"""For a run that a test ends, however fast its machine is and whatever other tests come in between: its hour is over long before."""


class Lab:
    """A lab in a sandbox of its own, with the small model and a hundred examples."""

    limit_seconds = 600.0
    """Against hanging alone: beside other work everything takes longer."""
    every_seconds = 0.2

    @classmethod
    def stocked(cls, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> Self:
        """Bootstrapped, with model and data; this process is led into the sandbox, and to the folder."""
        from llmlab.sandbox.examples import write
        from llmlab.sandbox.model import make

        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        patch.chdir(folder)
        made = cls(sandbox)
        make(folder / "tiny", steps=0)
        write(folder / "data", rows=100)
        made.run("bootstrap", "--yes", "--email", "me@example.org")
        made.run("upload", folder / "tiny", "--model", "tiny")
        made.run("upload", folder / "data", "--name", "d")
        return made

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.aws = Aws("us-east-1", lab=PROJECT)
        self.bucket = RunDocuments(self.aws.s3, self.aws.names.outputs_bucket, SystemClock())

    def run(self, *arguments: str | Path) -> Result:
        result = CommandLine()(*arguments)
        assert result.code == 0, result.err
        return result

    def launch(self, *settings: str, hours: float = 1, image: str = "") -> str:
        """The id of a new run; of the newest image, or of one by its tag."""
        words = [word for setting in ("epochs=1", *settings) for word in ("--set", setting)]
        wanted = ("--image", image) if image else ()
        before = set(self.bucket.runs())
        self.run("launch", "--yes", "--data", "d", "--recipe", "sandbox", *words, "--spot", "--max-hours", str(hours), *wanted)
        (run,) = set(self.bucket.runs()) - before
        return run

    def instances(self, run: str) -> list[dict[str, Any]]:
        """The run's instances, oldest first."""
        answer: Any = self.aws.ec2.describe_instances(Filters=[{"Name": "tag:Run", "Values": [run]}])
        found = [dict(one) for reservation in answer["Reservations"] for one in reservation["Instances"]]
        return sorted(found, key=lambda one: one["LaunchTime"])

    def until(self, what: str, check: Callable[[], object], run: str = "") -> None:
        """Wait for something; where it does not come, what the machines of `run` said is told."""
        held = wait_until(lambda: bool(check()), SystemClock(), limit_seconds=self.limit_seconds, every_seconds=self.every_seconds)
        assert held, "\n".join([f"waited {self.limit_seconds:g} s for {what}", *(self.said(run) if run else ())])

    def said(self, run: str) -> list[str]:
        """What each machine of a run wrote to its console."""
        return [self.sandbox.console(one["InstanceId"]) for one in self.instances(run)]

    def until_trained(self, run: str, step: int) -> None:
        """Until the trainer has done a step; its log is looked at on the machine itself, which is the quickest to know."""

        def there() -> bool:
            identities = {one["InstanceId"] for one in self.instances(run)}
            logs = (
                Path(one["folder"], "root/var/log/llmlab/training.log")
                for one in self.sandbox.state()["machines"]
                if one["instance"] in identities
            )
            return any(f"\nstep {step}/" in log.read_text() for log in logs if log.exists())

        self.until(f"step {step} of {run}", there)

    def marker(self, run: str) -> Marker:
        """The last word about a run, once it is there and its instances are gone."""
        keys = RunKeys(run)

        def over() -> bool:
            return run in self.bucket.over() and all(one["State"]["Name"] == "terminated" for one in self.instances(run))

        self.until(f"{run} to be over", over, run)
        found = self.bucket.load(Marker, keys.success) or self.bucket.load(Marker, keys.failure)
        assert found is not None
        return found

    def losses(self, run: str) -> dict[int, float]:
        rows = self.metrics(run)
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        return {row["step"]: row["loss"] for row in rows}

    def metrics(self, run: str) -> list[dict[str, Any]]:
        """Every row, those of evaluations too."""
        body = self.aws.s3.get_object(Bucket=self.aws.names.outputs_bucket, Key=RunKeys(run).output + contract.METRICS_FILE)["Body"].read()
        return [json.loads(line) for line in body.splitlines()]

    def adapter(self, run: str) -> bytes:
        """The weights that came out."""
        key = f"{RunKeys(run).output}{ADAPTER}/adapter_model.safetensors"
        return bytes(self.aws.s3.get_object(Bucket=self.aws.names.outputs_bucket, Key=key)["Body"].read())

    def logged(self, run: str, stream: LogStream) -> str:
        """A log as the user reads it after the instance is gone."""
        return self.run("logs", run, "--stream", stream).out
