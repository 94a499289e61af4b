"""A launched run whose machine hangs is over within a minute of its deadline, by what `launch` and the real script set up, each alone."""

import base64
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws import user_data
from llmlab.aws.session import Aws
from llmlab.aws.user_data import UserData
from llmlab.clock import SystemClock, wait_until
from llmlab.contract import PROJECT, Attempt, EndReason, Marker, RunKeys
from llmlab.lifecycle import one_time_schedules
from llmlab.lifecycle.run_documents import RunDocuments
from llmlab.sandbox.server import Sandbox
from tests.cli.conftest import CommandLine

pytestmark = pytest.mark.slow
LIMIT_SECONDS = 250
HANG = "while true; do sleep 1000; done\n"
HOURS = 3


class Lab:
    """A lab in a sandbox of its own, whose clock the tests move."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.aws = Aws("us-east-1", lab=PROJECT)
        self.bucket = RunDocuments(self.aws.s3, self.aws.names.outputs_bucket, SystemClock())
        self.scheduler: Any = self.aws.client("scheduler")

    def launch(self, script: str) -> Attempt:
        """A run whose machine runs this script instead of the lab's."""
        encoded = base64.b64encode(script.encode()).decode()
        ec2: Any = self.aws.ec2
        name = self.aws.names.launch_template
        (newest,) = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])["LaunchTemplateVersions"]
        ec2.create_launch_template_version(
            LaunchTemplateName=name, LaunchTemplateData={**newest["LaunchTemplateData"], "UserData": encoded}
        )
        result = CommandLine()("launch", "--yes", "--data", "d", "--recipe", "sandbox", "--spot", "--max-hours", str(HOURS))
        assert result.code == 0, result.err
        attempt = self.bucket.load(Attempt, RunKeys(max(self.bucket.runs())).attempt(1))
        assert attempt is not None
        self.until("the instance to run", lambda: self.state(attempt) == "running")
        return attempt

    def state(self, attempt: Attempt) -> str:
        answer: Any = self.aws.ec2.describe_instances(InstanceIds=[attempt.instance])
        return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])

    def schedules(self) -> set[tuple[str, str]]:
        """Group and name of every schedule."""
        return {(one["GroupName"], one["Name"]) for one in self.scheduler.list_schedules()["Schedules"]}

    def forget(self, keep: Callable[[str], bool]) -> None:
        """Delete the schedules whose name is not kept."""
        for group, name in self.schedules():
            if not keep(name):
                self.scheduler.delete_schedule(GroupName=group, Name=name)

    def until(self, what: str, check: Callable[[], bool]) -> None:
        held = wait_until(check, SystemClock(), limit_seconds=LIMIT_SECONDS, every_seconds=0.1)
        consoles = "" if held else "\n".join(self.sandbox.console(one["instance"]) for one in self.sandbox.state()["machines"])
        assert held, f"waited {LIMIT_SECONDS} s for {what}\n{consoles}"

    def to(self, moment: float) -> None:
        """Move the clock to a moment, in seconds since 1970."""
        self.sandbox.advance(moment - datetime.fromisoformat(self.sandbox.state()["time"]).timestamp())

    def assert_ends_at_its_deadline(self, attempt: Attempt) -> None:
        self.to(attempt.deadline - 600)
        assert self.state(attempt) == "running"
        self.to(attempt.deadline + 60)
        self.until("the instance to go", lambda: self.state(attempt) == "terminated")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from llmlab.sandbox.model import make

    folder = tmp_path_factory.mktemp("model")
    make(folder, steps=0)
    return folder


@pytest.fixture
def lab(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A fresh one for each test: they move its clock and break its schedules. Costs some seconds: a server starts and a lab is made."""
    from llmlab.sandbox.examples import write

    sandbox = Sandbox.start(attached=True)
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data", rows=20)
    for words in (
        ["bootstrap", "--yes", "--email", "me@example.org"],
        ["upload", "data", "--name", "d"],
        ["upload", str(model), "--model", "tiny"],
    ):
        result = CommandLine()(*words)
        assert result.code == 0, result.err
    yield Lab(sandbox)
    sandbox.stop()


def test_by_its_own_timer(lab: Lab) -> None:
    """The real script up to its timer; then it hangs."""
    script = user_data.render(UserData(lab.aws.names, 6))
    head, mark, _ = script.partition('phase "logs"\n')
    assert mark
    attempt = lab.launch(head + HANG)
    lab.forget(lambda _: False)
    lab.until("its timer", lambda: "llmlab-deadline" in lab.sandbox.state()["machines"][0]["timers"])
    lab.assert_ends_at_its_deadline(attempt)


def test_by_its_one_time_schedule(lab: Lab) -> None:
    """EventBridge Scheduler calls EC2 itself; the watchdog is deleted."""
    attempt = lab.launch("#!/bin/bash\n" + HANG)
    own = one_time_schedules.schedule_name(attempt.run, 1)
    lab.aws.client("lambda").delete_function(FunctionName=lab.aws.names.watchdog)
    lab.forget(lambda name: name == own)
    lab.assert_ends_at_its_deadline(attempt)
    left = {name for _, name in lab.schedules()}
    assert left <= {one_time_schedules.wake_name(attempt.run)}, (
        "but for the one that a call sets which was under way when the function was deleted"
    )


def test_by_the_watchdog(lab: Lab) -> None:
    """Its schedule is lost and the machine has no timer; the hourly sweep is all there is. It also has the last word."""
    attempt = lab.launch("#!/bin/bash\n" + HANG)
    own = one_time_schedules.schedule_name(attempt.run, 1)
    lab.forget(lambda name: name != own)
    lab.sandbox.advance(3700)
    lab.until("the sweep to mend the schedule", lambda: own in {name for _, name in lab.schedules()})
    lab.assert_ends_at_its_deadline(attempt)
    lab.until("the marker", lambda: lab.bucket.load(Marker, RunKeys(attempt.run).failure) is not None)
    marker = lab.bucket.load(Marker, RunKeys(attempt.run).failure)
    assert marker is not None
    assert marker.reason is EndReason.TIMED_OUT
