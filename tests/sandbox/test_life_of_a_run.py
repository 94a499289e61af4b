"""Whole runs on machines that really run the user data: how they end, and what is left of them. Each costs ten seconds or more, most of it
importing torch in the training container.
"""

import re

import pytest

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Heartbeat, LogStream, Marker, RunKeys
from tests.sandbox.whole_runs import ENDLESS, Lab

pytestmark = pytest.mark.slow


def assert_failed(lab: Lab, run: str, reason: EndReason, words: str, attempts: int = 1) -> Marker:
    """FAILURE with the right reason, the logs readable without the instance, nothing left running."""
    marker = lab.marker(run)
    assert (marker.reason, marker.attempts) == (reason, attempts)
    assert re.search(words, marker.detail), marker.detail
    assert marker.reason.state is contract.RunState.FAILED
    assert marker.command(run).startswith("llmlab ")
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
        "Get https://IMAGE/v2/: dial tcp 198.51.100.2:443: connect: connection refused",
    ],
    ids=["missing image", "no space", "registry down"],
)
@pytest.mark.slow  # the last one is asked for three times, with 5 and 10 seconds between
def test_an_image_that_cannot_be_pulled(lab: Lab, message: str) -> None:
    lab.sandbox.fault("pull", message)
    try:
        marker = assert_failed(
            lab, lab.launch(), EndReason.SETUP_FAILED, "^image and data: the image .* cannot be pulled: .*" + message[-20:]
        )
        assert marker.hours > 0
        assert (marker.command(marker.run) == "llmlab image push") == ("not found" in message), marker.hint
    finally:
        lab.sandbox.fault("pull")


@pytest.mark.parametrize(
    ("fault", "message", "detail"),
    [
        ("engine", "Cannot connect to the Docker daemon", "no Docker engine answers: Cannot connect to the Docker daemon"),
        ("version", "1.39", r"the Docker engine is too old: it speaks API 1.39, and 1.40 \(Docker 19.03\) is needed"),
    ],
    ids=["none", "old"],
)
@pytest.mark.slow  # half a minute: an engine is given that long to come up
def test_an_engine_that_will_not_do(lab: Lab, fault: str, message: str, detail: str) -> None:
    lab.sandbox.fault(fault, message)
    try:
        assert_failed(lab, lab.launch(), EndReason.SETUP_FAILED, f"^image and data: {detail}")
    finally:
        lab.sandbox.fault(fault)


def test_a_container_that_does_not_start(lab: Lab) -> None:
    lab.sandbox.fault("run", "could not select device driver with capabilities: [[gpu]]")
    try:
        assert_failed(lab, lab.launch(), EndReason.SETUP_FAILED, r"^agent: the agent's container does not start: .*\[\[gpu\]\]")
    finally:
        lab.sandbox.fault("run")


def test_a_machine_whose_gpus_are_missing_is_left_for_another_once(lab: Lab) -> None:
    """First the real look, on a machine where CUDA does not start; then one that sees three of four. No step is trained on a processor."""
    settings = [word for one in ("epochs=1", "device=auto") for word in ("--set", one)]
    lab.run("launch", "--yes", "--data", "d", "--recipe", "sandbox", *settings, "--max-hours", "1", "--instance-type", "g4dn.12xlarge")
    run = max(lab.bucket.runs())
    keys = RunKeys(run)
    lab.until("the first end", lambda: lab.bucket.load(AttemptEnd, keys.attempt_end(1)), run)
    lab.sandbox.fault("gpus", '[{"count": 3}]')
    try:
        assert_failed(lab, run, EndReason.HARDWARE_FAILED, "^CUDA shows 3 of 4 GPUs, on 2 machines one after another", attempts=2)
    finally:
        lab.sandbox.fault("gpus")
    first, second = lab.bucket.load(AttemptEnd, keys.attempt_end(1)), lab.bucket.load(Attempt, keys.attempt(2))
    assert first
    assert second
    assert (first.reason, second.gpus) == (EndReason.HARDWARE_FAILED, 4)
    assert first.detail.startswith("CUDA does not start, and this machine has 4 GPUs: ")
    log = lab.logged(run, LogStream.TRAINING)
    assert ("hint: llmlab launch --set device=cpu" in log, "step 1/" in log) == (True, False)


def test_a_killed_trainer(lab: Lab) -> None:
    run = lab.launch(ENDLESS)
    lab.until_trained(run, 3)
    lab.sandbox.kill_container(lab.instances(run)[0]["InstanceId"], "llmlab-training")
    assert_failed(lab, run, EndReason.TRAINING_ERROR, "killed by signal 9")
    assert "step 3/" in lab.logged(run, LogStream.TRAINING)


def test_a_trainer_killed_for_memory(lab: Lab) -> None:
    """Once more with half the batch, from its checkpoint; the second time is the last."""
    run = lab.launch(ENDLESS, "batch_size=4", "accumulate=1", "save_steps=2")
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
    run = lab.launch("epochs=3")
    lab.until_trained(run, 3)
    lab.sandbox.kill_container(lab.instances(run)[0]["InstanceId"], "llmlab-agent-1")
    assert lab.marker(run).reason is EndReason.COMPLETED
    assert "the agent ended with 137" in lab.logged(run, LogStream.SETUP)


def test_a_stop_saves_and_ends(lab: Lab) -> None:
    run = lab.launch(ENDLESS)
    lab.until_trained(run, 3)
    lab.run("stop", run)
    marker = lab.marker(run)
    assert marker.reason is EndReason.STOPPED_BY_USER
    assert lab.bucket.checkpoint(run) == marker.step >= 3


def test_a_kept_machine_stays_when_its_run_is_over(lab: Lab) -> None:
    """`--no-auto-shutdown`: the run has its last word, the machine waits for its deadline."""
    lab.run("launch", "--yes", "--data", "d", "--recipe", "sandbox", "--set", "epochs=1", "--max-hours", "1", "--no-auto-shutdown")
    run = max(lab.bucket.runs())
    (instance,) = lab.instances(run)
    lab.until("the script to end", lambda: "kept until its deadline" in lab.sandbox.console(instance["InstanceId"]))
    assert lab.bucket.load(Marker, RunKeys(run).success) is not None
    (instance,) = lab.instances(run)
    assert instance["State"]["Name"] == "running"
    (machine,) = [one for one in lab.sandbox.state()["machines"] if one["instance"] == instance["InstanceId"]]
    assert machine["timers"] == ["llmlab-deadline"]
    lab.aws.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
