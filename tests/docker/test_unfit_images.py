"""What can be wrong with an image, seen where it is found: the machine says what, says the way out, and is gone. None of these trains."""

from collections.abc import Mapping

import pytest

from llmlab.contract import IMAGE_LABEL, VERSION, EndReason, LogStream
from tests.docker.conftest import DockerLab

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]
OURS = {IMAGE_LABEL: str(VERSION)}


@pytest.fixture(scope="module")
def runs(docker_lab: DockerLab, request: pytest.FixtureRequest) -> Mapping[str, str]:
    """A run of each image, by its tag: their machines boot side by side, because each waits most of its time.

    What an image's labels say wrongly, an image without our programs, and one that is gone are looked for only in `make prove`.
    """
    shelf = docker_lab.shelved()
    shelf.small("arm", architecture="arm64", labels=OURS)
    shelf.small("other", labels={IMAGE_LABEL: str(VERSION + 1)})
    shelf.small("somebody", labels={})
    shelf.small("empty", labels=OURS)
    shelf.changed("dying", Env=["PATH=/opt/llmlab/bin:/usr/bin:/bin", "PYTHONPATH=/nowhere"])
    shelf.forget(shelf.small("short-lived", labels=OURS))
    more = ("other", "somebody", "empty", "short-lived") if request.config.getoption("--hours") else ()
    return {tag: docker_lab.launch(image=tag) for tag in ("arm", "dying", *more)}


def assert_refused(lab: DockerLab, run: str, words: str, hint: str = "llmlab image push") -> None:
    marker = lab.marker(run)
    assert marker.reason is EndReason.SETUP_FAILED
    assert words in marker.detail
    assert marker.command(run) == (hint or f"llmlab logs {run} --stream {LogStream.SETUP}")
    assert lab.instance(run)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_of_another_architecture(docker_lab: DockerLab, runs: Mapping[str, str]) -> None:
    assert_refused(docker_lab, runs["arm"], " is for arm64 and this machine is amd64")


@pytest.mark.hours
def test_of_another_version(docker_lab: DockerLab, runs: Mapping[str, str]) -> None:
    words = f"has version {VERSION + 1} of the names that programs share, and the lab has {VERSION}"
    assert_refused(docker_lab, runs["other"], words)


@pytest.mark.hours
def test_of_somebody_else(docker_lab: DockerLab, runs: Mapping[str, str]) -> None:
    assert_refused(docker_lab, runs["somebody"], " is no training image of llmlab")


@pytest.mark.hours
def test_without_the_programs(docker_lab: DockerLab, runs: Mapping[str, str]) -> None:
    assert_refused(docker_lab, runs["empty"], "the agent's container does not start: ", hint="")


def test_whose_agent_dies_at_once(docker_lab: DockerLab, runs: Mapping[str, str]) -> None:
    assert_refused(docker_lab, runs["dying"], "the agent does not stay up: ", hint="")


@pytest.mark.hours  # `sandbox/test_life_of_a_run.py` has the same on machines that are processes
def test_that_is_gone_when_the_machine_asks_for_it(docker_lab: DockerLab, runs: Mapping[str, str]) -> None:
    assert_refused(docker_lab, runs["short-lived"], "cannot be pulled: ")
