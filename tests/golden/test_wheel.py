"""What a wheel holds: the package, and what lies beside it in a clone; and the wheel that `llmlab init` writes holds the same."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import llmlab
from llmlab.config import Settings
from llmlab.ops.init import init

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # builds a wheel in a process of its own
def test_the_wheel_carries_templates_recipes_and_the_build_context(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"llmlab/templates/{path.name}" for path in (ROOT / "templates").iterdir()}
    wanted |= {f"llmlab/recipes/{path.name}" for path in (ROOT / "recipes").iterdir()}
    locks = ("docker/locks/torch.lock", "docker/locks/cuda.lock", "docker/locks/image.lock", "docker/locks/agent.lock")
    locks += ("docker/locks/cli.lock",)
    wanted |= {f"llmlab/{name}" for name in ("docker/Dockerfile", "docker/layers.py", "docker/LICENSE", *locks)}
    wanted |= {f"llmlab/{path.relative_to(ROOT / 'src/llmlab')}" for path in (ROOT / "src/llmlab").rglob("*.py")}
    assert len(wanted) > 100
    assert not wanted - names
    init(tmp_path / "project", {}, Settings())
    (written,) = (tmp_path / "project/.github/llmlab").glob("*.whl")
    assert {name for name in zipfile.ZipFile(written).namelist() if name.startswith("llmlab/")} == {
        name for name in names if name.startswith("llmlab/")
    }


@pytest.mark.slow  # pip installs it, and llmlab starts from it
def test_the_wheel_that_init_writes_installs_by_its_hash_and_runs(tmp_path: Path) -> None:
    init(tmp_path, {}, Settings())
    locked = (tmp_path / ".github/llmlab/requirements.lock").read_text(encoding="utf-8").splitlines()
    (tmp_path / "wheel.lock").write_text(f"{locked[1]}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--require-hashes", "--target", "installed"]
    subprocess.run([*command, "--requirement", "wheel.lock"], cwd=tmp_path, check=True, capture_output=True)
    run = [sys.executable, "-c", "import llmlab, sys; print(llmlab.__file__); from llmlab.cli import main; main()", "--version"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(run, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert str(tmp_path / "installed") in done.stdout
    assert llmlab.__version__ in done.stdout
    (tmp_path / "wheel.lock").write_text(f"{locked[1][:-4]}beef\n", encoding="utf-8")
    other = subprocess.run([*command, "--requirement", "wheel.lock"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert other.returncode
    assert "HASH" in other.stderr.upper()
