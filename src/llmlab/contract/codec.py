"""Documents as JSON text: what is read can be written again, and is what its type says."""

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
"""A document in S3 is no larger, or it is not read: the watchdog's memory is 256 MiB, and what is read takes a dozen times its size."""
LARGE_DOCUMENT_BYTES = 4 << 20
"""The same of documents that list the files of a dataset, a model, a checkpoint or an output (`LARGE`), of which there may be thousands."""


class ContractError(ValueError):
    """A document that is not what its name says."""


def kind_name(kind: type[Any]) -> str:
    """What an error calls a document of this kind: its `NAME`, where it has one, else its class in lower case."""
    return str(getattr(kind, "NAME", kind.__name__.lower()))


def most_bytes(kind: type[Any]) -> int:
    """How large a document of this kind may be."""
    return LARGE_DOCUMENT_BYTES if getattr(kind, "LARGE", False) else DOCUMENT_BYTES


def body(answer: Mapping[str, Any], most: int = LARGE_DOCUMENT_BYTES) -> bytes:
    """The bytes behind GetObject's answer, whose `ContentLength` is looked at before any of them is read.

    Raises:
        ContractError: there are more than `most`.
    """
    size = int(answer["ContentLength"])
    if size > most:
        answer["Body"].close()
        raise ContractError(f"too large for a document: {size} bytes, and at most {most} are read")
    content: bytes = answer["Body"].read()
    return content


def encode(document: Any) -> bytes:
    """A document as the body of an object.

    Raises:
        ContractError: it is larger than its readers read.
    """
    content = dump(document).encode()
    most = most_bytes(type(document))
    if len(content) > most:
        raise ContractError(f"too large for a {kind_name(type(document))}: {len(content)} bytes, and at most {most} are read")
    return content


def dump(document: Any) -> str:
    """A document as JSON, readable, keys in declaration order. What JSON cannot say is null (NaN) or a question mark (half a character)."""
    text = json.dumps(_writable(dataclasses.asdict(document)), indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="replace").decode()


def _writable(value: Any) -> Any:
    """Plain values whose numbers are finite: a loss may be NaN, which is no number in JSON."""
    if isinstance(value, dict):
        return {key: _writable(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


T = TypeVar("T")


def load(kind: type[T], text: str | bytes) -> T:
    """The inverse of `dump`. Unknown fields are ignored, so that an older reader survives a newer writer.

    Raises:
        ContractError: a field is missing, is of another type, or could not be written again: nothing that is read here fails later.
    """
    try:
        return _build(kind, _parsed(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        msg = f"not a {kind_name(kind)}: {' '.join(str(error).split())[:MOST_WORDS]}"
        raise ContractError(msg) from error


MOST_LEVELS = 32
"""How deep a document may be nested; a recipe, the deepest part of any, has four levels."""
MOST_WORDS = 300
"""Characters of what is said about a document: its own text may be part of it."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _parsed(text: str | bytes) -> dict[str, Any]:
    """A JSON object of finite numbers and of text that UTF-8 can write."""
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
    """A value of a type with checks beside it, each of which raises `ValueError`."""
    kind, *checks = typing.get_args(hint)
    converted = _convert(kind, value, name)
    for check in checks:
        try:
            check(converted)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return converted


def _collected(hint: Any, value: Any, name: str) -> Any:
    """A list as a tuple, or an object as a dict, with each of its values converted."""
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
