"""The machine room: user data really runs, and an instance dies of what AWS's would, leaving no process."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws.session import Aws
from llmlab.sandbox.server import Sandbox
from tests.golden.test_user_data import rendered
from tests.sandbox.conftest import Launch, console, describe, until, until_said, until_state

METADATA = """
T=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/api/token")
meta() { curl -s -w ' %{http_code}' -H "X-aws-ec2-metadata-token: $T" "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/$1"; echo; }
"""


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_user_data_runs_and_power_off_terminates(cloud: Aws, launch: Launch) -> None:
    instance = launch(
        'echo "here is $LLMLAB_ROOT"; test -w "$LLMLAB_ROOT/var/log" && systemctl is-system-running; systemctl poweroff; sleep 60'
    )
    assert describe(cloud, instance)["State"]["Name"] == "pending"
    facts = until_state(cloud, instance, "terminated")
    assert facts["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    said = console(cloud, instance)
    assert "here is /" in said
    assert "running" in said
    assert cloud.ec2.describe_volumes()["Volumes"] == []


def test_metadata_wants_a_token_and_knows_the_tags(cloud: Aws, launch: Launch) -> None:
    script = """
curl -s -o /dev/null -w 'no token %{http_code}\\n' "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/meta-data/instance-id"
meta meta-data/instance-id; meta meta-data/tags/instance/Run; meta meta-data/tags/instance; meta meta-data/tags/instance/None
meta meta-data/placement/region; meta meta-data/spot/instance-action; meta meta-data/iam/security-credentials
echo "user-data: $(meta user-data | head -1)"; aws sts get-caller-identity --region us-east-1 --query Arn --output text; echo done
"""
    instance = launch(METADATA + script)
    said = until_said(cloud, instance, "done")
    for words in ("no token 401", f"{instance} 200", "r-1 200", "Run 200", "us-east-1 200", "instance 200", "user-data: #!/bin/bash"):
        assert words in said
    assert said.count(" 404\n") == 2
    assert f"assumed-role/instance/{instance}" in said


def test_tags_are_waited_for_while_the_metadata_service_comes_up(cloud: Aws, launch: Launch, sandbox: Sandbox) -> None:
    """404 and 503 in turn, as in a machine's first seconds; the script's own functions ask, and a second is no longer than it must be."""
    script = rendered()
    asking = [re.search(rf"^{name}\(\) .*?^}}", script, re.MULTILINE | re.DOTALL) for name in ("metadata", "tag")]
    functions = "\n".join(found[0].replace("sleep 2", "sleep 0.01") for found in asking if found)
    sandbox.fault("metadata", "5")
    instance = launch(f"""
imds=$AWS_EC2_METADATA_SERVICE_ENDPOINT
{functions}
metadata tags/instance/Run || echo "not yet"
echo "run $(tag Run)"
echo "names $(tag "" | tr '\\n' ' ')"
echo done
""")
    said = until_said(cloud, instance, "done")
    assert "not yet\nrun r-1\n" in said
    assert "names Run" in said


SCRIPT_DISKS = ("run_in", "last_words", "limited", "own_disks", "mount_disks", "make_volume", "move_engine")


@pytest.mark.parametrize(
    ("state", "instance_type", "said"),
    [
        ("", "g6.8xlarge", "the machine's own disks (2) are mounted at /opt/dlami/nvme, waited 0 s for"),
        ("raw", "g6.xlarge", "the machine's own disks (1) were made a volume at /opt/dlami/nvme"),
        ("none", "g6.xlarge", "no disks"),
        pytest.param(
            "late",
            "g6.12xlarge",
            "the machine's own disks (4) are mounted at /opt/dlami/nvme, waited 4 s for",
            marks=pytest.mark.slow,  # a machine more
        ),
        pytest.param("raw", "g6.8xlarge", "the machine's own disks (2) were made a volume at /opt/dlami/nvme", marks=pytest.mark.slow),
        pytest.param(
            "used",
            "g6.xlarge",
            "/dev/nvme1n1 holds something, is not at /opt/dlami/nvme, and stays as it is",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_a_machine_has_the_disks_of_its_type_and_its_script_finds_them(
    cloud: Aws, launch: Launch, sandbox: Sandbox, state: str, instance_type: str, said: str
) -> None:
    """The script's own functions, among the sandbox's stand-ins for what knows of disks."""
    script = rendered()
    found = [re.search(rf"^{name}\(\) .*?^}}", script, re.MULTILINE | re.DOTALL) for name in SCRIPT_DISKS]
    functions = "\n".join(one[0].replace("sleep 2", "sleep 0.01") for one in found if one)
    sandbox.fault("disks", state)
    instance = launch(
        f"""
