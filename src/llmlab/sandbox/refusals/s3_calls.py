"""The operation and parameters of a request to S3, which moto's own routing of S3 does not tell."""

from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Known = tuple[str, str, frozenset[str], tuple[tuple[str, str, str], ...]]
"""One operation: its name, level (`bucket` or `key`), required query or header names, and members as (name, location, name there)."""


@cache
def _operations() -> dict[tuple[str, str], list[Known]]:
    """S3's operations by level (`bucket`, `key`) and HTTP method, those with the most required names first.

    Clients remove the bucket from the addresses in their session's model, so a model of its own is loaded here.
    """
    from botocore.loaders import create_loader
    from botocore.model import ServiceModel

    model = ServiceModel(create_loader().load_service_model("s3", "service-2"), "s3")
    known: dict[tuple[str, str], list[Known]] = {}
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        level = {"/{Bucket}": "bucket", "/{Bucket}/{Key+}": "key"}.get(path)
        if level is None or operation.input_shape is None:
            continue
        members = tuple(
            (member, shape.serialization["location"], shape.serialization.get("name", member))
            for member, shape in operation.input_shape.members.items()
            if shape.serialization.get("location") in {"header", "querystring"}
        )
        needed = {part.partition("=")[0] for part in query.split("&") if part and not part.startswith("x-id")}
        needed |= {place for member, _, place in members if member in operation.input_shape.required_members and member != "Bucket"}
        known.setdefault((level, operation.http["method"]), []).append((name, level, frozenset(needed), members))
    for listed in known.values():
        listed.sort(key=lambda entry: (-len(entry[2]), entry[0]))
    return known


def parse(response: Any) -> tuple[str, dict[str, Any]]:
    """The operation of a request ("" if it is none of the model's) and its parameters, the body as bytes under `Body`."""
    request = response.request
    query = parse_qs(urlsplit(response.uri).query, keep_blank_values=True)
    headers = {name.lower(): value for name, value in dict(request.headers).items()}
    bucket = response.bucket_name or ""
    key = unquote(str(response.parse_key_name() or "")) if bucket else ""
    present = set(query) | set(headers)
    values: dict[str, Any] = {"Bucket": bucket, "Key": key, "Body": response.body or b""}
    for name, _, needed, members in _operations().get(("key" if key else "bucket", request.method), []):
        if all(place in present or place.lower() in present for place in needed):
            for member, location, place in members:
                if location == "header" and place.lower() in headers:
                    values[member] = headers[place.lower()]
                elif location == "querystring" and place in query:
                    values[member] = query[place][0]
            return name, values
    return "", values
