"""The training image as it was built: what is in it, what is not, and what it says of itself."""

import json
from typing import Any

import pytest

from llmlab import __version__
from llmlab.contract import IMAGE_LABEL, VERSION
from llmlab.sandbox.estate.images import REPOSITORY
from tests.docker.conftest import DockerLab

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]
MOST_BYTES = 2.3e9
"""Unpacked, with torch for CPUs; 1.9e9 on the day this was written."""
LOOK = """
import importlib.util, json, os, pathlib, shutil
programs = "gcc g++ cc c++ clang ld make cmake nvcc pip pip3 git curl wget".split()
places = ["/root/.cache", "/home/llmlab/.cache", "/var/cache/pip", "/build", "/wanted"]
written = [path for path in ("/opt/src", "/opt/torch", "/opt/llmlab", "/usr", "/etc") if os.access(path, os.W_OK)]
import torch, transformers, peft, llmlab.trainer, llmlab.agent
print(json.dumps({
    "user": os.getuid(), "programs": [name for name in programs if shutil.which(name)],
    "modules": [name for name in ("pip", "moto", "pytest", "mypy") if importlib.util.find_spec(name)],
    "places": [path for path in places if os.path.exists(path)], "written": written,
    "torch": str(pathlib.Path(torch.__file__).parents[4]), "transformers": str(pathlib.Path(transformers.__file__).parents[4]),
}))
"""


@pytest.fixture(scope="module")
def image(docker_lab: DockerLab) -> dict[str, Any]:
    """What docker says of it."""
    listed = docker_lab.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).stdout.split()
    plain = next(name for name in listed if not name.endswith(("-here", ":latest")))
    found: dict[str, Any] = json.loads(docker_lab.docker("image", "inspect", plain).stdout)[0]
    return found


def inside(docker_lab: DockerLab, image: dict[str, Any], *command: str, stdin: str = "") -> str:
    """A command in a container of it, without a network."""
    answer = docker_lab.docker("run", "--rm", "--interactive", "--network", "none", image["Id"], *command, stdin=stdin)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_what_is_in_it(docker_lab: DockerLab, image: dict[str, Any]) -> None:
    found = json.loads(inside(docker_lab, image, "python", "-", stdin=LOOK).splitlines()[-1])
    assert found["user"] == int(image["Config"]["User"]) == 10001
    assert {key: found[key] for key in ("programs", "modules", "places", "written")} == {
        "programs": [], "modules": [], "places": [], "written": [],
    }  # fmt: skip
    assert (found["torch"], found["transformers"]) == ("/opt/torch", "/opt/llmlab"), "each in a layer of its own"
    assert image["Size"] < MOST_BYTES


def test_what_it_says_of_itself(image: dict[str, Any]) -> None:
    labels = image["Config"]["Labels"]
    assert labels[IMAGE_LABEL] == str(VERSION)
    known = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert (known["title"], known["licenses"], known["version"]) == ("llmlab training", "Apache-2.0", __version__)
    assert known["base.name"].startswith("llmlab-sandbox-base:")
    assert known["created"].endswith("Z")
    assert {"revision", "source", "base.digest"} <= known.keys()


def test_its_health_check_passes_and_can_fail(docker_lab: DockerLab, image: dict[str, Any]) -> None:
    kind, *check = image["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    inside(docker_lab, image, *check)
    answer = docker_lab.docker("run", "--rm", "--network", "none", "--env", "LLMLAB_WORK=/etc", image["Id"], *check)
    assert answer.returncode == 1, "a work folder that takes no writes"
