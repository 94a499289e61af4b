"""Programs of npm that judge what Python's packages cannot: installed beside their lock file, once, by whichever tests come first."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_SECONDS = 240


def require(folder: Path) -> None:
    """Install what the folder's package-lock.json names. Where that cannot be, the tests are skipped with the reason; in CI they fail."""
    if reason := missing(folder):
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def missing(folder: Path) -> str:
    """What keeps the packages from being there, after installing them; "" when nothing does."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    lock, whole = folder / "package-lock.json", folder / "node_modules/installed"
    with lock.open() as held:  # two at once would each remove what the other has just written
        fcntl.flock(held, fcntl.LOCK_EX)
        if whole.exists() and whole.read_bytes() == lock.read_bytes():
            return ""
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS,
        )  # fmt: skip
        if done.returncode:
            return f"npm ci failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
        whole.write_bytes(lock.read_bytes())
    return ""