set -u
root=$LLMLAB_ROOT scratch=$LLMLAB_ROOT/run nvme=$LLMLAB_ROOT/opt/dlami/nvme own=()
say() {{ echo "$*" | sed "s#$root##g"; }}
{functions}
while read -r device; do own+=("$device"); done < <(own_disks)
if [ -z "${{own[0]:-}}" ]; then say "no disks"; elif mount_disks "${{own[@]}}"; then mountpoint -q "$nvme" && move_engine && echo moved; fi
echo done
""",
        instance_type=instance_type,
    )
    lines = until_said(cloud, instance, "done").splitlines()
    assert said in lines
    assert ("moved" in lines) == (state in {"", "late", "raw"}), lines
    if "moved" in lines:
        mounts = json.loads(Path(sandbox.folder, "machines", instance, "disks.json").read_text(encoding="utf-8"))["mounts"]
        assert [Path(target).name for target in mounts] == ["nvme", "docker", "containerd"]


@pytest.mark.slow  # a machine and its container
def test_terminating_kills_the_whole_tree(cloud: Aws, launch: Launch, sandbox: Sandbox) -> None:
    cloud.client("ecr").create_repository(repositoryName="lab-training")
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/lab-training:latest"
    script = f"""
trap '' TERM
sleep 1001 & echo "pid $!"
tmux new-session -d -s x 'echo $$ >"$LLMLAB_ROOT/tmux"; sleep 1002'
program='import os, sys, time; open(sys.argv[1], "w").write(str(os.getpid())); time.sleep(1003)'
mkdir "$LLMLAB_ROOT/work"; chmod a+rwX "$LLMLAB_ROOT/work" # the container's user is not root
docker run -d --name c -v "$LLMLAB_ROOT/work:/r" {image} python -c "$program" /r/c
while [ ! -s "$LLMLAB_ROOT/tmux" ] || [ ! -s "$LLMLAB_ROOT/work/c" ]; do sleep 0.05; done
echo "pid $(cat "$LLMLAB_ROOT/tmux")"; echo "pid $(cat "$LLMLAB_ROOT/work/c")"; echo "pid $$"; echo ready; sleep 1004
"""
    instance = launch(script)
    said = until_said(cloud, instance, "ready")
    pids = [int(line.removeprefix("pid ")) for line in said.splitlines() if line.startswith("pid ")]
    assert len(pids) == 4
    assert not any(gone(pid) for pid in pids)
    answer: Any = cloud.ec2.terminate_instances(InstanceIds=[instance])["TerminatingInstances"][0]
    assert (answer["PreviousState"]["Name"], answer["CurrentState"]["Name"]) == ("running", "shutting-down")
    facts = until_state(cloud, instance, "terminated")
    assert facts["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert all(gone(pid) for pid in pids)


@pytest.mark.slow  # starts a sandbox of its own
def test_nothing_survives_a_killed_sandbox(sandbox: Sandbox, monkeypatch: Any) -> None:
    own = Sandbox.start(attached=True)
    for name, value in own.environment().items():
        monkeypatch.setenv(name, value)
    aws = Aws("us-east-1", lab="l")
    ssm: Any = aws.client("ssm")
    from tests.sandbox.conftest import IMAGE_PARAMETER

    image = ssm.get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"]
    script = '#!/bin/bash\ntrap \'\' TERM\nsleep 1005 & echo "pid $!"\necho "pid $$"\necho ready\nsleep 1006\n'
    instance = aws.ec2.run_instances(ImageId=image, InstanceType="g6.xlarge", MinCount=1, MaxCount=1, UserData=script)["Instances"][0][
        "InstanceId"
    ]
    said = until_said(aws, instance, "ready")
    pids = [int(line.removeprefix("pid ")) for line in said.splitlines() if line.startswith("pid ")]
    os.kill(own.pid, signal.SIGKILL)
    until("the machine to notice", lambda: all(gone(pid) for pid in pids))
    own.stop()


def test_timers_ring_on_the_sandbox_clock(cloud: Aws, launch: Launch, sandbox: Sandbox) -> None:
    script = """
