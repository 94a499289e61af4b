"""Refusals of parameters that violate the service models: lengths, patterns and enumerations, which moto and botocore do not check."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from llmlab.sandbox.refusals.rule import Call, Rule

JSON = ("budgets:*", "ce:*", "ecr:*", "events:*", "lambda:*", "logs:*", "scheduler:*", "secretsmanager:*", "service-quotas:*", "ssm:*")
QUERY = ("cloudwatch:*", "iam:*", "sns:*")
ADDRESS = "https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html"


@cache
def models() -> Any:
    """The botocore session that loads service models, cached because creating one takes 20 ms."""
    import botocore.session

    return botocore.session.get_session()


@cache
def _shape(operation: str) -> Any:
    service, _, name = operation.partition(":")
    model = models().get_service_model(service)
    return model.operation_model(name).input_shape if name in model.operation_names else None


def _wrong(call: Call) -> Mapping[str, object] | bool:
    shape = _shape(call.operation)
    return next(_violations(call.values, shape, ""), False) if shape is not None else False


def _violations(value: Any, shape: Any, path: str) -> Iterator[Mapping[str, object]]:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _violations(value[name], member, f"{path}.{name}".lstrip("."))
    elif kind == "list" and isinstance(value, list):
        yield from _length(len(value), value, shape, path)
        for number, item in enumerate(value, 1):
            yield from _violations(item, shape.member, f"{path}.{number}.member")
    elif kind == "string" and isinstance(value, str):
        yield from _length(len(value), value, shape, path)
        yield from _text(value, shape, path)


def _text(value: str, shape: Any, path: str) -> Iterator[Mapping[str, object]]:
    if shape.enum and value not in shape.enum:
        yield _fields(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        yield _fields(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _matches(pattern: str, value: str) -> bool:
    """Whether a value matches a pattern; Java patterns that Python cannot compile match everything."""
    try:
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    except re.error:
        return True


def _length(size: int, value: Any, shape: Any, path: str) -> Iterator[Mapping[str, object]]:
    most, least = shape.metadata.get("max"), shape.metadata.get("min")
    if most is not None and size > most:
        yield _fields(value, path, f"Member must have length less than or equal to {most}")
    if least is not None and size < least:
        yield _fields(value, path, f"Member must have length greater than or equal to {least}")


def _fields(value: Any, path: str, why: str) -> Mapping[str, object]:
    return {"value": value, "path": path[:1].lower() + path[1:], "why": why}


MESSAGE = "1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: {why}"
WHEN = "a parameter is longer or shorter than the service model says, or not of its pattern, or none of its enumeration"
ROWS = (
    Rule(name="parameter-out-of-its-model", operations=JSON, when=WHEN, code="ValidationException", message=MESSAGE,
         source="https://docs.aws.amazon.com/scheduler/latest/APIReference/CommonErrors.html", applies=_wrong),
    Rule(name="parameter-out-of-its-model-query", operations=QUERY, when=WHEN, code="ValidationError", message=MESSAGE,
         source=ADDRESS, applies=_wrong),
)  # fmt: skip
