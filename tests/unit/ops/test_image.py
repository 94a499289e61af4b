"""`llmlab image` with a docker that writes down what it was asked."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmlab import __version__
from llmlab.contract import IMAGE_LABEL, VERSION
from llmlab.errors import LabError
from llmlab.ops import image

NOW = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"{log}"
case "$1" in
version) echo 20.10 ;;
buildx) exit {buildx} ;;
build) echo built; exit {build} ;;
pull) exit {pull} ;;
image) echo "{digests}" ;;
esac
"""


def docker(folder: Path, monkeypatch: pytest.MonkeyPatch, *, buildx: int = 0, build: int = 0, pull: int = 0, digests: str = "") -> Path:
    log = folder / "docker.log"
    program = folder / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(log=log, buildx=buildx, build=build, pull=pull, digests=digests), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), os.environ["PATH"]]))
    return log


def build(extra: tuple[str, ...] = ()) -> image.Built:
    return image.build("lab-training", ("v1", "latest"), lambda _: None, now=NOW, extra=extra)


def test_what_docker_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(tmp_path, monkeypatch)
    assert build(("--build-arg", "BASE_IMAGE=mine")).references == ("lab-training:v1", "lab-training:latest")
    command = log.read_text(encoding="utf-8").splitlines()[-1]
    assert command.startswith("build --platform linux/amd64 --file ")
    assert "--tag lab-training:v1 --tag lab-training:latest --build-arg BASE_IMAGE=mine /" in command
    assert f"--build-arg VERSION={__version__} --build-arg CREATED=2026-11-25T01:02:03Z" in command
    assert "--provenance=false" in command


def test_the_agent_s_image_is_built_first_from_a_stage_of_the_same_dockerfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(tmp_path, monkeypatch)
    built = image.build("lab-training", ("v1",), lambda _: None, now=NOW, extra=("--build-arg", "BASE_IMAGE=mine"), agent="lab-agent")
    assert (built.agent, built.references) == (("lab-agent:v1",), ("lab-training:v1",))
    agent, training = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("build ")]
    assert "--target agent --tag lab-agent:v1 " in agent
    assert "--target" not in training


def test_a_clone_of_before_the_agent_s_image_builds_the_one_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch)
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/Dockerfile").write_text("ARG BASE_IMAGE=mine\nFROM ${BASE_IMAGE}\n", encoding="utf-8")
    extra = ("--build-arg", "BASE_IMAGE=mine")
    built = image.build("lab-training", ("v1",), lambda _: None, now=NOW, folder=tmp_path, extra=extra, agent="lab-agent")
    assert (built.agent, built.references) == ((), ("lab-training:v1",))


def test_a_docker_without_buildx_is_not_asked_for_what_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(tmp_path, monkeypatch, buildx=1)
    build()
    assert "--provenance" not in log.read_text(encoding="utf-8")


def test_the_base_is_pulled_and_handed_on_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, digest = "public.ecr.aws/docker/library/python", f"sha256:{'a' * 64}"
    log = docker(tmp_path, monkeypatch, digests=f"{name}@{digest}")
    build()
    asked = log.read_text(encoding="utf-8")
    assert f"pull --platform linux/amd64 {name}:3." in asked
    assert f"--build-arg BASE_IMAGE={name}@{digest} --build-arg BASE_NAME={name}:3." in asked
    assert f"--build-arg BASE_DIGEST={digest}" in asked


@pytest.mark.parametrize(("given", "name"), [(f"a.b:5000/mine:1@sha256:{'b' * 64}", "a.b:5000/mine:1"), ("a.b:5000/mine", "a.b:5000/mine")])
def test_a_base_of_ones_own_is_taken_as_it_is(given: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(tmp_path, monkeypatch)
    build(("--build-arg", f"BASE_IMAGE={given}"))
    asked = log.read_text(encoding="utf-8")
    assert "pull" not in asked
    assert f"--build-arg BASE_NAME={name} " in asked
    assert ("BASE_DIGEST=" in asked) == ("@" in given)
    assert f"--build-arg BASE_IMAGE={given} " in f"{asked.strip()} "


def test_a_base_that_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, pull=1)
    with pytest.raises(LabError, match=r"^the base .*python:3\S+ was not pulled: docker ended with 1$"):
        build()


def test_a_failed_build_ends_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, build=1)
    with pytest.raises(LabError, match=r"^the image was not built: built$"):
        build()


def test_a_password_in_the_address_of_a_clone_stays_out_of_the_image(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    address = "https://me:secret@example.org/me/lab.git"
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", address], check=True)
    assert image.labels(tmp_path, NOW)["SOURCE"] == "https://example.org/me/lab.git"


def test_every_label_that_is_passed_is_one_of_the_dockerfile(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / image.DOCKERFILE).read_text(encoding="utf-8")
    declared = {word.partition("=")[0] for line in text.splitlines() if line.startswith("ARG ") for word in line.split()[1:]}
    assert declared >= {"GIT_SHA", "SOURCE", "CREATED", "VERSION", "BASE_IMAGE", "BASE_NAME", "BASE_DIGEST"}
    assert f'LABEL {IMAGE_LABEL}="{VERSION}"' in text, "a machine refuses an image of another contract"
    assert set(image.labels(tmp_path, NOW)) == {"VERSION", "CREATED"}
