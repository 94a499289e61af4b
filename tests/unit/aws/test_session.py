"""The laptop's clients: what is asked again while AWS is busy, and what never is."""

import pytest

from llmlab.aws.session import Aws
from tests.unit.busy import LAUNCH, READS, times_sent


@pytest.fixture(scope="module")
def aws() -> Aws:
    """Made once: reading the models of the services costs a second."""
    return Aws("eu-west-1", lab="lab")


@pytest.mark.parametrize("service", ["s3", "ec2", "scheduler", "cloudwatch"])
def test_a_busy_service_is_asked_again(aws: Aws, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert times_sent(aws.client(service), *READS[service], monkeypatch) == 5


def test_a_launch_goes_out_once(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool without capacity answers 500, however often it is asked."""
    assert times_sent(aws.client("ec2", attempts=1), *LAUNCH, monkeypatch) == 1


def test_no_client_waits_for_ever(aws: Aws) -> None:
    for client in (aws.s3, aws.ec2, aws.client("ec2", attempts=1)):
        assert client.meta.config.connect_timeout <= 10
        assert client.meta.config.read_timeout <= 60
