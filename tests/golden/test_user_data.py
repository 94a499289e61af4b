"""The machine's script as EC2 gets it: a golden file, accepted by bash and shellcheck, small enough, and free of unquoted values."""

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


def test_golden() -> None:
    """After an intended change: `python -m tests.golden.test_user_data` writes the file anew."""
    assert rendered() == GOLDEN.read_text(encoding="utf-8")


def test_bash_and_shellcheck_accept_it() -> None:
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).parent / "shellcheck")
    for command in (["bash", "-n"], [shellcheck, "--shell=bash"]):
        done = subprocess.run([*command, str(GOLDEN)], capture_output=True, text=True, check=False)
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
