"""One machine that boots and trains, looked at from inside its containers: what each can reach, read and write."""

from collections.abc import Iterator

import pytest

from llmlab.clock import SystemClock
from llmlab.sandbox.estate.estate import LABEL, PREFIX, Owner, sweep
from llmlab.sandbox.estate.namespace import Namespace, named
from tests.docker.conftest import DockerLab, parsed
from tests.sandbox.whole_runs import ENDLESS

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

PROBE = """
import json, os, socket, urllib.request
import botocore.session

def refusal(act):
    try:
        act()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
    return ""

def fetch(address, method="GET"):
    request = urllib.request.Request(address, method=method, headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    return lambda: urllib.request.urlopen(request, timeout=4).read()

def loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=4).close()

def most(name):
    lines = [line.strip().split(":", 2) for line in open("/proc/self/cgroup")]
    places = [f"/sys/fs/cgroup/{name}"] + [f"/sys/fs/cgroup/{kinds}{path}/{name}" for _, kinds, path in lines]
    places += [f"/sys/fs/cgroup/pids/{name}"]
    return next((open(place).read().strip() for place in places if os.path.exists(place)), "-1")

work = os.environ["LLMLAB_WORK"]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
session = botocore.session.Session()
session.set_config_variable("metadata_service_num_attempts", 1)
print(json.dumps({
    "user": os.getuid(), "groups": os.getgroups(), "capabilities": status["CapEff"].strip(), "bounding": status["CapBnd"].strip(),
    "no new privileges": status["NoNewPrivs"].strip(),
    "metadata token": refusal(fetch("http://169.254.169.254/latest/api/token", "PUT")),
    "metadata of version 1": refusal(fetch("http://169.254.169.254/latest/meta-data/iam/security-credentials/")),
    "credentials": str(session.get_credentials()),
    "variables": sorted(name for name in os.environ if "SECRET" in name or "ACCESS_KEY" in name or "SESSION_TOKEN" in name),
    "engine": [path for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd") if os.path.exists(path)],
    "engine on the network": refusal(lambda: socket.create_connection(("172.17.0.1", 2375), timeout=4)),
    "write data": refusal(lambda: open(work + "/data/x", "w")), "write model": refusal(lambda: open(work + "/model/x", "w")),
    "write spec": refusal(lambda: open(work + "/spec.json", "w")), "write image": refusal(lambda: open("/opt/src/x", "w")),
    "become root": refusal(lambda: os.setuid(0)), "mount": refusal(lambda: os.listdir("/root")),
    "own work": refusal(lambda: open(work + "/control/probe", "w").close()),
    "networks": sorted(name for _, name in socket.if_nameindex()), "loopback": refusal(loopback),
    "write home": refusal(lambda: open("/home/llmlab/x", "w")), "write /tmp": refusal(lambda: open("/tmp/x", "w").close()),
    "write cache": refusal(lambda: open(os.environ["HOME"] + "-probe", "w").close()),
    "the host's folder": [name for name in os.listdir(work) if name in ("host", "logs", "reserve")],
    "processes": most("pids.max"),
    "internet": refusal(lambda: socket.create_connection(("192.0.2.1", 80), timeout=4)),
}))
"""
"""Runs in the training container, under the user and network that the trainer has."""


REWARD = """
import json
from llmlab.rewards.scoring import Group, RewardLimits, RewardFailed, Scorer

bodies = {
    "network": "socket.create_connection(('169.254.169.254', 80))", "datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "fork": "os.fork()", "program": "subprocess.run(['id'])", "end who asks": "os.kill(os.getppid(), 9)",
    "write the work": "open('/work/control/outcome.json', 'w')", "write /tmp": "open('/tmp/reward', 'w')",
    "read the data": "open('/work/spec.json').read()", "variables": "assert not [one for one in os.environ if 'LLMLAB' in one]",
    "its own folder": "open('mine', 'w').close()", "leave": "sys.exit(0)", "loop": "exec('while True: pass')",
    "memory": "bytearray(3 << 30)",
}
told = {}
for name, body in bodies.items():
    text = f"import os, socket, subprocess, sys\\ndef reward(completions):\\n    {body}\\n    return [1.0]"
    try:
        with Scorer([{"kind": "file", "name": "reward.py", "text": text}], RewardLimits(5, 2)) as scorer:
            told["holds"], told["lacks"] = scorer.holds, scorer.lacks
            told[name] = str(scorer.score(Group("?", ["!"], "!", {}, "train.jsonl:1")))
    except RewardFailed as error:
        told[name] = str(error)
print(json.dumps(told))
"""
"""Runs there as well: a reward's process, and what it tries."""


@pytest.fixture(scope="module")
def training(docker_lab: DockerLab) -> Iterator[str]:
    """A run that trains for as long as the tests of this file need it, and no longer: it takes a core from whatever runs beside it."""
    run = docker_lab.launch(ENDLESS)
    docker_lab.until_step(run, 3)
    yield run
    docker_lab.run("stop", run)
    docker_lab.marker(run)


def test_images_and_what_is_fetched_lie_on_the_machines_own_disks(docker_lab: DockerLab, training: str) -> None:
    """Docker's folder is the disk's, so what the engine has unpacked is there."""
    setup = docker_lab.on(training, "cat", "/var/log/llmlab/setup.log").stdout
    assert "the machine's own disks (1) are mounted at /opt/dlami/nvme" in setup, setup
    assert "work folder: /opt/dlami/nvme/llmlab, " in setup
    for folder in ("/var/lib/docker", "/var/lib/containerd"):
        assert docker_lab.on(training, "mountpoint", "-q", folder).returncode == 0, folder
    layers = docker_lab.on(training, "du", "-sm", "/opt/dlami/nvme/docker").stdout.split()
    assert int(layers[0]) > 1000, "MB of the training image, unpacked"


