"""What a wheel holds: the package, and what lies beside it in a clone."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # builds a wheel in a process of its own
def test_the_wheel_carries_templates_recipes_and_the_build_context(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"llmlab/templates/{path.name}" for path in (ROOT / "templates").iterdir()}
    wanted |= {f"llmlab/recipes/{path.name}" for path in (ROOT / "recipes").iterdir()}
    wanted |= {f"llmlab/docker/{name}" for name in ("Dockerfile", "locks/torch.lock", "locks/cuda.lock", "locks/image.lock", "LICENSE")}
    wanted |= {f"llmlab/{path.relative_to(ROOT / 'src/llmlab')}" for path in (ROOT / "src/llmlab").rglob("*.py")}
    assert len(wanted) > 100
    assert not wanted - names
