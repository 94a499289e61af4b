"""What the programs asked of AWS, out of the sandbox server's own record of every request it was sent.

A request on the wire is turned back into the operation and its parameters by the same service models that the SDK made it with:
https://smithy.io/2.0/aws/protocols/index.html
"""

import base64
import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session

CREDENTIAL = re.compile(r"Credential=(\w+)/\d{8}/[\w-]+/([\w-]+)/aws4_request")
MODELS = {"monitoring": "cloudwatch", "servicequotas": "service-quotas"}
"""Name in the signature → name of the service's model, where they differ."""
UPLOADS = {"PutObject", "UploadPart"}
PLACE = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True, eq=False)
class Call:
    """One request: the access key that signed it, the operation, and its parameters (flat names, where the request was a form)."""

    key: str
    service: str
    operation: str
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.service}:{self.operation}"

    def all(self, pattern: str) -> list[str]:
        """Every value of a form whose flat name matches, in the order of the form."""
        return [value for name, value in self.values.items() if re.fullmatch(pattern, name)]


def read(text: str) -> list[Call]:
    """Every call of a recording. Raises ValueError on a request that nobody signed or no service model knows."""
    return [_call(entry) for entry in _entries(text)]


def _entries(text: str) -> Iterator[dict[str, Any]]:
    """The server's threads write at once, so that two entries may share a line."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        entry, place = decoder.raw_decode(text, place)
        yield entry
        while place < len(text) and text[place].isspace():
            place += 1


def _call(entry: Mapping[str, Any]) -> Call:
    headers = {name.lower(): value for name, value in entry["headers"].items()}
    body = base64.b64decode(entry["body"]) if entry["body_encoded"] else (entry["body"] or "").encode()
    signature = CREDENTIAL.search(headers.get("authorization", ""))
    if signature is None:
        raise ValueError(f"a request that nobody signed: {entry['method']} {entry['url']}")
    key, service = signature.groups()
    if "x-amz-target" in headers:
        return Call(key, service, headers["x-amz-target"].rpartition(".")[2], json.loads(body or b"{}"))
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return Call(key, service, form.pop("Action"), form)
    address = urlsplit(entry["url"])
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    operation, values = _matched(service, entry["method"], address.path, query, headers)
    if headers.get("content-type", "").startswith("application/json") and service != "s3":
        values |= json.loads(body)
    elif service == "s3" and operation not in UPLOADS:
        values["body"] = body.decode(errors="replace")
    return Call(key, service, operation, values)


def _matched(service: str, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The operation with the most in its favour, of those whose every requirement the request fulfils."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    for shape in _shapes(service):
        place = shape.path.fullmatch(path.rstrip("/") or "/")
        if (
            shape.method != method
            or place is None
            or not shape.query <= query.items()
            or not shape.required <= query.keys() | headers.keys()
        ):
            continue
        values = {name: unquote(value) for name, value in place.groupdict().items()}
        found.append((len(shape.query) + len(shape.required) + len(values), shape.operation, values))
    if not found:
        raise ValueError(f"no operation of {service} is a {method} of {path} with {dict(query)}")
    _, operation, values = min(found, key=lambda one: (-one[0], one[1]))
    return operation, {**values, **query, **{name: value for name, value in headers.items() if name.startswith("x-amz-")}}


@dataclass(frozen=True)
class Shape:
    """What a request must look like to be one operation of a service that speaks REST."""

    operation: str
    method: str
    path: re.Pattern[str]
    query: frozenset[tuple[str, str]]
    required: frozenset[str]


@functools.cache
def _shapes(service: str) -> tuple[Shape, ...]:
    model = botocore.session.get_session().get_service_model(MODELS.get(service, service))
    operations = [model.operation_model(name) for name in model.operation_names]
    return tuple(_shape(operation) for operation in operations if not operation.deprecated)


def _shape(operation: Any) -> Shape:
    path, _, query = operation.http["requestUri"].partition("?")
    shape = operation.input_shape
    members = shape.members if shape else {}
    spelled = {member.serialization.get("name", name): name for name, member in members.items()}
    places = [members[name].serialization for name in (shape.required_members if shape else ())]
    required = {place["name"].lower() for place in places if place.get("location") == "header"}
    required |= {place["name"] for place in places if place.get("location") == "querystring"}

    def group(place: re.Match[str]) -> str:
        return f"(?P<{spelled.get(place[1], place[1])}>{'.+' if place[2] else '[^/]+'})"

    pattern = re.compile(PLACE.sub(group, path.rstrip("/") or "/"))
    return Shape(
        operation.name, operation.http["method"], pattern, frozenset(parse_qsl(query, keep_blank_values=True)), frozenset(required)
    )
