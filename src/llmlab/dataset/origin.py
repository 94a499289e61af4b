"""The place of a row before an upload wrote it anew, which rows of transcripts, and of logs without repeated requests, carry along.

The mark is the key `origin` with a file and a line, so that a reason names the line that the user can look at.
"""

from collections.abc import Mapping
from typing import Any

from llmlab.errors import one_line

ORIGIN = "origin"


def with_origin(row: Mapping[str, Any], file: str, line: int) -> dict[str, Any]:
    """The row with its file and line."""
    return {**row, ORIGIN: {"file": file, "line": line}}


def origin_of(row: Mapping[str, Any]) -> str:
    """A row's origin as file:line, or "" where it has none."""
    origin = row.get(ORIGIN)
    if not isinstance(origin, dict) or origin.keys() != {"file", "line"}:
        return ""
    file, line = origin["file"], origin["line"]
    return one_line(f"{file}:{line}") if isinstance(file, str) and type(line) is int else ""
