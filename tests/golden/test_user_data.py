"""The machine's script as EC2 gets it: accepted by bash and shellcheck, small enough, free of unquoted values, and in its order.

`user_data.sh` beside this file is for whoever reviews a change: `make docs` writes it, no test compares it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from llmlab.aws import user_data
from llmlab.aws.user_data import UserData
from llmlab.contract import Names
from llmlab.errors import LabError

GOLDEN = Path(__file__).parent / "user_data.sh"
TEMPLATE = Path(__file__).parents[2] / "templates" / user_data.TEMPLATE
NAMES = Names("llm-tuning-lab", "123456789012", "us-east-1")


def rendered(names: Names = NAMES, hours: float = 6) -> str:
    return user_data.render(UserData(names, hours))


def test_bash_and_shellcheck_accept_it(tmp_path: Path) -> None:
    script = tmp_path / "user_data.sh"
    script.write_text(rendered(), encoding="utf-8")
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).parent / "shellcheck")
    for command in (["bash", "-n"], [shellcheck, "--shell=bash"]):
        done = subprocess.run([*command, str(script)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_longest_names_fit() -> None:
    longest = Names("a" * 28, "123456789012", "ap-southeast-1")
    assert len(user_data.packed(rendered(longest, 168))) <= 10 * 1024, "of the 16 KiB that EC2 takes: time to make it shorter"


def test_what_is_packed_can_be_read_again() -> None:
    script = rendered()
    assert user_data.unpacked(user_data.packed(script)) == script
    assert user_data.packed(script) == user_data.packed(script), "no time in it: the same lab has the same template"
    assert user_data.unpacked(script.encode()) == script, "as labs have it that were made before it was compressed"
    assert user_data.unpacked(user_data.packed(script)[:-9]) == ""
    assert user_data.unpacked(b"\xff\xfe") == ""


def test_every_value_is_quoted() -> None:
    text = re.sub(r"{% raw %}.*?{% endraw %}", "", TEMPLATE.read_text(encoding="utf-8"))
    values = re.findall(r"{{(.*?)}}", text)
    assert len(values) > 30
    assert [value for value in values if not value.endswith("| quote ")] == []


def test_the_power_off_timer_is_the_first_thing_that_runs() -> None:
    lines = [line for line in rendered().splitlines() if line and not line.startswith("#")]
    assert lines[:2] == ["set -u", "fallback_seconds=21600"]
    assert lines[2].startswith("systemd-run --unit=llmlab-fallback ")


PHASES = ["identity", "deadline", "logs", "spec", "folders", "image and data", "agent", "training container", "training", "upload"]


def test_the_phases_come_in_their_order() -> None:
    """The end is certain before anything is read, logs go out before anything is fetched, the agent is up before anything is trained."""
    assert re.findall(r'^phase "(.*)"$', rendered(), re.MULTILINE) == PHASES


def started(container: str) -> str:
    """The line that starts a container, as one."""
    (line,) = re.findall(rf"run_container \w+ \"?{container}.*", rendered().replace("\\\n", " "))
    return str(line)


def mounted(container: str) -> list[str]:
    return re.findall(r'-v "(\S+)"', started(container))


def test_training_has_no_credentials_and_nothing_to_change_but_its_own() -> None:
    """No network, or with `training_network` the bridge: from there the metadata service is one hop more than its limit allows."""
    assert '--network "$network"' in started("llmlab-training")
    assert 'print("bridge" if spec.get("training_network") is True else "none")' in rendered()
    assert "AWS_" not in started("llmlab-training")
    assert mounted("llmlab-training") == [
        "$work$data:$container$data:ro", "$work$model:$container$model:ro", "$work$spec:$container$spec:ro",
        "$work$results:$container$results", "$work$cache:$container$cache", "$work$control:$container$control",
    ]  # fmt: skip
    limits = re.search(r"^limits=\((.*)\)$", rendered(), re.MULTILINE)
    assert limits
    assert {"--read-only", "--pids-limit"} <= set(limits[1].split())


def test_no_container_has_a_right_that_it_does_not_need() -> None:
    (words,) = re.findall(r"^containers=\((.*)$", rendered(), re.MULTILINE)
    assert words.startswith('--user "$user" --cap-drop ALL --security-opt no-new-privileges --log-driver json-file --log-opt max-size=')
    assert rendered().count('"${containers[@]}"') == 2, "once for each of Docker's ways to a GPU"


def test_what_host_and_agent_tell_each_other_is_out_of_the_training_containers_reach() -> None:
    assert "$scratch$host:$container$host" in mounted("llmlab-agent-")
    assert not any("$host" in words or words.startswith("$work:") for words in mounted("llmlab-training"))
    for name in ("ready", "marked", "training_exit", "alive"):
        places = set(re.findall(rf'"(\$\w+)\${name}"', rendered()))
        assert places == {"$scratch"}, name


def test_the_agent_has_the_hosts_network_and_no_word_of_a_secret() -> None:
    line = started("llmlab-agent-")
    assert "--network host" in line
    assert set(re.findall(r"AWS_\w+", line)) == {"AWS_REGION", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}


def test_nothing_updates_itself_before_anything_else_happens() -> None:
    script = rendered()
    assert script.index("systemctl mask --now apt-daily.timer") < script.index("snap refresh --hold") < script.index("trap finish EXIT")
    assert script.index('wait "$quiet"') < script.index("gpus=(--gpus all)")


@pytest.fixture(scope="module")
def keep() -> str:
    found = re.search(r"^keep_log='(.*?)'$", rendered(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("length", "files"),
    [
        (50, {"log": 50}),
        (51, {"log": 50, "log.000000": 1}),
        (80, {"log": 50, "log.000000": 15, "log.000001": 15}),
        (200, {"log": 50, "log.000008": 15, "log.000009": 15}),
    ],
)
def test_of_a_flood_the_machine_keeps_the_beginning_and_two_blocks(tmp_path: Path, keep: str, length: int, files: dict[str, int]) -> None:
    """With 50 bytes for the beginning and 15 for a block; it is told where the beginning ends."""
    log, text = tmp_path / "log", bytes(range(32, 32 + 90)) * 3
    log.write_bytes(text[:10])
    subprocess.run([sys.executable, "-c", keep, str(log), "50", "15"], input=text[10:length], check=True)
    words = f"\n... {length - 50} bytes more, of which the last are kept in S3\n".encode() if length > 50 else b""
    assert log.read_bytes() == text[:50] + words
    rest = sorted(path for path in tmp_path.iterdir() if path != log)
    assert {path.name: path.stat().st_size for path in rest} == {name: size for name, size in files.items() if name != "log"}
    assert b"".join(path.read_bytes() for path in rest) == text[length - sum(path.stat().st_size for path in rest) : length]


def test_whatever_ends_it_switches_the_machine_off() -> None:
    """The trap is set before the first phase, and its last word is the power."""
    script = rendered()
    assert 0 <= script.index("\ntrap finish EXIT") < script.index('\nphase "')
    finish = re.search(r"^finish\(\) .*?^}", script, re.MULTILINE | re.DOTALL)
    assert finish
    assert "poweroff" in finish[0]


def function(name: str) -> str:
    """One function of the script, to be run among stand-ins for what it calls."""
    found = re.search(rf"^{name}\(\) .*?^}}", rendered(), re.MULTILINE | re.DOTALL)
    assert found, name
    return found[0]


def bash(folder: Path, *parts: str) -> list[str]:
    """What a script of these parts writes; `$1` is a folder of its own."""
    done = subprocess.run(["bash", "-uc", "\n".join(parts), "bash", str(folder)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


ENGINE = """
scratch=$1 containers=(-e A=b) gpus=(--gpus all)
docker() { echo "docker $*"; case $* in *refused*) return 1 ;; *"--gpus all"*) return "$without" ;; esac; }
"""
"""An engine that takes everything but an image called refused, and `--gpus` when `without` is 0."""


@pytest.mark.parametrize("without", [0, 1])
def test_where_one_way_to_the_gpus_fails_the_other_is_tried_and_kept(tmp_path: Path, without: int) -> None:
    tries = "run_container agent a image; run_container training t image; grep -h run $1/*.words"
    said = bash(tmp_path, f"without={without}", ENGINE, function("run_in"), function("last_words"), function("run_container"), tries)
    way = "--runtime=nvidia -e NVIDIA_VISIBLE_DEVICES=all" if without else "--gpus all"
    assert said[-2:] == [f"docker run -d --name {name} {way} -e A=b image" for name in "at"]
    assert ("docker rm -f a" in said) == bool(without)


def test_where_neither_way_works_the_first_one_s_words_are_told(tmp_path: Path) -> None:
    words = "run_container agent a refused || last_words agent"
    said = bash(tmp_path, "without=0", ENGINE, function("run_in"), function("last_words"), function("run_container"), words)
    assert said[-1] == "docker run -d --name a --gpus all -e A=b refused"


DISKS = """
scratch=$1/scratch nvme=$1/opt/dlami/nvme root=$1
mkdir -p "$scratch" "$root/dev/disk/by-id"
say() { echo "said $*" | sed "s#$root##g"; }
sleep() { waits=$((waits + 1)); }
limited() { shift; "$@"; }
called() { echo "$*" | sed "s#$root##g" >>"$scratch/calls"; }
plug() { touch "$root/dev/$1"; ln -s "$root/dev/$1" "$root/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_$2"; }
systemctl() { called "systemctl $*"; [ "$1" != cat ] || [ -n "$unit" ]; }
mountpoint() { [ "$waits" -ge "$mounted_after" ]; }
lsblk() { echo "${!#} $holds "; }
vgcreate() { called "vgcreate $*"; }
lvcreate() { called "lvcreate $*"; }
mkfs.ext4() { called "mkfs.ext4 $*"; [ -z "$broken" ] || { echo "no room on $broken"; return 1; }; }
mount() { called "mount $*"; }
docker() { echo "$images"; }
waits=0 unit=yes mounted_after=0 holds="" broken="" images=""
"""
"""A machine whose disks are plugged in by `plug DEVICE NAME`; `mounted_after` so many looks by the AMI's `unit`, or never."""
FOUND = """
own=()
while read -r device; do own+=("$device"); done < <(own_disks)
mount_disks "${own[@]}"
echo "ended with $?, ${#own[@]} disks"
cat "$scratch/calls" 2>/dev/null || true
"""
NEVER = "mounted_after=99 "


