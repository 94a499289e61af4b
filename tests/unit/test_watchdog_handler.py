"""How the function's own clients are set up: what is asked again while AWS is busy, and what never is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from llmlab.clock import ManualClock
from llmlab.contract import Env
from llmlab.watchdog import handler
from llmlab.watchdog.act import Watchdog

ENVIRONMENT = {
    Env.LAB: "lab", Env.OUTPUTS_BUCKET: "outputs", Env.TOPIC: "arn:aws:sns:eu-west-1:123456789012:lab-alerts",
    Env.SCHEDULER_ROLE: "arn:aws:iam::123456789012:role/scheduler", Env.MAX_HOURS: "6",
}  # fmt: skip
BUSY = 503
TOPIC_FIELDS = {"TopicArn": ENVIRONMENT[Env.TOPIC], "Message": "m"}
READS: dict[str, tuple[str, dict[str, Any]]] = {
    "s3": ("list_objects_v2", {"Bucket": "outputs"}),
    "ec2": ("describe_instances", {}),
    "scheduler": ("get_schedule", {"Name": "n"}),
    "sns": ("publish", TOPIC_FIELDS),
    "cloudwatch": ("put_metric_data", {"Namespace": "n", "MetricData": []}),
}


@pytest.fixture(scope="module")
def watchdog() -> Watchdog:
    """Made once: reading the models of five services costs two seconds."""
    return handler.build(ENVIRONMENT, ManualClock(datetime(2026, 11, 23, tzinfo=UTC)))


def clients(watchdog: Watchdog) -> dict[str, Any]:
    return {
        "s3": watchdog.bucket.client, "ec2": watchdog.ec2, "scheduler": watchdog.scheduler, "sns": watchdog.sns,
        "cloudwatch": watchdog.cloudwatch,
    }  # fmt: skip


class Nothing:
    """The body of an answer that has none."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        return iter([b""])


def times_sent(client: Any, call: str, parameters: dict[str, Any]) -> int:
    """How often a request goes out to a service that is too busy to answer."""
    sent: list[str] = []

    def refuse(request: Any, **_: Any) -> AWSResponse:
        sent.append(request.url)
        return AWSResponse(request.url, BUSY, {}, Nothing())

    client.meta.events.register("before-send", refuse)
    try:
        with pytest.raises(ClientError):
            getattr(client, call)(**parameters)
    finally:
        client.meta.events.unregister("before-send", refuse)
    return len(sent)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore pauses between its tries."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


@pytest.mark.parametrize("service", READS)
def test_a_busy_service_is_asked_again(watchdog: Watchdog, service: str) -> None:
    call, parameters = READS[service]
    assert times_sent(clients(watchdog)[service], call, parameters) == 5


def test_a_launch_goes_out_once(watchdog: Watchdog) -> None:
    """A pool without capacity answers 500, however often it is asked."""
    parameters = {"LaunchTemplateConfigs": [], "TargetCapacitySpecification": {"TotalTargetCapacity": 1}}
    assert times_sent(watchdog.fleet_client, "create_fleet", parameters) == 1


def test_every_client_gives_up_before_the_function_is_over(watchdog: Watchdog) -> None:
    for client in [*clients(watchdog).values(), watchdog.fleet_client]:
        assert client.meta.config.connect_timeout <= 5
        assert client.meta.config.read_timeout <= 60


def test_the_topic_tells_region_and_account(watchdog: Watchdog) -> None:
    assert {client.meta.region_name for client in [*clients(watchdog).values(), watchdog.fleet_client]} == {"eu-west-1"}
    assert (watchdog.names.region, watchdog.names.account, watchdog.names.lab) == ("eu-west-1", "123456789012", "lab")
    assert (watchdog.bucket.bucket, watchdog.max_hours, watchdog.topic) == ("outputs", 6.0, ENVIRONMENT[Env.TOPIC])
