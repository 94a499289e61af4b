"""The demo is one screen: a line a command, one of what it says, and all of what a failing one said last."""

import io
import sys
import textwrap
from pathlib import Path

import pytest

from llmlab.commands import demo
from llmlab.commands.context import CliContext
from llmlab.commands.demo import AFTER, BEFORE, LAST_LINES, ONE_LINE, Shown, Stage, view
from llmlab.errors import LabError
from llmlab.ui import Ui

PYTHON = sys.executable
SCREEN = 40
COLUMNS = 80
FACTS = Shown(
    "20261129-161107-wmru", 70, 3.6, 0.03, "p" * 60, "b" * 500, "t" * 500, "g4dn.xlarge", True, 0.18, 0.01, 0.002, "a" * 60, "r" * 60
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stage(folder: Path, said: str, code: int, monkeypatch: pytest.MonkeyPatch, screen: io.StringIO) -> Stage:
    """A demo whose every command says this."""
    (folder / "double.py").write_text(f"import sys\nsys.stdout.write({said!r})\nsys.exit({code})\n")
    monkeypatch.setattr(demo.sys, "executable", str(folder / "llmlab"))
    (folder / "llmlab").write_text(f'#!/bin/sh\nexec {PYTHON} -I "{folder}/double.py"\n')
    (folder / "llmlab").chmod(0o755)
    return Stage(CliContext(ui=Ui(stderr=screen)), folder, {})


def test_all_of_it_is_one_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    lines = [line for command in (*BEFORE, *AFTER) for line in textwrap.wrap(f"$ llmlab {command}", COLUMNS)]
    outcomes = [command for command in (*BEFORE, *AFTER) if command.partition(" ")[0] in ONE_LINE]
    screen = Terminal()
    Ui(stdout=screen).show(None, lambda: view(FACTS))
    whole = ["a sandbox is started", *lines, *outcomes, "", *screen.getvalue().splitlines()]
    assert len(outcomes) >= len(ONE_LINE)
    assert len(whole) <= SCREEN, "\n".join(whole)


def test_one_line_of_what_a_command_says_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    said = "examples    400\ntokens      19,822 (estimated at 4 bytes a token)\nrunning, step 75/150, loss 0.273\n"
    screen = Terminal()
    stage(tmp_path, said, 0, monkeypatch, screen).play("validate data")
    painted = screen.getvalue()
    assert "━━━━━━━━━───────  57%  running, step 75/150, loss 0.273" in painted
    assert "19,822 (estimated at 4 bytes a token)" in painted.rpartition("\r\x1b[2K")[2]
    assert "examples" not in painted
    quiet = io.StringIO()
    stage(tmp_path, said, 0, monkeypatch, quiet).play("validate data")
    assert quiet.getvalue() == "$ llmlab validate data\n  tokens 19,822 (estimated at 4 bytes a token)\n"


def test_what_a_failing_command_said_last_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    said = "".join(f"line {number}\n" for number in range(60)) + "error: there is no image\n"
    with pytest.raises(LabError, match="llmlab cost ended with 1"):
        stage(tmp_path, said, 1, monkeypatch, screen).play("cost")
    lines = screen.getvalue().splitlines()
    assert (len(lines), lines[-1]) == (1 + LAST_LINES, "error: there is no image")