def disks(folder: Path, setting: str, words: str = FOUND) -> list[str]:
    names = ("run_in", "last_words", "own_disks", "mount_disks", "make_volume", "move_engine")
    return bash(folder, DISKS, setting, *(function(name) for name in names), words)


ONE, TWO = "plug nvme1n1 AWS1; plug nvme1n1 AWS1_1; plug nvme1n1p1 AWS1-part1\n", "plug nvme2n1 AWS2\n"
VOLUME = ["mkfs.ext4 -q -m 0 -E nodiscard {}", "mount -o noatime {} /opt/dlami/nvme"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (ONE, ["said the machine's own disks (1) are mounted at /opt/dlami/nvme, waited 0 s for", "ended with 0, 1 disks"]),
        (
            f"mounted_after=3\n{ONE}{TWO}",
            ["said the machine's own disks (2) are mounted at /opt/dlami/nvme, waited 6 s for", "ended with 0, 2 disks"],
        ),
        (
            f"{NEVER}unit=\n{ONE}",
            ["said the machine's own disks (1) were made a volume at /opt/dlami/nvme", "ended with 0, 1 disks"]
            + [line.format("/dev/nvme1n1") for line in VOLUME],
        ),
        (
            f"{NEVER}unit=\n{ONE}{TWO}",
            [
                "said the machine's own disks (2) were made a volume at /opt/dlami/nvme", "ended with 0, 2 disks",
                "vgcreate llmlab /dev/nvme1n1 /dev/nvme2n1", "lvcreate -y -i 2 -l 100%FREE -n own llmlab",
            ] + [line.format("/dev/llmlab/own") for line in VOLUME],
        ),
        (
            f"{NEVER}unit= holds=xfs\n{ONE}",
            ["said /dev/nvme1n1 holds something, is not at /opt/dlami/nvme, and stays as it is", "ended with 1, 1 disks"],
        ),
        (
            f"{NEVER}unit= broken=it\n{ONE}",
            [
                "said the machine's own disks (1) do not become a volume: no room on it", "ended with 1, 1 disks",
                VOLUME[0].format("/dev/nvme1n1"),
            ],
        ),
    ],
    ids=["mounted", "late", "raw", "several", "used", "broken"],
)  # fmt: skip
def test_the_machines_own_disks_are_waited_for_and_made_a_volume_only_where_nobody_uses_them(
    tmp_path: Path, setting: str, said: list[str]
) -> None:
    assert [line for line in disks(tmp_path, setting) if not line.startswith(("systemctl", "/", "no room"))] == said


