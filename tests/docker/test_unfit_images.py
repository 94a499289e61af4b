"""What can be wrong with an image, seen where it is found: the machine says what, says the way out, and is gone. None of these trains."""

import pytest

from llmlab.contract import IMAGE_LABEL, VERSION, EndReason, LogStream
from tests.docker.conftest import DockerLab

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]
OURS = {IMAGE_LABEL: str(VERSION)}


def assert_refused(lab: DockerLab, tag: str, words: str, hint: str = "llmlab image push") -> None:
    run = lab.launch(image=tag)
    marker = lab.marker(run)
    assert marker.reason is EndReason.SETUP_FAILED
    assert words in marker.detail
    assert marker.command(run) == (hint or f"llmlab logs {run} --stream {LogStream.SETUP}")
    assert lab.instance(run)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_of_another_architecture(docker_lab: DockerLab) -> None:
    docker_lab.shelved().small("arm", architecture="arm64", labels=OURS)
    assert_refused(docker_lab, "arm", " is for arm64 and this machine is amd64")


def test_of_another_version(docker_lab: DockerLab) -> None:
    docker_lab.shelved().small("other", labels={IMAGE_LABEL: str(VERSION + 1)})
    assert_refused(docker_lab, "other", f"has version {VERSION + 1} of the names that programs share, and the lab has {VERSION}")


def test_of_somebody_else(docker_lab: DockerLab) -> None:
    docker_lab.shelved().small("somebody", labels={})
    assert_refused(docker_lab, "somebody", " is no training image of llmlab")


def test_without_the_programs(docker_lab: DockerLab) -> None:
    docker_lab.shelved().small("empty", labels=OURS)
    assert_refused(docker_lab, "empty", "the agent's container does not start: ", hint="")


def test_whose_agent_dies_at_once(docker_lab: DockerLab) -> None:
    docker_lab.shelved().changed("dying", Env=["PATH=/opt/llmlab/bin:/usr/bin:/bin", "PYTHONPATH=/nowhere"])
    assert_refused(docker_lab, "dying", "the agent does not stay up: ", hint="")


def test_that_is_gone_when_the_machine_asks_for_it(docker_lab: DockerLab) -> None:
    shelf = docker_lab.shelved()
    shelf.forget(shelf.small("short-lived", labels=OURS))
    assert_refused(docker_lab, "short-lived", "cannot be pulled: ")
