"""The training image as it was built: what is in it, what is not, and what it says of itself."""

import json
from typing import Any

import pytest

from llmlab import __version__
from llmlab.contract import IMAGE_LABEL, VERSION
from llmlab.sandbox.estate.images import REPOSITORIES, REPOSITORY
from tests.docker.conftest import DockerLab

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]
MOST_BYTES = 2.3e9
"""Unpacked, with torch for CPUs; 1.9e9 on the day this was written."""
TORCH_LAYERS = 5
AGENT_REPOSITORY = REPOSITORIES[1]
LAUNCHER = """
import ctypes, pathlib, subprocess, sysconfig, tempfile
folder = pathlib.Path(tempfile.mkdtemp())
(folder / "launcher.c").write_text("#include <Python.h>\\nint launched(void) { return (int)Py_IsInitialized() + 41; }\\n")
include = sysconfig.get_path("include")
command = ["gcc", "-O3", "-shared", "-fPIC", f"-I{include}", "-o", str(folder / "launcher.so"), str(folder / "launcher.c")]
subprocess.run(command, check=True)
print(ctypes.PyDLL(str(folder / "launcher.so")).launched())
"""
"""As Triton makes a launcher of its own for each kernel."""
LOOK = """
import importlib.util, json, os, pathlib, shutil
programs = "gcc cc ld g++ c++ clang make cmake nvcc pip pip3 git curl wget".split()
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
        "programs": ["gcc", "cc", "ld"], "modules": [], "places": [], "written": [],
    }  # fmt: skip
    assert (found["torch"], found["transformers"]) == ("/opt/torch", "/opt/llmlab"), "each in a layer of its own"
    assert image["Size"] < MOST_BYTES


def test_the_agent_s_image_has_no_torch_and_runs_the_agent(docker_lab: DockerLab) -> None:
    """Under 200 MB compressed, as the registry has it."""
    plain = docker_lab.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", AGENT_REPOSITORY).stdout.split()
    image = {"Id": next(name for name in plain if not name.endswith(("-here", ":latest")))}
    modules = "llmlab.agent.__main__, llmlab.agent.model_download, huggingface_hub, pynvml"
    words = f"import importlib.util as i, {modules}; print(i.find_spec('torch'))"
    assert inside(docker_lab, image, "python", "-c", words).strip() == "None"
    described: Any = docker_lab.aws.client("ecr").batch_get_image(
        repositoryName=docker_lab.aws.names.agent_repository, imageIds=[{"imageTag": "latest"}]
    )
    layers = json.loads(described["images"][0]["imageManifest"])["layers"]
    assert 20e6 < sum(layer["size"] for layer in layers) < 200e6


def test_torch_comes_in_layers_of_about_one_size(docker_lab: DockerLab, image: dict[str, Any]) -> None:
    told = docker_lab.docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image["Id"]).stdout
    sizes = [int(line.split()[0]) for line in told.splitlines() if " in /opt/torch" in line]
    assert len(sizes) == TORCH_LAYERS, told
    assert max(sizes) < sum(sizes) * 0.6, "torch for CPUs is one large file, and the rest"


def test_triton_s_launchers_compile_as_the_training_container_runs(docker_lab: DockerLab, image: dict[str, Any]) -> None:
    """With a root that is read-only, no network and `/tmp` alone to write to."""
    flags = ["--read-only", "--tmpfs", "/tmp:exec,size=2g", "--network", "none"]
    answer = docker_lab.docker("run", "--rm", "--interactive", *flags, image["Id"], "python", "-", stdin=LAUNCHER)
    assert answer.stdout.strip() == "42", answer.stderr


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
