"""What a line to copy holds of the line before it; that every line shown in these tests parses is held by `tests.hints`."""

import shlex
from pathlib import Path

import pytest

from llmlab.errors import ExitCode
from tests.hints import ODD, SHOWN

from .conftest import EXAMPLES, CommandLine
from .test_bad_input import write

LAB = ("--region", "us-east-1", "--config", "of lab.toml")
LINES = (
    ("validate", "data"),
    ("upload", "data"),
    ("estimate", "--data", "data"),
    ("launch", "--data", "data", "--spot", "--yes"),
    ("status",),
    ("status", "latest"),
    ("doctor",),
    ("stop", "latest", "--now"),
    ("status", "latest"),
    ("cost",),
)


def test_every_line_to_copy_is_about_the_lab_that_was_meant(ready: CommandLine, project: Path) -> None:
    """Pasted, it must not ask another region, account or file of settings."""
    write(project / "data" / "train.jsonl", EXAMPLES)
    write(project / LAB[-1], b"budget = 50\n")
    lines = []
    for line in LINES:
        result = ready(*line, *LAB)
        lines += [found[2] for found in SHOWN.finditer(result.out + result.err) if "llmlab " in found[2]]
    assert len(lines) >= 8
    lost = [line for line in lines if not {*LAB} <= {*shlex.split(line.partition("  # ")[0])}]
    assert not lost


def test_a_mend_of_the_doctor_has_a_command(llmlab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    result = llmlab("doctor")
    assert result.code == ExitCode.FAILED
    assert "mend: llmlab doctor --region us-east-1\n" in result.out
    assert "mend: llmlab bootstrap --email YOU@EXAMPLE.ORG --region us-east-1\n" in result.out


BAD = EXAMPLES + b"{oops\n"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({f"{ODD}/a.jsonl": BAD}, ("validate", ODD)),
        ({f"{ODD}/a.jsonl": EXAMPLES}, ("upload", ODD, "--name", "S U")),
        ({f"{ODD}/a.jsonl": EXAMPLES}, ("upload", ODD, "--model", "m", "--name", "n")),
        ({f"{ODD}.toml": b"lab = \n"}, ("config", "--config", f"{ODD}.toml")),
        ({f"{ODD}.toml": b"max_hours = 10000\n"}, ("config", "--config", f"{ODD}.toml")),
        ({f"{ODD}.yaml": b"model: x/y\nlayers: 3\n"}, ("estimate", "--recipe", f"{ODD}.yaml")),
        ({f"{ODD}/a": b""}, ("demo", "--folder", ODD)),
        ({f"{ODD}/a": b""}, ("sandbox", "model", ODD)),
        ({}, ("launch", "--set", f"lora.rnk={ODD}")),
        ({}, ("launch", "--set", f"model.x={ODD}")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_a_shell_would_take_apart_is_quoted(lab: CommandLine, project: Path, files: dict[str, bytes], words: tuple[str, ...]) -> None:
    for name, content in files.items():
        write(project / name, content)
    result = lab(*words)
    assert result.code in {ExitCode.FAILED, ExitCode.USAGE}, result.err
    assert any(ODD in word for word in shlex.split(result.hint)), result.err


def test_what_the_example_data_is_for_is_quoted(llmlab: CommandLine) -> None:
    result = llmlab("sandbox", "data", ODD)
    assert shlex.split(result.err)[1:] == ["llmlab", "validate", ODD]
