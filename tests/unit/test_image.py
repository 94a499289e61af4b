"""`llmlab image` with a docker that writes down what it was asked."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmlab import __version__
from llmlab.errors import LabError
from llmlab.ops import image

NOW = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"{log}"
case "$1" in
version) echo 20.10 ;;
buildx) exit {buildx} ;;
build) echo built; exit {build} ;;
esac
"""


def docker(folder: Path, monkeypatch: pytest.MonkeyPatch, *, buildx: int = 0, build: int = 0) -> Path:
    log = folder / "docker.log"
    program = folder / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(log=log, buildx=buildx, build=build), encoding="utf-8")
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


def test_a_docker_without_buildx_is_not_asked_for_what_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(tmp_path, monkeypatch, buildx=1)
    build()
    assert "--provenance" not in log.read_text(encoding="utf-8")


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
    text = (Path(__file__).parents[2] / image.DOCKERFILE).read_text(encoding="utf-8")
    declared = next(line for line in text.splitlines() if line.startswith("ARG GIT_SHA"))
    assert {word.partition("=")[0] for word in declared.split()[1:]} == {"GIT_SHA", "SOURCE", "CREATED", "VERSION"}
    assert set(image.labels(tmp_path, NOW)) == {"VERSION", "CREATED"}
