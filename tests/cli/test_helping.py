"""Help that helps: sections, one example a command that is a line of it, and what a shell offers for a value."""

import io
import re
from typing import Any

import pytest
import typer

from llmlab.aws import instance_catalogue
from llmlab.cli import SECTIONS, app
from llmlab.commands import completing, helping

from .conftest import CommandLine, assert_runs
from .test_status import launch


def commands(group: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found |= commands(command, (*path, name)) if hasattr(command, "commands") else {" ".join((*path, name)): command}
    return found


def test_every_command_stands_in_one_section_and_has_an_example_that_is_a_line_of_it() -> None:
    root: Any = typer.main.get_command(app)
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == sorted(root.commands)
    every = commands(root)
    assert set(every) == set(helping.EXAMPLES)
    for name, line in helping.EXAMPLES.items():
        assert f"llmlab {name}" in line
        if line.startswith("llmlab "):
            assert assert_runs(line) == "llmlab"


def screens(group: Any, context: Any, path: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """What `--help` shows of a group and of everything in it, at 80 columns."""
    shown = {" ".join(("llmlab", *path)): context.get_help().splitlines()}
    for name, command in getattr(group, "commands", {}).items():
        own = command.make_context(f"llmlab {' '.join((*path, name))}", [], resilient_parsing=True, terminal_width=80)
        shown |= screens(command, own, (*path, name))
    return shown


def test_no_help_is_longer_than_a_screen() -> None:
    root: Any = typer.main.get_command(app)
    shown = screens(root, root.make_context("llmlab", [], resilient_parsing=True, terminal_width=80))
    assert len(shown) > 35
    assert {name: len(lines) for name, lines in shown.items() if len(lines) > 40} == {}
    assert {name: lines for name, lines in shown.items() if max(map(len, lines)) > 80} == {}
    assert {name: lines for name, lines in shown.items() if re.search("<[a-z]+", "\n".join(lines))} == {}, "a value is said one way"
    assert [name for name in root.commands if f"\n  {name} " not in "\n".join(shown["llmlab"])] == []


def test_the_help_of_a_launch_is_in_sections_and_leaves_no_option_out(llmlab: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert llmlab("launch", "--help").code == 0
    out = capsys.readouterr().out
    assert [title for title in helping.OPTIONS["launch"] if f"{title}:" not in out] == []
    root: Any = typer.main.get_command(app)
    options = [one.opts[0] for one in root.commands["launch"].params if one.param_type_name == "option"]
    assert len(options) == 20
    assert [option for option in options if out.count(f"  {option} ") + out.count(f", {option} ") < 1] == []
    assert "llmlab launch --data faq --name faq-v2 --spot" in out


def test_values_that_a_shell_offers(ready: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = launch(ready, "--name", "faq-v2")
    monkeypatch.setattr("llmlab.commands.context.CliContext.aws", ready.aws)
    assert completing.runs("") == ["latest", "faq-v2", run]
    assert completing.runs("fa") == ["faq-v2"]
    assert completing.datasets("s") == ["sums"]
    assert "qlora-8b" in completing.recipes("q")
    assert set(completing.types("g6e.x")) == {"g6e.xlarge"}
    assert completing.types("g5.xlarge,g6e.x") == ["g5.xlarge,g6e.xlarge"]
    assert len(completing.types("")) == len(instance_catalogue.TYPES)
    assert completing.streams("t") == ["training"]
    assert "checkpoints" in completing.parts("")


def test_who_has_no_account_is_offered_nothing_and_told_nothing(llmlab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    errors = io.StringIO()
    monkeypatch.setattr("sys.stderr", errors)
    assert (completing.runs(""), completing.datasets("")) == ([], [])
    assert errors.getvalue() == ""


def test_options_that_may_stand_anywhere_are_offered_too() -> None:
    command = typer.main.get_command(app).commands["status"]  # type: ignore[attr-defined]
    context = command.make_context("status", [], resilient_parsing=True)
    offered = [one.value for one in command.shell_complete(context, "--")]
    assert {"--watch", "--region", "--profile", "--json"} <= set(offered)
