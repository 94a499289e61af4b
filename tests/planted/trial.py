"""Planting: a copy of the source in a scratch folder, the bug in it, and the near test files run against it in a process of their own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.planted.bug import ROOT, Bug

LIMIT_SECONDS = 300
"""How long the near tests of one bug may take. One that makes them hang is caught by pytest's own limit on a test, which is shorter."""
TEST_SECONDS = 120
PASSED, FAILED = 0, 1
"""pytest's exit codes: https://docs.pytest.org/en/stable/reference/exit-codes.html"""
FAILURE = re.compile(r"^FAILED (.+?)(?: - |$)", re.MULTILINE)

HANGS = "Failed: Timeout"
"""pytest-timeout's words. https://github.com/pytest-dev/pytest-timeout"""


class Outcome(StrEnum):
    CAUGHT = "caught"
    MISSED = "MISSED"
    GONE = "no longer applies"
    BROKEN = "cannot be tried"


@dataclass(frozen=True)
class Trial:
    """What became of a bug; `words` say which test caught it, or what is wrong."""

    bug: Bug
    outcome: Outcome
    words: str


def try_out(bug: Bug) -> Trial:
    """Whether the tests near a bug catch it."""
    if not bug.applies():
        return Trial(bug, Outcome.GONE, f"its text is not once in {bug.path}: give it the place where that went")
    with scratch() as root:
        bug.plant(root)
        code, output = run(root, bug.tests)
    if code == FAILED and (caught_by := FAILURE.search(output)):
        return Trial(bug, Outcome.CAUGHT, f"by {caught_by[1]}{', which hangs' if HANGS in output else ''}")
    if code == PASSED:
        return Trial(bug, Outcome.MISSED, f"all of {', '.join(bug.tests)} pass with it: {bug.harm}")
    return Trial(bug, Outcome.BROKEN, output[-2000:])


def without_a_bug(bugs: Iterable[Bug]) -> str:
    """What is wrong with the near tests where no bug is: "" when all pass. Else each would be caught by what fails anyway."""
    files = tuple(dict.fromkeys(file for bug in bugs if bug.applies() for file in bug.tests))
    with scratch() as root:
        code, output = run(root, files, limit=LIMIT_SECONDS + 30 * len(files)) if files else (PASSED, "")
    return "" if code == PASSED else output


@contextmanager
def scratch() -> Iterator[Path]:
    """A copy of the source, with what it links to, that goes again."""
    with tempfile.TemporaryDirectory(prefix="llmlab-planted-") as folder:
        root = Path(folder)
        shutil.copytree(ROOT / "src", root / "src", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        for beside in ("templates", "recipes", "docker", "locks", "LICENSE"):
            (root / beside).symlink_to(ROOT / beside)
        yield root


WITNESS = "import sys, llmlab; sys.exit(not llmlab.__file__.startswith(sys.argv[1]))"


def run(root: Path, files: Iterable[str], limit: float = LIMIT_SECONDS) -> tuple[int, str]:
    """pytest over test files of this tree, with the source of `root`: exit code and output."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", WITNESS, str(root)], env=environment, cwd=ROOT, check=True)
    options = ("-x", "-q", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist", f"--timeout={TEST_SECONDS}")
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/{file}" for file in files)]
    try:
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return -1, f"the tests have not ended in {limit:.0f} seconds"
    return done.returncode, done.stdout + done.stderr
