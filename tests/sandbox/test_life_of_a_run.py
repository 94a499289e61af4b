"""Whole runs on machines that really run the user data: how they end, and what is left of them. Each costs ten seconds or more, most of it
importing torch in the training container.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.aws.session import Aws
from llmlab.clock import SystemClock, wait_until
from llmlab.contract import PROJECT, AttemptEnd, EndReason, Heartbeat, LogStream, Marker, RunKeys
from llmlab.sandbox.server import Sandbox
from llmlab.watchdog.records import Bucket
from tests.cli.conftest import CommandLine, Result

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LIMIT_SECONDS = 250


class Lab:
    """A lab in a sandbox of its own, with the small model and a hundred examples."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.aws = Aws("us-east-1", lab=PROJECT)
        self.bucket = Bucket(self.aws.s3, self.aws.names.outputs_bucket)

    def run(self, *arguments: str | Path) -> Result:
        result = CommandLine()(*arguments)
        assert result.code == 0, result.err
        return result

    def launch(self, *settings: str, hours: float = 1) -> str:
        """The id of a new run."""
        words = [word for setting in ("epochs=1", *settings) for word in ("--set", setting)]
        self.run("launch", "--data", "d", "--recipe", "sandbox", *words, "--spot", "--max-hours", str(hours))
        return max(self.bucket.runs())

    def instances(self, run: str) -> list[dict[str, Any]]:
        """The run's instances, oldest first."""
        answer: Any = self.aws.ec2.describe_instances(Filters=[{"Name": "tag:Run", "Values": [run]}])
        found = [dict(one) for reservation in answer["Reservations"] for one in reservation["Instances"]]
        return sorted(found, key=lambda one: one["LaunchTime"])

    def until(self, what: str, check: Callable[[], object], seconds: float = LIMIT_SECONDS) -> None:
        held = wait_until(lambda: bool(check()), SystemClock(), limit_seconds=seconds, every_seconds=0.2)
        assert held, f"waited {seconds} s for {what}"

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
            return run in self.bucket.ended() and all(one["State"]["Name"] == "terminated" for one in self.instances(run))

        try:
            self.until(f"{run} to be over", over)
        except AssertionError:
            consoles = [self.sandbox.console(one["InstanceId"]) for one in self.instances(run)]
            raise AssertionError("\n".join(consoles)) from None
        found = self.bucket.load(Marker, keys.success) or self.bucket.load(Marker, keys.failure)
        assert found is not None
        return found

    def losses(self, run: str) -> dict[int, float]:
        body = self.aws.s3.get_object(Bucket=self.aws.names.outputs_bucket, Key=RunKeys(run).output + contract.METRICS_FILE)["Body"].read()
        rows = [json.loads(line) for line in body.splitlines()]
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        return {row["step"]: row["loss"] for row in rows}

    def logged(self, run: str, stream: LogStream) -> str:
        """A log as the user reads it after the instance is gone."""
        return self.run("logs", run, "--stream", stream).out


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A sandbox whose clock is this machine's: the agents read that one."""
    from llmlab.sandbox.examples import write
    from llmlab.sandbox.model import make

    folder = tmp_path_factory.mktemp("lab")
    sandbox = Sandbox.start(attached=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        patch.chdir(folder)
        made = Lab(sandbox)
        make(folder / "tiny", steps=0)
        write(folder / "data", rows=100)
        made.run("bootstrap", "--yes", "--email", "me@example.org")
        made.run("upload", folder / "tiny", "--model", "tiny")
        made.run("upload", folder / "data", "--name", "d")
        yield made
    sandbox.stop()


def test_an_interrupted_run_ends_like_one_that_was_not(lab: Lab) -> None:
    """Notice → checkpoint → AWS takes the instance → the watchdog starts attempt 2 → SUCCESS, with the losses of an uninterrupted run."""
    settings = ("epochs=6", "save_steps=1000", "lora.dropout=0.1")
    whole = lab.launch(*settings)
    assert lab.marker(whole).reason is EndReason.COMPLETED
    run = lab.launch(*settings)
    keys = RunKeys(run)
    lab.until_trained(run, 3)
    assert len(lab.sandbox.interrupt(run, notice_seconds=40)) == 1
    done = lab.marker(run)
    first = lab.bucket.load(AttemptEnd, keys.attempt_end(1))
    assert first is not None
    assert (first.reason, first.cost) == (EndReason.SPOT_INTERRUPTED, 0.0)
    assert 3 <= first.step < done.step
    assert (done.reason, done.attempts) == (EndReason.COMPLETED, 2)
    assert [one["StateReason"]["Code"] for one in lab.instances(run)] == [
        "Server.SpotInstanceTermination",
        "Client.InstanceInitiatedShutdown",
    ]
    assert f"checkpoint {first.step} is here" in lab.logged(run, LogStream.AGENT)
    assert lab.losses(run) == lab.losses(whole)
    assert done.loss == lab.losses(whole)[done.step]


def assert_failed(lab: Lab, run: str, reason: EndReason, words: str, attempts: int = 1) -> Marker:
    """FAILURE with the right reason, the logs readable without the instance, nothing left running."""
    marker = lab.marker(run)
    assert (marker.reason, marker.attempts) == (reason, attempts)
    assert re.search(words, marker.detail), marker.detail
    assert marker.reason.state is contract.RunState.FAILED
    assert marker.hint.startswith("llmlab ")
    assert lab.bucket.load(Marker, RunKeys(run).success) is None
    assert f"attempt {marker.attempts}" in lab.logged(run, LogStream.SETUP)
    uploaded = [key.rpartition("/")[2] for key in lab.bucket.keys(f"{RunKeys(run).logs}1/")]
    assert "setup.log" in uploaded
    return marker


def test_a_recipe_that_does_not_fit_the_model(lab: Lab) -> None:
    run = lab.launch('lora.targets=["no_such_layer"]')
    assert_failed(lab, run, EndReason.SETUP_FAILED, "no_such_layer")
    assert "no_such_layer" in lab.logged(run, LogStream.TRAINING)


@pytest.mark.parametrize(
    "message",
    [
        "manifest for IMAGE not found: manifest unknown: Requested image not found",
        "failed to register layer: write /usr/lib: no space left on device",
    ],
    ids=["missing image", "no space"],
)
def test_an_image_that_cannot_be_pulled(lab: Lab, message: str) -> None:
    lab.sandbox.fault("pull", message)
    try:
        marker = assert_failed(
            lab, lab.launch(), EndReason.SETUP_FAILED, "^image and data: the image .* cannot be pulled: .*" + message[-20:]
        )
        assert marker.hours > 0
    finally:
        lab.sandbox.fault("pull")


def test_a_container_that_does_not_start(lab: Lab) -> None:
    lab.sandbox.fault("run", "could not select device driver with capabilities: [[gpu]]")
    try:
        assert_failed(lab, lab.launch(), EndReason.SETUP_FAILED, r"^agent: the agent's container does not start: .*\[\[gpu\]\]")
    finally:
        lab.sandbox.fault("run")


def test_a_killed_trainer(lab: Lab) -> None:
    run = lab.launch("epochs=40")
    lab.until_trained(run, 3)
    lab.sandbox.kill_container(lab.instances(run)[0]["InstanceId"], "llmlab-training")
    assert_failed(lab, run, EndReason.TRAINING_ERROR, "killed by signal 9")
    assert "step 3/" in lab.logged(run, LogStream.TRAINING)


def test_a_trainer_killed_for_memory(lab: Lab) -> None:
    """Once more with half the batch, from its checkpoint; the second time is the last."""
    run = lab.launch("epochs=80", "batch_size=4", "accumulate=1", "save_steps=2")
    lab.until_trained(run, 5)
    lab.sandbox.kill_container(lab.instances(run)[0]["InstanceId"], "llmlab-training", memory=True)
    words = "batch 2 x accumulate 2 instead of batch 4 x accumulate 1"
    lab.until("the second instance", lambda: len(lab.instances(run)) == 2)
    first = lab.bucket.load(AttemptEnd, RunKeys(run).attempt_end(1))
    assert first is not None
    assert (first.reason, "once more with batch 2 x accumulate 2" in first.detail) == (EndReason.OUT_OF_MEMORY, True)

    def goes_on() -> bool:
        beat = lab.bucket.load(Heartbeat, RunKeys(run).status)
        return bool(beat and beat.attempt == 2 and beat.progress and beat.progress.step > first.step)

    lab.until("the second attempt to go on", goes_on)
    assert words in lab.logged(run, LogStream.TRAINING)
    lab.sandbox.kill_container(lab.instances(run)[1]["InstanceId"], "llmlab-training", memory=True)
    assert_failed(lab, run, EndReason.OUT_OF_MEMORY, "ran out of memory", attempts=2)
    assert len(lab.losses(run)) > first.step >= 4


def test_a_dead_agent_is_started_again(lab: Lab) -> None:
    run = lab.launch("epochs=8")
    lab.until_trained(run, 3)
    lab.sandbox.kill_container(lab.instances(run)[0]["InstanceId"], "llmlab-agent-1")
    assert lab.marker(run).reason is EndReason.COMPLETED
    assert "the agent ended with 137" in lab.logged(run, LogStream.SETUP)


def test_a_stop_saves_and_ends(lab: Lab) -> None:
    run = lab.launch("epochs=200")
    lab.until_trained(run, 3)
    lab.run("stop", run)
    marker = lab.marker(run)
    assert marker.reason is EndReason.STOPPED_BY_USER
    assert lab.bucket.checkpoint(run) == marker.step >= 3


def test_a_kept_machine_stays_when_its_run_is_over(lab: Lab) -> None:
    """`--no-auto-shutdown`: the run has its last word, the machine waits for its deadline."""
    lab.run("launch", "--data", "d", "--recipe", "sandbox", "--set", "epochs=1", "--max-hours", "1", "--no-auto-shutdown")
    run = max(lab.bucket.runs())
    (instance,) = lab.instances(run)
    lab.until("the script to end", lambda: "kept until its deadline" in lab.sandbox.console(instance["InstanceId"]))
    assert lab.bucket.load(Marker, RunKeys(run).success) is not None
    (instance,) = lab.instances(run)
    assert instance["State"]["Name"] == "running"
    (machine,) = [one for one in lab.sandbox.state()["machines"] if one["instance"] == instance["InstanceId"]]
    assert machine["timers"] == ["llmlab-deadline"]
    lab.aws.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
