"""Read the rows of a file one at a time, whatever the file's size.

A line is never held in memory past `MOST_BYTES`: a longer one is skipped and reported. What is wrong with a whole file (it is not
what its name says, it ends early) is a `Line` with number 0, or with the number it stopped at. Nothing here raises for bad content.
Rows of a JSON array and of a table are numbered from 1, as lines are.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import cast

from llmlab.dataset.arrays import BLANK, NoArray, elements
from llmlab.dataset.heads import BOM, POINTER, head_of, is_pointer, spread, transcript, wrong_kind
from llmlab.dataset.line import MOST_BYTES, Line, parse
from llmlab.dataset.suffixes import rows_of, suffix_of
from llmlab.dataset.tables import reader_of
from llmlab.dataset.transcripts import read_transcript
from llmlab.dataset.unpack import DAMAGED, unpacked


def read(path: Path) -> Iterator[Line]:
    """Every line of a file that is not blank, in order.

    Raises:
        LabError: a Parquet or Arrow file, and pyarrow is not installed.
    """
    return (line for line in read_all(path) if line.row is not None or line.reason)


def read_all(path: Path) -> Iterator[Line]:
    """Every line of a file, the blank ones too.

    Raises:
        LabError: a Parquet or Arrow file, and pyarrow is not installed.
    """
    table = reader_of(path)
    if table is not None:
        return table(path)
    return _read_json(path)


def _read_json(path: Path) -> Iterator[Line]:
    if is_pointer(path):
        yield Line(0, reason=POINTER)
        return
    head = head_of(path)
    if reason := trouble(path, head):
        yield Line(0, reason=reason)
        return
    program = transcript(path, head)
    lines = _elements(path) if is_array(path, head) else read_lines(path)
    yield from lines if program is None else read_transcript(lines, program)


def trouble(path: Path, head: bytes) -> str:
    """What a file is instead of rows of text, by its first bytes; "" when it may be rows."""
    return wrong_kind(head) or ("" if rows_of(suffix_of(path.name)) == ".json" else spread(head))


def is_array(path: Path, head: bytes) -> bool:
    """Whether a file is one JSON array of rows, which `.json` files may be."""
    return rows_of(suffix_of(path.name)) == ".json" and head.removeprefix(BOM).lstrip(BLANK).startswith(b"[")


def read_lines(path: Path) -> Iterator[Line]:
    """Every line of a file of JSON lines, the blank ones too."""
    number = 0
    try:
        for number, raw in enumerate(split(_without_mark(unpacked(path))), start=1):
            yield parse(number, raw)
    except DAMAGED as error:
        yield Line(number + 1 if number else 0, reason=damage(error))


def _elements(path: Path) -> Iterator[Line]:
    """Every row of a file that is one JSON array."""
    number = 0
    try:
        for number, raw in enumerate(elements(_without_mark(unpacked(path)), MOST_BYTES), start=1):
            yield parse(number, raw)
    except NoArray as error:
        yield Line(number + 1, reason=f"not JSON: {error}")
    except DAMAGED as error:
        yield Line(number + 1 if number else 0, reason=damage(error))


def damage(error: BaseException) -> str:
    """The reason why a compressed file, or any file, cannot be read."""
    if isinstance(error, OSError) and error.errno:
        return f"the file cannot be read: {error.strerror}"
    return f"the compressed file is damaged: {error}".rstrip(".").lower()


def _without_mark(content: Iterator[bytes]) -> Iterator[bytes]:
    """The content without UTF-8's mark, which some programs put first."""
    head = b""
    while len(head) < len(BOM) and (block := next(content, b"")):
        head += block
    return chain([head.removeprefix(BOM)], content)


def split(stream: Iterable[bytes], most: int = MOST_BYTES) -> Iterator[bytes | int]:
    """Split blocks into lines without their newline; one that is longer than `most` comes as its length in bytes."""
    return chain.from_iterable(_split(stream, most))  # a line costs nothing in Python then


def _split(stream: Iterable[bytes], most: int) -> Iterator[list[bytes | int]]:
    held: list[bytes] = []
    length = 0
    for block in stream:
        lines: list[bytes | int] = [*block.split(b"\n")]
        first = cast("bytes", lines[0])
        length += len(first)
        if length <= most:
            held.append(first)
        else:
            held.clear()
        if len(lines) == 1:
            continue
        lines[0] = b"".join(held) if length <= most else length
        last = cast("bytes", lines.pop())
        yield lines
        held, length = [last], len(last)
    if length:
        yield [b"".join(held) if length <= most else length]
