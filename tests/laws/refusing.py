"""Answers of AWS put in the place of moto's, as they were recorded elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from llmlab.aws.session import Aws

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]
"""The call's parameters → the answer's members; None where moto answers."""


@contextmanager
def answering(aws: Aws, service: str, operation: str, answer: Answer, *, region: str | None = None) -> Iterator[list[dict[str, Any]]]:
    """Let `answer` answer one operation. What it was asked is in the list."""
    client = aws.client(service, region=region)
    asked: list[dict[str, Any]] = []

    def reply(context: dict[str, Any], **_: Any) -> Any:
        values = dict(context.get("llmlab_parameters", {}))
        members = answer(values)
        if members is None:
            return None
        asked.append(values)
        return AWSResponse("https://x", 400 if "Error" in members else 200, HTTPHeaders(), None), {"ResponseMetadata": {}, **members}

    def note(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["llmlab_parameters"] = params

    name = client.meta.service_model.service_id.hyphenize()
    events = client.meta.events
    events.register_first(f"before-parameter-build.{name}.{operation}", note)
    events.register_first(f"before-call.{name}.{operation}", reply)
    try:
        yield asked
    finally:
        events.unregister(f"before-call.{name}.{operation}", reply)
        events.unregister(f"before-parameter-build.{name}.{operation}", note)


def error(code: str, message: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": message}}


@contextmanager
def refusing(
    aws: Aws, service: str, operation: str, code: str, message: str, *, times: int = 1_000_000, region: str | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Refuse one operation the first few times."""
    left = [times]

    def refuse(_values: dict[str, Any]) -> dict[str, Any] | None:
        if left[0] == 0:
            return None
        left[0] -= 1
        return error(code, message)

    with answering(aws, service, operation, refuse, region=region) as asked:
        yield asked
