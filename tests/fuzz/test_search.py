"""A short search of every subject, led by coverage: what a change breaks is often found within seconds."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.targets import SUBJECTS

SECONDS = 12
"""For each subject, beside the seconds that loading and instrumenting take: less than a minute and a half in all."""
HAS_ATHERIS = find_spec("atheris") is not None
needs_atheris = pytest.mark.skipif(not HAS_ATHERIS, reason="atheris is not installed: it is published for Linux alone")


@pytest.mark.slow
@needs_atheris
@pytest.mark.parametrize("target", SUBJECTS)
def test_a_short_search_finds_nothing(target: str, tmp_path: Path) -> None:
    found = search(target, tmp_path, SECONDS)
    assert found.returncode == 0, (found.stdout + found.stderr)[-4000:] + str([path.read_bytes()[:500] for path in tmp_path.iterdir()])
    assert "stat::number_of_executed_units" in found.stderr


@pytest.mark.slow
@needs_atheris
def test_a_search_finds_a_planted_bug(tmp_path: Path) -> None:
    """Of a reading that takes a number for a moment: the input that shows it is written down."""
    (tmp_path / "planted.py").write_text(
        "from llmlab import contract\n"
        "def target(data: bytes) -> None:\n"
        "    step = contract.parse_checkpoint_name(data.decode(errors='replace'))\n"
        "    assert step is None or step < 1000, 'planted'\n",
        encoding="utf-8",
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import atheris
with atheris.instrument_imports(include=["llmlab"]):
    from tests.fuzz import targets
    import planted
from tests.fuzz import __main__ as fuzz
targets.TARGETS["keys"] = planted.target
fuzz.main()
"""
    line = [sys.executable, "-c", code, "keys", "--seconds", "30", "--crashes", str(tmp_path)]
    found = run(line)
    assert found.returncode != 0
    assert "planted" in found.stdout + found.stderr
    assert list(tmp_path.glob("keys-crash-*"))


def search(target: str, folder: Path, seconds: int) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(seconds), "--crashes", str(folder)]
    return run(line)


def run(line: list[str]) -> "subprocess.CompletedProcess[str]":
    """From a small process between: a program's peak memory starts with that of the process it was forked from, and libFuzzer's limit
    goes by the peak, so that tests which had needed much would leave it none.
    """
    return subprocess.run(["sh", "-c", '"$@"; exit', "sh", *line], capture_output=True, text=True, check=False, timeout=120)
