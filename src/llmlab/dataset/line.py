"""One line of a file, and the parser of a line of JSON."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from llmlab.dataset.formats import Format

MOST_BYTES = 64 << 20
"""A longer line is refused: it would be some sixteen million tokens."""
NO_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")


@dataclass(slots=True)
class Line:
    """One line of a file: its number from 1, and its row, or the reason it has none. Blank lines have neither, and `raw` is empty.

    `form` is the form of the file where a row was made of several lines. `skipped` is the name under which a line is counted that is not
    wrong, but teaches nothing.
    """

    number: int
    row: dict[str, Any] | None = None
    reason: str = ""
    raw: bytes = b""
    form: Format | None = None
    skipped: str = ""
    unread: tuple[str, ...] = ()


def parse(number: int, raw: bytes | int) -> Line:
    """Parse a line: its JSON object, or the reason it has none. An array of messages is a conversation.

    Args:
        number: the line's number.
        raw: its bytes; its length, where it is too long to be held.
    """
    if isinstance(raw, int):
        return Line(number, reason=f"a line of {raw / (1 << 20):,.0f} MiB: the most is {MOST_BYTES >> 20} MiB")
    if not raw:
        return Line(number)
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not raw.strip():
            return Line(number)
        return Line(number, reason=not_json(raw, error), raw=raw)
    if type(row) is dict:
        return Line(number, row, "", raw)
    if type(row) is list and row and type(row[0]) is dict:
        first = row[0]
        if "role" in first:
            return Line(number, {"messages": row}, "", raw)
        if "from" in first and "value" in first:
            return Line(number, {"conversations": row}, "", raw)
        return Line(number, reason="the line is an array of rows: write one a line, or name the file .json", raw=raw)
    kind = {str: "a string", list: "an array", bool: "a boolean", type(None): "null"}.get(type(row), "a number")
    return Line(number, reason=f"the line is {kind}, not an object", raw=raw)


def not_json(raw: bytes, error: orjson.JSONDecodeError) -> str:
    """Why a line is not JSON, in terms of what its author wrote."""
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return f"not UTF-8 at byte {wrong.start + 1}"
    line = raw.strip()
    if line.endswith(b",") and _parses(line[:-1]):
        return "a comma ends the line: rows stand one a line, without commas between them"
    if line in (b"[", b"]", b"],"):
        return "a bracket of an array: rows stand one a line, without an array around them; or name the file .json"
    if "surrogate" in error.msg:
        return f"half a character, \\ud800 to \\udfff without its other half, at column {error.colno}"
    if match := NO_NUMBER.search(raw):
        return f"not JSON: {match[1].decode()} is no number there; write null"
    if line.startswith((b"{'", b"[{'")):
        return "not JSON but Python: write rows with json.dumps"
    return f"not JSON: {error.msg.partition(': line ')[0]} at column {error.colno}"


def _parses(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