systemd-run --unit=end --on-active=7200s --timer-property=AccuracySec=1s systemctl poweroff
systemd-run --unit=other --on-active=60s poweroff; systemctl stop other.timer; echo set; sleep 10000
"""
    instance = launch(script)
    until_said(cloud, instance, "set")
    assert sandbox.state()["machines"][0]["timers"] == ["end"]
    sandbox.advance(5700)
    assert describe(cloud, instance)["State"]["Name"] == "running"
    sandbox.advance(1501)
    assert until_state(cloud, instance, "terminated")["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_a_spot_instance_is_taken_back_after_its_notice(cloud: Aws, launch: Launch, sandbox: Sandbox) -> None:
    script = METADATA + 'until meta meta-data/spot/instance-action | grep " 200"; do sleep 0.1; done; echo noticed; sleep 1000'
    instance = launch(script, spot=True)
    until_state(cloud, instance, "running")
    assert sandbox.interrupt("r-1") == [instance]
    assert '"action": "terminate"' in until_said(cloud, instance, "noticed")
    assert describe(cloud, instance)["State"]["Name"] == "running"
    sandbox.advance(121)
    assert until_state(cloud, instance, "terminated")["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_containers(cloud: Aws, launch: Launch, sandbox: Sandbox) -> None:
    """Images are what ECR has; paths are translated, credentials kept from bridge, exit codes and kills told."""
    ecr: Any = cloud.client("ecr")
    ecr.create_repository(repositoryName="lab-training")
    digest = ecr.describe_images(repositoryName="lab-training")["imageDetails"][0]["imageDigest"]
    registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    program = (
        "import os, sys, time; w = os.environ['W']; print(open(w + '/in/f').read(), 'AWS_ENDPOINT_URL' in os.environ); "
        "open(w + '/out/g', 'w').write('x'); time.sleep(float(sys.argv[1])); sys.exit(3)"
    )
    script = f"""
export AWS_REGION=us-east-1
image={registry}/lab-training@{digest}
aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin {registry}
docker pull --quiet "$image" && echo pulled
docker pull --quiet {registry}/lab-training@sha256:{"0" * 64}; echo "missing $?"
mkdir -p "$LLMLAB_ROOT/a" "$LLMLAB_ROOT/b"; echo content >"$LLMLAB_ROOT/a/f"; chmod a+rwX "$LLMLAB_ROOT/b"
mounts=(-v "$LLMLAB_ROOT/a:/w/in:ro" -v "$LLMLAB_ROOT/b:/w/out")
for network in bridge host; do
  docker run --rm --name $network --network $network -e W=/w -e AWS_ENDPOINT_URL "${{mounts[@]}}" "$image" python -c "{program}" 0
  echo "$network $?"
