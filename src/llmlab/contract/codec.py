"""Documents as JSON text: what is read can be written again, and is what its type says."""

import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar


class ContractError(ValueError):
    """A document that is not what its name says."""


def dump(document: Any) -> str:
    """A document as JSON, readable, keys in declaration order. What JSON cannot say is null (NaN) or a question mark (half a character)."""
    text = json.dumps(_writable(dataclasses.asdict(document)), indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="replace").decode()


def _writable(value: Any) -> Any:
    """Plain values whose numbers are finite: a loss may be NaN, which is no number in JSON."""
    if isinstance(value, dict):
        return {key: _writable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(one) for one in value]
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
        msg = f"not a {kind.__name__.lower()}: {' '.join(str(error).split())[:MOST_WORDS]}"
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
        inner = [two for one in inner if isinstance(one, dict | list) for two in (one.values() if isinstance(one, dict) else one)]
    if inner:
        raise ValueError(f"nested deeper than {MOST_LEVELS} levels")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


_hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def _build(kind: type[T], value: dict[str, Any]) -> T:
    hints = _hints(kind)
    fields = {item.name: hints[item.name] for item in dataclasses.fields(kind) if item.name in value}  # type: ignore[arg-type]
    return kind(**{name: _convert(hint, value[name], name) for name, hint in fields.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        if value is None:
            return None
        (hint,) = [one for one in typing.get_args(hint) if one is not types.NoneType]
        return _convert(hint, value, name)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{name} is not a list")
        return tuple(_convert(typing.get_args(hint)[0], item, name) for item in value)
    if origin is dict:
        hint = dict
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
