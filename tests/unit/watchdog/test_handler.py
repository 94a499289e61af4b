"""How the function's own clients are set up: what is asked again while AWS is busy, and what never is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from llmlab.clock import ManualClock
from llmlab.contract import Env
from llmlab.watchdog import handler
from llmlab.watchdog.reconcile import Watchdog
from tests.unit.busy import LAUNCH, READS, times_sent

ENVIRONMENT = {
    Env.LAB: "lab", Env.OUTPUTS_BUCKET: "outputs", Env.TOPIC: "arn:aws:sns:eu-west-1:123456789012:lab-alerts",
    Env.SCHEDULER_ROLE: "arn:aws:iam::123456789012:role/scheduler", Env.MAX_HOURS: "6",
}  # fmt: skip


@pytest.fixture(scope="module")
def watchdog() -> Watchdog:
    """Made once: reading the models of five services costs two seconds."""
    return handler.build(ENVIRONMENT, ManualClock(datetime(2026, 11, 23, tzinfo=UTC)))


def clients(watchdog: Watchdog) -> dict[str, Any]:
    return {
        "s3": watchdog.bucket.client, "ec2": watchdog.ec2, "scheduler": watchdog.scheduler, "sns": watchdog.sns,
        "cloudwatch": watchdog.cloudwatch,
    }  # fmt: skip


@pytest.mark.parametrize("service", ["s3", "ec2", "scheduler", "sns", "cloudwatch"])
def test_a_busy_service_is_asked_again(watchdog: Watchdog, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert times_sent(clients(watchdog)[service], *READS[service], monkeypatch) == 5


def test_the_look_of_every_minute_asks_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert times_sent(handler._ec2("eu-west-1"), *READS["ec2"], monkeypatch) == 5


def test_a_launch_goes_out_once(watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool without capacity answers 500, however often it is asked."""
    assert times_sent(watchdog.fleet_client, *LAUNCH, monkeypatch) == 1


def test_every_client_gives_up_before_the_function_is_over(watchdog: Watchdog) -> None:
    for client in [*clients(watchdog).values(), watchdog.fleet_client]:
        assert client.meta.config.connect_timeout <= 5
        assert client.meta.config.read_timeout <= 60


def test_the_topic_tells_region_and_account(watchdog: Watchdog) -> None:
    assert {client.meta.region_name for client in [*clients(watchdog).values(), watchdog.fleet_client]} == {"eu-west-1"}
    assert (watchdog.names.region, watchdog.names.account, watchdog.names.lab) == ("eu-west-1", "123456789012", "lab")
    assert (watchdog.bucket.bucket, watchdog.max_hours, watchdog.topic) == ("outputs", 6.0, ENVIRONMENT[Env.TOPIC])
