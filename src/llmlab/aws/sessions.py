"""Sessions of Systems Manager: a terminal or a forwarded port on an instance that has no open port."""

from collections.abc import Mapping
from typing import Any

from llmlab.aws.session import Aws, AwsError
from llmlab.errors import LabError


def start(aws: Aws, request: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Start a session: StartSession's answer, with a token for one web socket, and the endpoint that gave it.

    Raises:
        LabError: the instance has not reached Systems Manager.
    """
    client = aws.client("ssm")
    try:
        answer = client.start_session(**request)
    except AwsError as error:
        if error.code == "TargetNotConnected":
            raise LabError(
                f"{request['Target']} has not reached Systems Manager yet, which takes a minute or two", "llmlab status latest"
            ) from error
        raise
    return {key: answer[key] for key in ("SessionId", "TokenValue", "StreamUrl")}, client.meta.endpoint_url
