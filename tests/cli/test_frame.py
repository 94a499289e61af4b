"""What holds for every command: help, usage errors, global options, interruption."""

import subprocess
import sys
from typing import Any

import pytest
import typer

from llmlab.cli import ORDER, app, run, split_global
from llmlab.commands.context import CliContext
from llmlab.errors import ExitCode, UsageError
from llmlab.ui import Ui
from tests.cli.conftest import CommandLine

HEAVY = ("boto3", "botocore", "pydantic", "moto", "torch", "transformers", "rich", "jinja2", "yaml", "orjson")


def commands() -> list[tuple[str, ...]]:
    """Every command's path, groups included."""
    root: Any = typer.main.get_command(app)
    found: list[tuple[str, ...]] = []

    def walk(command: Any, path: tuple[str, ...]) -> None:
        for name, child in getattr(command, "commands", {}).items():
            found.append((*path, name))
            walk(child, (*path, name))

    walk(root, ())
    return found


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, llmlab.cli\ntry: llmlab.cli.main(['--help'])\nexcept SystemExit: print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"
    assert "bootstrap" in answer.stdout


def test_every_command_has_its_place_in_the_help() -> None:
    top = {path[0] for path in commands() if len(path) == 1}
    assert top == set(ORDER)


def test_no_arguments_is_help(llmlab: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert llmlab().code == ExitCode.DONE
    assert "Usage: llmlab" in capsys.readouterr().out


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_tells_what_it_is(path: tuple[str, ...], llmlab: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert llmlab(*path, "--help").code == ExitCode.DONE
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: llmlab {' '.join(path)}")
    assert len(text.splitlines()[2].strip()) > 10, "no sentence on what it does"


@pytest.mark.parametrize(
    ("line", "error", "hint"),
    [
        (("lanch",), "no such command 'lanch'", "llmlab launch --help"),
        (("xyzzy",), "no such command 'xyzzy'", "llmlab --help"),
        (("config", "--colour"), "no such option: --colour", "llmlab config --help"),
        (("cost", "extra"), "got unexpected extra argument(s) (extra)", "llmlab cost --help"),
        (("secret",), "llmlab secret needs a command", "llmlab secret --help"),
        (("secret", "set"), "missing argument 'name'", "llmlab secret set --help"),
        (("init", "--budget", "much"), "invalid value for '--budget'", "llmlab init --help"),
        (("config", "--region"), "--region needs a value", "llmlab --help"),
        (("config", "--config", "nowhere.toml"), "there is no settings file nowhere.toml", "llmlab init"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_usage_errors(line: tuple[str, ...], error: str, hint: str, llmlab: CommandLine) -> None:
    result = llmlab(*line)
    assert (result.code, result.out, result.error[: len(error)], result.hint) == (ExitCode.USAGE, "", error, hint)
    as_json = llmlab("--json", *line)
    assert as_json.code == ExitCode.USAGE
    assert as_json.json == {"error": result.error, "hint": hint, "exit_code": 2}


def test_version(llmlab: CommandLine) -> None:
    assert llmlab("--version").out.startswith("llmlab 0.")
    assert list(llmlab("--version", "--json").json) == ["version"]


def test_global_options_stand_anywhere_but_after_two_dashes() -> None:
    rest, options = split_global(["launch", "--json", "--region=eu-west-1", "--spot", "-vv", "--", "aws", "--region", "x", "--json"])
    assert rest == ["launch", "--spot", "--", "aws", "--region", "x", "--json"]
    assert options == {"--json": "", "--region": "eu-west-1", "-v": "vv"}
    with pytest.raises(UsageError):
        split_global(["config", "--profile="])


class Interrupting(Ui):
    """Ctrl-C arrives when the command shows its result."""

    def show(self, facts: object, view: Any) -> None:
        raise KeyboardInterrupt


def test_interruption_says_what_is_left(capsys: pytest.CaptureFixture[str], project: object) -> None:
    assert run(["config"], CliContext(ui=Interrupting(), environment={})) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err.splitlines() == ["error: interrupted; nothing more was changed", "hint: llmlab config"]


def test_a_hint_is_the_line_that_was_typed() -> None:
    ui = Ui()
    ui.typed = ["sandbox", "exec", "--", "aws", "a b"]
    assert ui.again("-vv") == "llmlab sandbox exec -vv -- aws 'a b'"


class Broken(Ui):
    def show(self, facts: object, view: Any) -> None:
        raise ZeroDivisionError("oh")


def test_a_bug_is_a_sentence_and_a_traceback_only_when_asked(capsys: pytest.CaptureFixture[str], project: object) -> None:
    assert run(["config"], CliContext(ui=Broken(), environment={})) == ExitCode.FAILED
    assert capsys.readouterr().err.splitlines() == ["error: a bug in llmlab: ZeroDivisionError: oh", "hint: llmlab config -vv"]
    assert run(["config", "-vv"], CliContext(ui=Broken(), environment={})) == ExitCode.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    """Two processes, because it is about what Python prints at exit."""
    command = f"{sys.executable} -m llmlab config --json; echo code=$? >&2"
    answer = subprocess.run(["bash", "-c", f"({command}) | true"], capture_output=True, text=True, check=True)
    assert answer.stderr.strip() in {"code=1", "code=0"}, answer.stderr
