"""The agent's clients: what is asked again while AWS is busy, and how long an answer is waited for."""

import boto3
import pytest

from llmlab.agent.__main__ import CLIENTS
from tests.unit.busy import READS, times_sent


@pytest.mark.parametrize("service", ["s3", "ec2", "cloudwatch", "secretsmanager"])
def test_a_busy_service_is_asked_again(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.Session(region_name="eu-west-1").client(service, config=CLIENTS)  # type: ignore[call-overload]  # noqa: TID251 - as the agent
    assert times_sent(client, *READS[service], monkeypatch) == 6


def test_an_answer_that_does_not_come_is_given_up_within_a_spot_notice() -> None:
    """Of its two minutes the larger half stays."""
    assert CLIENTS.connect_timeout + CLIENTS.read_timeout < 60  # type: ignore[attr-defined]
