"""A service that is too busy to answer, in place of the network: how often a client asks it is what its retries are worth."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

BUSY = 503
READS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "s3": ("list_objects_v2", {"Bucket": "outputs"}),
    "ec2": ("describe_instances", {}),
    "scheduler": ("get_schedule", {"Name": "n"}),
    "sns": ("publish", {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:lab-alerts", "Message": "m"}),
    "cloudwatch": ("put_metric_data", {"Namespace": "n", "MetricData": []}),
    "secretsmanager": ("get_secret_value", {"SecretId": "s"}),
}
"""A harmless call of each service."""
LAUNCH = ("create_fleet", {"LaunchTemplateConfigs": [], "TargetCapacitySpecification": {"TotalTargetCapacity": 1}})


class Nothing:
    """The body of an answer that has none."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        return iter([b""])


def times_sent(client: Any, call: str, parameters: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a request goes out before its client gives up; botocore's pauses between are left out."""
    sent: list[str] = []

    def refuse(request: Any, **_: Any) -> AWSResponse:
        sent.append(request.url)
        return AWSResponse(request.url, BUSY, {}, Nothing())

    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    client.meta.events.register("before-send", refuse)
    try:
        with pytest.raises(ClientError):
            getattr(client, call)(**parameters)
    finally:
        client.meta.events.unregister("before-send", refuse)
    return len(sent)
