"""Machines that boot, log in to a registry, pull, train and switch themselves off, as on EC2: no endpoint is set, and no program
stands in but the CloudWatch agent. Each costs a minute or more: a boot, and half a gigabyte through a registry.
"""

import pytest

from llmlab.contract import AttemptEnd, EndReason, LogStream, RunKeys
from tests.docker.conftest import DockerLab
from tests.sandbox.whole_runs import ENDLESS

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_taken_back_gone_on_stopped_and_resumed(docker_lab: DockerLab) -> None:
    """Three machines: AWS takes the first, the watchdog starts the second, the user stops it and starts the third. No step is lost."""
    run = docker_lab.launch(ENDLESS, "save_minutes=1")
    docker_lab.until_step(run, 3)
    assert docker_lab.sandbox.interrupt(run, notice_seconds=60)
    docker_lab.until("the second machine", lambda: len(docker_lab.instances(run)) == 2, run)
    taken = docker_lab.bucket.load(AttemptEnd, RunKeys(run).attempt_end(1))
    assert taken is not None
    assert taken.reason is EndReason.SPOT_INTERRUPTED
    docker_lab.until_step(run, taken.step + 2)
    docker_lab.run("stop", run)
    stopped = docker_lab.marker(run)
    assert (stopped.reason, stopped.attempts) == (EndReason.STOPPED_BY_USER, 2)
    assert docker_lab.bucket.checkpoint(run) == stopped.step > taken.step >= 3
    docker_lab.run("resume", "--yes", run)
    docker_lab.until("the third machine", lambda: len(docker_lab.instances(run)) == 3, run)
    docker_lab.until_step(run, stopped.step + 1)
    docker_lab.run("stop", run)
    last = docker_lab.marker(run)
    assert (last.reason, last.attempts) == (EndReason.STOPPED_BY_USER, 3)
    said = [docker_lab.logged(run, LogStream.AGENT), docker_lab.logged(run, LogStream.SETUP)]
    for step in (taken.step, stopped.step):
        assert f"checkpoint {step} is here" in said[0]
    assert said[1].count("'modules:final'") >= 3, "cloud-init's own words, of each machine"
    assert len(docker_lab.losses(run)) == last.step, "each step once, on whichever machine"
    ends = [one["StateReason"]["Code"] for one in docker_lab.instances(run)]
    assert ends == ["Server.SpotInstanceTermination", "Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown"]


PLANTS = """
import os, shutil
work, escape = os.environ["LLMLAB_WORK"], chr(27) + "[2J"
def plant(kind, path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    if os.path.lexists(path):
        os.unlink(path)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        os.symlink("/usr/bin/precious", path)
    else:
        os.makedirs(path + "/inner")
kinds = ("pipe", "link", "folder")
names = ("training_exit", "training_exit.part", "marked", ".marked.new", "ready", "alive", "request.json", ".request.json.new", "notes")
for number, name in enumerate(names):
    plant(kinds[number % 3], f"{work}/control/{name}")
for number, kind in enumerate(kinds):
    plant(kind, f"{work}/run/output/a-{kind}")
    os.makedirs(f"{work}/run/checkpoints/checkpoint-{100000 + number}")
    plant(kind, f"{work}/run/checkpoints/checkpoint-{100000 + number}/COMPLETE")
os.symlink("/proc/self", f"{work}/run/output/process")
open(f"{work}/run/output/escape{escape}", "w").close()
print("planted")
"""
"""Runs in the training container, under the user that the trainer has."""


def test_what_a_training_container_plants_touches_nothing_outside_and_its_run_ends_rightly(docker_lab: DockerLab) -> None:
    """Where root of the machine followed a link once, and the agent waited at a pipe for ever."""
    run = docker_lab.launch(ENDLESS, "save_steps=5")
    docker_lab.until_step(run, 3)
    assert docker_lab.on(run, "sh", "-c", "echo precious >/usr/bin/precious").returncode == 0
    answer = docker_lab.on(run, "docker", "exec", "--interactive", "llmlab-training", "python", "-", stdin=PLANTS)
    assert answer.stdout.strip() == "planted", answer.stderr
    docker_lab.run("stop", run)
    docker_lab.until("the trainer to leave", lambda: "exited" in state(docker_lab, run), run)
    precious = docker_lab.on(run, "cat", "/usr/bin/precious").stdout
    marker = docker_lab.marker(run)
    assert precious in {"precious\n", ""}, "it is as it was, or the machine was gone before it was looked at"
    assert marker.reason is EndReason.STOPPED_BY_USER
    assert 0 < docker_lab.bucket.checkpoint(run) <= marker.step < 100000
    keys = docker_lab.bucket.keys(RunKeys(run).output)
    assert not [key for key in keys if "/a-" in key or "process" in key or not key.isprintable()]
    said = docker_lab.logged(run, LogStream.AGENT)
    assert "left out of the output: 'a-pipe' is a pipe" in said
    assert "the agent ended" not in docker_lab.logged(run, LogStream.SETUP)


def state(docker_lab: DockerLab, run: str) -> str:
    """Of the training container; of a machine that is gone it is over too."""
    answer = docker_lab.on(run, "docker", "inspect", "--format", "{{.State.Status}}", "llmlab-training")
    return answer.stdout if answer.returncode == 0 else "exited"


FILL = """
docker update --memory 3g --memory-swap 3g llmlab-training || exit
echo 1000 >/proc/$(docker inspect --format '{{.State.Pid}}' llmlab-training)/oom_score_adj
docker exec llmlab-training python -c 'held = [bytearray(1 << 24) for _ in range(400)]'
"""
"""A limit of 3 GiB is reached by another process in the container, and the kernel is told to prefer the trainer."""


@pytest.mark.hours  # two machines; `sandbox/test_life_of_a_run.py` has the same on machines that are processes
def test_out_of_memory_is_tried_once_more_on_a_second_machine_with_half_the_batch(docker_lab: DockerLab) -> None:
    """The kernel really kills the trainer; on the second machine the agent, which is not root, writes into the log that root made."""
    run = docker_lab.launch(ENDLESS, "batch_size=4", "accumulate=1", "save_steps=2")
    docker_lab.until_step(run, 5)
    answer = docker_lab.on(run, "sh", "-c", FILL)
    assert "Killed" not in answer.stderr, answer.stderr
    docker_lab.until("the second machine", lambda: len(docker_lab.instances(run)) == 2, run)
    first = docker_lab.bucket.load(AttemptEnd, RunKeys(run).attempt_end(1))
    assert first is not None
    assert (first.reason, "once more with batch 2 x accumulate 2" in first.detail) == (EndReason.OUT_OF_MEMORY, True)
    docker_lab.until_step(run, first.step + 2)
    assert "batch 2 x accumulate 2 instead of batch 4 x accumulate 1" in docker_lab.on(run, "cat", "/var/log/llmlab/training.log").stdout
    docker_lab.run("stop", run)
    last = docker_lab.marker(run)
    assert (last.reason, last.attempts) == (EndReason.STOPPED_BY_USER, 2)
    assert f"checkpoint {first.step} is here" in docker_lab.logged(run, LogStream.AGENT)
