"""`compile: true` as the training container runs: a root that is read-only, no network, and every cache in the work folder.

torch.compile makes C++ on a CPU, for which the image has no compiler, as it needs none on a GPU: there Triton's launchers are C. So this
image is the training image with one, and everything else is user data's.
"""

import re
import shlex
from pathlib import Path

import pytest

from llmlab import contract
from llmlab.contract import TrainerExit, WorkFolder
from llmlab.sandbox.estate.images import REPOSITORY
from llmlab.sandbox.model import make
from tests.docker.conftest import DockerLab
from tests.trainer import work as folders

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.hours, pytest.mark.timeout(3600)]  # minutes of a compiler
USER_DATA = Path(__file__).parents[2] / "templates/user_data.sh.j2"
COMPILER = """
FROM {image}
USER root
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends g++
USER 10001
"""
IMAGE = "llmlab-test-compiler"


@pytest.fixture(scope="module")
def image(docker_lab: DockerLab) -> str:
    """The training image and g++."""
    listed = docker_lab.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).stdout.split()
    plain = next(name for name in listed if not name.endswith(("-here", ":latest")))
    built = docker_lab.docker("build", "--network", "host", "--tag", IMAGE, "-", stdin=COMPILER.format(image=plain))
    assert built.returncode == 0, built.stderr[-4000:]
    return IMAGE


def limits() -> list[str]:
    """User data's own flags of the training container, and its caches."""
    text = USER_DATA.read_text(encoding="utf-8")
    (flags,) = re.findall(r"^limits=\((.*)\)$", text, re.MULTILINE)
    (variables,) = re.findall(r"^for variable in (.*); do$", text, re.MULTILINE)
    caches = [word for name in variables.split() for word in ("-e", f"{name}=/work/cache/{name}")]
    return [*shlex.split(flags), "--network", "none", "-e", "HF_HUB_OFFLINE=1", *caches]


def test_it_trains_and_saves(docker_lab: DockerLab, image: str, tmp_path: Path) -> None:
    make(tmp_path / "model", steps=0, hidden=32, layers=2)
    here, inside = folders.make(tmp_path / "work", tmp_path / "model", count=8, recipe={"max_steps": 3, "compile": True}), WorkFolder()
    mounts = {here.data: f"{inside.data}:ro", str(tmp_path / "model"): f"{inside.model}:ro", here.spec: f"{inside.spec}:ro"}
    own = {here.results: inside.results, here.cache: inside.cache, here.control: inside.control}
    Path(here.cache).mkdir()
    for path in tmp_path.rglob("*"):
        path.chmod(0o755)  # the container's user is another one
    words = [word for outside, place in {**mounts, **own}.items() for word in ("-v", f"{outside}:{place}")]
    docker_lab.docker("run", "--rm", "--user", "0", *words, image, "chown", "-R", "10001", *own.values())
    answer = docker_lab.docker("run", "--rm", *limits(), *words, image, "python", "-m", "llmlab.trainer")
    log = answer.stdout + answer.stderr
    assert answer.returncode == TrainerExit.COMPLETED, log[-6000:]
    assert "compile: on, asked for" in log
    assert [step for step, _, _ in folders.losses(here)] == [1, 2, 3]
    assert Path(here.output, contract.ADAPTER, "adapter_model.safetensors").is_file()
    assert list(Path(here.cache, "TORCHINDUCTOR_CACHE_DIR").rglob("*.cpp")), "its C++ lies in the work folder's cache"