def test_the_wait_for_the_machines_own_disks_has_a_limit(tmp_path: Path) -> None:
    said = disks(tmp_path, f"{NEVER}holds=LVM2_member\n{ONE}", FOUND + 'echo "waited $waits times"')
    assert "ended with 1, 1 disks" in said
    assert said[-1] == "waited 30 times"


MOVING = "move_engine; cat $scratch/calls 2>/dev/null"


def test_docker_s_data_and_containerd_s_lie_on_the_machines_own_disks(tmp_path: Path) -> None:
    """The engine stands still meanwhile; what came with the AMI would be hidden, so then it stays."""
    assert disks(tmp_path, "", MOVING) == [
        "systemctl stop docker.socket docker.service containerd.service",
        "mount --bind /opt/dlami/nvme/docker /var/lib/docker",
        "mount --bind /opt/dlami/nvme/containerd /var/lib/containerd",
        "systemctl start docker.service",
    ]
    (tmp_path / "scratch/calls").unlink()
    assert disks(tmp_path, "images=0123456789ab", MOVING) == ["said the AMI's engine has images, so it stays where it is"]
    assert rendered().index("  move_engine\n") < rendered().index('\ncheck_engine\nif [ -n "$agent_image" ]; then'), (
        "before anything is pulled"
    )


