"""transformers 4 in an environment of its own, without torch, to open what a run hands back."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PYTHON = HERE / ".venv/bin/python"
INSTALL_SECONDS = 240
OPEN_SECONDS = 240


def require() -> None:
    """Install what requirements.txt names. Where that cannot be, the tests are skipped with the reason; in CI they fail."""
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def missing() -> str:
    """What keeps the environment from being there, after making it; "" when nothing does."""
    wanted, whole = HERE / "requirements.txt", PYTHON.parents[1] / "installed"
    with wanted.open() as held:  # two at once would each remove what the other has just written
        fcntl.flock(held, fcntl.LOCK_EX)
        if whole.is_file() and whole.read_bytes() == wanted.read_bytes():
            return ""
        uv = [sys.executable, "-m", "uv", "--quiet"]
        for command in (
            ["venv", "--clear", str(PYTHON.parents[1])],
            ["pip", "install", "--python", str(PYTHON), "--requirement", str(wanted)],
        ):
            done = subprocess.run([*uv, *command], capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
            if done.returncode:
                return f"transformers 4 cannot be installed: {(done.stderr.strip().splitlines() or [done.returncode])[-1]}"
        whole.write_bytes(wanted.read_bytes())
    return ""


def opened(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """What transformers 4 makes of each folder."""
    root = HERE.parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}", "HF_HUB_OFFLINE": "1"}
    command = [str(PYTHON), str(HERE / "opening.py"), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=OPEN_SECONDS, env=environment)
    assert done.returncode == 0, done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told