def test_what_the_training_container_is_kept_from(docker_lab: DockerLab, training: str) -> None:
    answer = docker_lab.on(training, "docker", "exec", "--interactive", "llmlab-training", "python", "-", stdin=PROBE)
    found = parsed(answer.stdout or answer.stderr)
    assert (found["user"], found["groups"]) == (10001, [10001])
    assert (int(found["capabilities"], 16), int(found["bounding"], 16), found["no new privileges"]) == (0, 0, "1")
    for what in ("metadata token", "metadata of version 1", "engine on the network", "internet"):
        assert "unreachable" in found[what], (what, found[what])
    assert (found["networks"], found["loopback"]) == (["lo"], "")
    assert (found["credentials"], found["variables"], found["engine"]) == ("None", [], [])
    for what in ("write data", "write model", "write spec"):
        assert "Read-only file system" in found[what], (what, found[what])
    for what in ("write image", "write home"):
        assert "Read-only file system" in found[what], (what, found[what])
    for what in ("become root", "mount"):
        assert "ermi" in found[what], (what, found[what])
    assert found["the host's folder"] == [], "what agent and host tell each other is not there"
    assert (found["write /tmp"], found["write cache"]) == ("", "")
    assert int(found["processes"]) == 16384
    assert found["own work"] == "", "it can write where it should: the refusals above are not for want of a disk"


def test_what_a_reward_is_kept_from(docker_lab: DockerLab, training: str) -> None:
    """By Landlock, which Docker's own filter lets a container ask for (https://github.com/moby/moby/pull/43199), and a filter beside it."""
    answer = docker_lab.on(training, "docker", "exec", "--interactive", "llmlab-training", "python", "-", stdin=REWARD)
    found = parsed(answer.stdout or answer.stderr)
    assert {"a limit of memory", "a filter of system calls"} <= set(found["holds"])
    landlock = any(held.startswith("Landlock ") for held in found["holds"])
    assert landlock == (found["lacks"] == []), "what this kernel cannot hold is told"
    for what in ("network", "datagram", "fork", "program", "end who asks"):
        assert "Operation not permitted" in found[what], (what, found[what])
    for what in ("write the work", "write /tmp", "read the data") if landlock else ():
        assert "Permission denied" in found[what], (what, found[what])
    assert (found["variables"], found["its own folder"]) == ("[[1.0]]", "[[1.0]]")
    assert "ended itself: SystemExit" in found["leave"]
    assert "did not end within 5 seconds" in found["loop"]
    assert "needs more than 2 GiB of memory" in found["memory"]


def test_the_agent_has_what_the_trainer_has_not(docker_lab: DockerLab, training: str) -> None:
    """The same question from the host's network: the hop limit alone makes the difference."""
    ask = "import botocore.session as b; print(b.Session().get_credentials().method)"
    assert docker_lab.on(training, "docker", "exec", "llmlab-agent-1", "python", "-c", ask).stdout.strip() == "iam-role"


def test_a_machine_finds_only_its_own_metadata(docker_lab: DockerLab, training: str) -> None:
    """Another's is neither at AWS's addresses nor at any other: what machines reach is AWS's API alone."""
    curl = "curl --silent --show-error --fail --max-time 30 --retry 3"  # beside other work a machine of two cores answers late
    ask = f"{curl} -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 600' http://169.254.169.254/latest/api/token"
    own = docker_lab.on(
        training, "sh", "-c", f'{curl} -H "X-aws-ec2-metadata-token: $({ask})" http://169.254.169.254/latest/meta-data/instance-id'
    )
    assert own.stdout == docker_lab.instance(training)["InstanceId"], own.stderr
    assert docker_lab.on(training, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://169.254.169.254/latest/").stdout == "401"
    for path in (f"_imds/{own.stdout}/latest/api/token", "_sandbox/state"):
        answer = docker_lab.on(training, "curl", "-s", "-X", "PUT", f"https://ec2.us-east-1.amazonaws.com/{path}").stdout
        assert "endpoint" not in answer
        assert len(answer) == 0 or "<" in answer or "error" in answer.lower(), answer
    other = docker_lab.on(training, "curl", "-s", "-m", "3", f"http://198.51.100.1/_imds/{own.stdout}/latest/meta-data/")
    assert (other.returncode, other.stdout) == (7, "")
    assert docker_lab.on(training, "docker", "pull", "-q", "123456789012.dkr.ecr.us-east-1.amazonaws.com/x").returncode != 0


def test_what_a_killed_sandbox_left_is_swept_up(docker_lab: DockerLab, training: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of this one, which lives."""
    if host := docker_lab.sandbox.state()["docker"]:
        monkeypatch.setenv("DOCKER_HOST", host)
    machine = f"llmlab-{docker_lab.instance(training)['InstanceId']}"
    image = docker_lab.docker("inspect", "--format", "{{.Image}}", machine).stdout.strip()
    dead = Owner(2**22 + 1, 1)  # above the largest number that Linux gives
    left = docker_lab.docker("create", "--network", "none", "--label", f"{LABEL}={dead}", image).stdout.strip()
    Namespace(f"{PREFIX}{dead}").create()
    mine = [name for name in named(PREFIX) if name != f"{PREFIX}{dead}"]
    assert len(mine) >= 1
    assert sweep(SystemClock()) == 2
    assert named(PREFIX) == mine
    running = docker_lab.docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}}").stdout
    assert left not in running
    assert machine in running
