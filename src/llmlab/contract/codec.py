"""Encoding and decoding of documents as JSON, checked against the types of their fields: what can be read can be written again."""

import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

DOCUMENT_BYTES = 1 << 20
"""The largest document that is read from S3: the watchdog has 256 MiB of memory, and a parsed document takes a dozen times its size."""
LARGE_DOCUMENT_BYTES = 4 << 20
"""The limit for documents that list the files of a dataset, a model, a checkpoint or an output (`LARGE`), perhaps thousands."""


class ContractError(ValueError):
    """A document cannot be read or written as the kind that it should be."""


def kind_name(kind: type[Any]) -> str:
    """What an error calls a document of this kind: its `NAME`, where it has one, else its class in lower case."""
    return str(getattr(kind, "NAME", kind.__name__.lower()))


def most_bytes(kind: type[Any]) -> int:
    """The largest size of a document of this kind, in bytes."""
    return LARGE_DOCUMENT_BYTES if getattr(kind, "LARGE", False) else DOCUMENT_BYTES


def body(answer: Mapping[str, Any], most: int = LARGE_DOCUMENT_BYTES) -> bytes:
    """Read the body of a GetObject response; its `ContentLength` is checked first.

    Raises:
        ContractError: the body has more than `most` bytes.
    """
    size = int(answer["ContentLength"])
    if size > most:
        answer["Body"].close()
        raise ContractError(f"too large for a document: {size} bytes, and at most {most} are read")
    content: bytes = answer["Body"].read()
    return content


def encode(document: Any) -> bytes:
    """Encode a document as the body of an S3 object.

    Raises:
        ContractError: the document is larger than its readers accept.
    """
    content = dump(document).encode()
    most = most_bytes(type(document))
    if len(content) > most:
        raise ContractError(f"too large for a {kind_name(type(document))}: {len(content)} bytes, and at most {most} are read")
    return content


def dump(document: Any) -> str:
    """A document as indented JSON, keys in declaration order. NaN and infinity become null, a lone surrogate a question mark."""
    text = json.dumps(_writable(dataclasses.asdict(document)), indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="replace").decode()


def _writable(value: Any) -> Any:
    """Plain values with every non-finite number replaced by None: a loss may be NaN, which JSON cannot express."""
    if isinstance(value, dict):
        return {key: _writable(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


T = TypeVar("T")


def load(kind: type[T], text: str | bytes) -> T:
    """Parse a document, the inverse of `dump`. Unknown fields are ignored, so that an older reader survives a newer writer.

    Raises:
        ContractError: a field is missing, has another type, or could not be written again, so that no document fails later.
    """
    try:
        return _build(kind, _parsed(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        msg = f"not a {kind_name(kind)}: {' '.join(str(error).split())[:MOST_WORDS]}"
        raise ContractError(msg) from error


MOST_LEVELS = 32
"""How deep a document may be nested; a recipe, the deepest part of any, has four levels."""
MOST_WORDS = 300
"""Characters of an error about a document, as it may quote the document."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _parsed(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object with finite numbers and text that UTF-8 can encode."""
    text = text.decode() if isinstance(text, bytes) else text
    value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    if SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    inner: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        inner = [
            child
            for parent in inner
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    if inner:
        raise ValueError(f"nested deeper than {MOST_LEVELS} levels")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _read_hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


_hints: Callable[[Any], dict[str, Any]] = functools.cache(_read_hints)


def _build(kind: type[T], value: dict[str, Any]) -> T:
    hints = _hints(kind)
    fields = {item.name: hints[item.name] for item in dataclasses.fields(kind) if item.name in value}  # type: ignore[arg-type]
    return kind(**{name: _convert(hint, value[name], name) for name, hint in fields.items()})


def _checked(hint: Any, value: Any, name: str) -> Any:
    """Convert a value of an `Annotated` type and run its checks, which raise `ValueError`."""
    kind, *checks = typing.get_args(hint)
    converted = _convert(kind, value, name)
    for check in checks:
        try:
            check(converted)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return converted


def _collected(hint: Any, value: Any, name: str) -> Any:
    """Convert a JSON list to a tuple, or an object to a dict, and each of their values."""
    kind: Any = typing.get_args(hint)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise TypeError(f"{name} is not an object")
        return {key: _convert(kind[1], item, name) for key, item in value.items()}
    if not isinstance(value, list):
        raise TypeError(f"{name} is not a list")
    return tuple(_convert(kind[0], item, name) for item in value)


def _convert(hint: Any, value: Any, name: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _checked(hint, value, name)
    if origin in {typing.Union, types.UnionType}:
        if value is None:
            return None
        (hint,) = [member for member in typing.get_args(hint) if member is not types.NoneType]
        return _convert(hint, value, name)
    if origin in {tuple, dict}:
        return _collected(hint, value, name)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise TypeError(f"{name} is not an object")
        return _build(hint, value)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise TypeError(f"{name} is not {hint.__name__}")
    return value