PULLING = """
scratch=$1 region=r registry=g pull_seconds=1200
say() { echo "said $*"; }
aws() { :; }
sleep() { :; }
limited() { echo "within $1 s"; shift; "$@"; }
unset SECONDS  # then it is a variable like any other, and no second of this computer is added
SECONDS=0
docker() { case $1 in pull) SECONDS=$((SECONDS + 700)); return 1 ;; esac; }
"""
"""A registry from which nothing comes, and time that passes meanwhile."""


def test_a_pull_has_an_end_and_then_another_machine_is_tried(tmp_path: Path) -> None:
    said = bash(tmp_path, PULLING, function("run_in"), function("last_words"), function("pull"), 'pull i image; echo "ended with $?"')
    assert [line for line in said if line.startswith(("within", "ended"))] == ["within 1200 s", "within 500 s", "ended with 2"]
    assert "reason=$lost" in rendered()


FETCHING = """
scratch=$1 image=training base_model=tiny data_bucket=b datasets=d/ dataset=n models=m/ work=/w data=/data model=/model
check_engine() { :; }
phase() { :; }
pull() { echo "pull $2"; return "$code"; }
pulled() { echo "pulled $*"; }
download() { echo "download $1"; }
"""


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("agent_image=own code=0", ["pull agent-image", "pulled 0 own agent-image", "pull image"]),
        ("agent_image= code=0", ["download data", "download model", "pull image", "pulled 0 training image"]),
        ("agent_image= code=2", ["download data", "download model", "pull image", "pulled 2 training image"]),
    ],
    ids=["an image of its own", "a run of before", "a pull that failed"],
)
def test_an_agent_with_an_image_of_its_own_fetches_while_the_training_image_comes(tmp_path: Path, setting: str, said: list[str]) -> None:
    """A spec without one has the machine's script fetch, as it always did. How the pull ended is there for who waits for it."""
    script = rendered()
    block = script[script.index("\ncheck_engine\nif [ -n ") : script.index('\nwait "$quiet"')]
    told = bash(tmp_path, FETCHING, setting, block, "wait; cat $scratch/pull.exit")
    assert sorted(told[:-1]) == sorted(said)
    assert told[-1] == setting[-1]
    assert '"${agent_image:-$image}" python -m llmlab.agent' in script.replace("\\\n", " ")


