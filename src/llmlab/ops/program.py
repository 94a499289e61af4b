"""Run a program of the trainer's as a process of its own: this side of the package never loads torch."""

import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from llmlab.errors import ExitCode, LabError
from llmlab.ops import extras

Run = Callable[[str, Sequence[str]], Any]
"""Runs a module with arguments, and returns the JSON that it writes."""


def run(module: str, arguments: Sequence[str], *, installed: Callable[[str], object] = importlib.util.find_spec) -> Any:
    """Run `python -m module` and read its JSON.

    Raises:
        LabError: torch is not installed, or what the program says went wrong.
    """
    extras.require("trainer", installed=installed)
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode:
        raise _failed(module, arguments, process.returncode, err)
    return json.loads(out)


def _failed(module: str, arguments: Sequence[str], code: int, err: str) -> LabError:
    """The error of a program that failed: its own message and hint, or the last line of its stderr when it has none."""
    messages = {
        lead: line.removeprefix(f"{lead}: ") for line in err.splitlines() for lead in ("error", "hint") if line.startswith(f"{lead}: ")
    }
    if "error" in messages:
        return LabError(messages["error"], messages.get("hint", ""), ExitCode(code) if code in set(ExitCode) else None)
    last = (err.strip().splitlines() or [f"it ended with {code}"])[-1]
    return LabError(f"{module.rpartition('.')[2]} failed: {last.rstrip('.')}", shlex.join(["python", "-m", module, *arguments]))
