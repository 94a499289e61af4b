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
    assert 2 * len(user_data.packed(rendered(longest, 168))) <= user_data.LIMIT, "half of what EC2 takes: time to make it shorter"


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
    (line,) = re.findall(rf"docker run -d --name \"?{container}.*", rendered().replace("\\\n", " "))
    return str(line)


def test_training_has_no_credentials_and_data_that_it_cannot_change() -> None:
    """On the bridge one hop more leads to the metadata service than its limit allows."""
    line = started("llmlab-training")
    assert "--network bridge" in line
    assert "--cap-drop ALL --security-opt no-new-privileges" in line
    assert "AWS_" not in line
    for folder in ("data", "model", "spec"):
        assert f'-v "$work${folder}:$container${folder}:ro"' in line


def test_the_agent_has_the_hosts_network_and_no_word_of_a_secret() -> None:
    line = started("llmlab-agent")
    assert "--network host" in line
    assert set(re.findall(r"AWS_\w+", line)) == {"AWS_REGION", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}


def test_whatever_ends_it_switches_the_machine_off() -> None:
    """The trap is set before the first phase, and its last word is the power."""
    script = rendered()
    assert 0 <= script.index("\ntrap finish EXIT") < script.index('\nphase "')
    finish = re.search(r"^finish\(\) .*?^}", script, re.MULTILINE | re.DOTALL)
    assert finish
    assert "poweroff" in finish[0]


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