def test_a_training_image_that_did_not_come_ends_the_wait_for_the_agent(tmp_path: Path) -> None:
    script = rendered()
    waiting = script[script.index("\nawait 7200 ") : script.index('\nphase "training container"')]
    stubs = """
scratch=$1 marked=/marked ready=/ready agent_image=own image=training
await() { echo "await ${*:3}" | sed "s#$scratch##g"; }
pulled() { echo "pulled $*"; exit; }
"""
    (tmp_path / "pull.exit").write_text("2\n", encoding="utf-8")
    assert bash(tmp_path, stubs, waiting) == ["await /marked /pull.exit", "pulled 2 training image"]


@pytest.mark.parametrize(("reason", "written"), [("instance_lost", ["end"]), ("setup_failed", ["end", "FAILURE"])])
def test_a_run_that_another_machine_may_do_gets_no_last_word(tmp_path: Path, reason: str, written: list[str]) -> None:
    setting = f"""
work=$1/no prefix= success_key=S failure_key=FAILURE end_key=end checkpoints=/c hint= reason={reason} setup_failed=setup_failed
run=r attempt=1 detail=d phase=p scratch=$1 instance_part=instance timestamp=%Y training_log=t setup_log=s outputs_bucket=o
lost=instance_lost
exists() {{ return 1; }}
upload() {{ cat >/dev/null; echo "$1"; }}
aws() {{ :; }}
"""
    end = re.search(r"^write_end='.*?^'$", rendered(), re.MULTILINE | re.DOTALL)
    assert end
    assert bash(tmp_path, setting, end[0], function("last_resort"), "last_resort") == written


HANGING = """
set -u
unset SECONDS
SECONDS=0
scratch=$1 alive=/alive agents=1 watched=yes beat=$((SECONDS - 400)) logs=$1 agent_log=agent
say() { echo "said $*"; }
sleep() { SECONDS=$((SECONDS + 1)); }
fail() { echo "failed $*"; exit 1; }
docker() { echo "docker $*"; echo 137 >"$scratch/agent-$agents.exit"; }
start_agent() { agents=$((agents + 1)) beat=$SECONDS; touch "$scratch/over"; }
"""


@pytest.mark.parametrize("lives", [False, True])
def test_an_agent_that_shows_no_life_is_ended_and_started_again(tmp_path: Path, lives: bool) -> None:
    """For more than five minutes; one that has touched its file a moment ago is left alone."""
    (tmp_path / ("alive" if lives else "over-later")).touch()
    words = 'await 2 "the end" "$scratch/over"; echo "agents $agents"'
    said = bash(tmp_path, HANGING, function("await"), words)
    killed = ["said the agent has shown no life for 400 s", "docker kill llmlab-agent-1", "said the agent ended with 137", "agents 2"]
    assert said == (["failed waited 2 s for the end"] if lives else killed)


def test_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_data, "LIMIT", 1000)
    with pytest.raises(LabError, match="EC2 takes 1000"):
        rendered()


def test_a_value_that_is_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / user_data.TEMPLATE).write_text("{{ nobody | quote }}")
    monkeypatch.setattr(user_data, "_templates", lambda: tmp_path)
    with pytest.raises(UndefinedError):
        rendered()


def test_the_cloudwatch_agent_writes_to_the_labs_groups() -> None:
    files = user_data.cloudwatch_agent(NAMES)["logs"]["logs_collected"]["files"]["collect_list"]
    assert [file["log_group_name"] for file in files] == [f"/llm-tuning-lab/{name}" for name in ("setup", "training", "agent")]


if __name__ == "__main__":
    GOLDEN.write_text(rendered(), encoding="utf-8")