done
cat "$LLMLAB_ROOT/b/g"; echo
docker run -d --name long -e W=/w "${{mounts[@]}}" "$image" python -c "{program}" 1000
echo started
echo "waited $(docker wait long) $(docker inspect -f '{{{{.State.OOMKilled}}}}' long)"
docker run -d --name stopped -e W=/w "${{mounts[@]}}" "$image" python -c "{program}" 1000
docker stop stopped; echo "stopped $(docker wait stopped)"; echo done
"""
    instance = launch(script)
    said = until_said(cloud, instance, "started")
    assert "pulled" in said
    assert "manifest unknown" in said
    assert "missing 1" in said
    assert "content\n False\nbridge 3" in said
    assert "content\n True\nhost 3" in said
    until("the container to run", lambda: sandbox_has(sandbox, instance, "long"))
    sandbox.kill_container(instance, "long", memory=True)
    said = until_said(cloud, instance, "done")
    assert "waited 137 true" in said
    assert "stopped 143" in said


CONTAINED = """
import os, socket, sys
folder = os.environ["W"]
def refusal(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"
with socket.create_server(("127.0.0.1", 0)) as server:
    loopback = refusal(lambda: socket.create_connection(server.getsockname(), timeout=5))
others = sorted(name for _, name in socket.if_nameindex() if name != "lo")
closed, open_ = (refusal(lambda: open(f"{folder}/{name}/f", "a")) for name in ("closed", "open"))
print("user", os.getuid(), "closed", closed, "open", open_, "loopback", loopback, "others", others or "none", flush=True)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_a_container_is_another_user_than_root_and_can_be_without_a_network(cloud: Aws, launch: Launch) -> None:
    """What root leaves with its usual rights, a container cannot write, as on a real machine; its loopback is there all the same."""
    ecr: Any = cloud.client("ecr")
    ecr.create_repository(repositoryName="lab-training")
    digest = ecr.describe_images(repositoryName="lab-training")["imageDetails"][0]["imageDigest"]
    instance = launch(f"""
mkdir -p "$LLMLAB_ROOT/w/closed" "$LLMLAB_ROOT/w/open"; chmod a+rwX "$LLMLAB_ROOT/w/open"; touch "$LLMLAB_ROOT/w/closed/f"
cat >"$LLMLAB_ROOT/w/program.py" <<'END'
{CONTAINED}
END
image=123456789012.dkr.ecr.us-east-1.amazonaws.com/lab-training@{digest}
docker run --rm --network none --user 10002:10003 -e W=/w -v "$LLMLAB_ROOT/w:/w" "$image" python /w/program.py
echo done
""")
    said = until_said(cloud, instance, "done")
    assert "user 10002 closed PermissionError open done loopback done" in said
    assert "others none" in said or not can_unshare(), said


def can_unshare() -> bool:
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


def sandbox_has(sandbox: Sandbox, instance: str, container: str) -> bool:
    folder = next(one["folder"] for one in sandbox.state()["machines"] if one["instance"] == instance)
    return os.path.exists(f"{folder}/containers/{container}/pid")  # noqa: PTH110 - a path told by the sandbox


def test_a_full_disk_fails_the_pull(cloud: Aws, launch: Launch, sandbox: Sandbox) -> None:
    sandbox.fault("pull", "write /var/lib/docker/tmp/x: no space left on device")
    instance = launch("docker pull x/y:z; echo code $?")
    assert "no space left on device" in until_said(cloud, instance, "code 1")


def test_logs_reach_cloudwatch(cloud: Aws, launch: Launch) -> None:
    item = {"file_path": "'$LLMLAB_ROOT'/x.log", "log_group_name": "/lab/setup", "log_stream_name": "r-1/1"}
    config = json.dumps({"logs": {"logs_collected": {"files": {"collect_list": [item]}}}})
    script = f"""
export AWS_REGION=us-east-1
echo first >"$LLMLAB_ROOT/x.log"; echo '{config}' >"$LLMLAB_ROOT/c.json"
amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c "file:$LLMLAB_ROOT/c.json"; echo second >>"$LLMLAB_ROOT/x.log"
printf third >>"$LLMLAB_ROOT/x.log"; amazon-cloudwatch-agent-ctl -a stop; echo flushed
"""
    logs: Any = cloud.client("logs")
    logs.create_log_group(logGroupName="/lab/setup")
    instance = launch(script)
    until_said(cloud, instance, "flushed")
    events = logs.filter_log_events(logGroupName="/lab/setup", logStreamNames=["r-1/1"])["events"]
    assert [event["message"] for event in events] == ["first", "second", "third"]
