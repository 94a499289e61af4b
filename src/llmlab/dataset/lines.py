"""From a file's bytes to its rows, one at a time, whatever the file's size.

A line is never held in memory past `MOST_BYTES`: a longer one is skipped over and told. What is wrong with a whole file (it is not
what its name says, it ends early) is a `Line` with number 0, or with the number it stopped at. Nothing here raises for bad content.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import zstandard

from llmlab.dataset.files import suffix_of
from llmlab.dataset.formats import Format
from llmlab.errors import LabError

MOST_BYTES = 64 << 20
"""A longer line is refused: it would be some sixteen million tokens."""
BLOCK = 1 << 20
ZSTD_BLOCK = 4096
"""A few bytes may stand for 128 KiB, so that what a block of this size becomes still fits into memory."""
MOST_TIMES, ALWAYS = 1000, 4 << 20
"""A compressed file may become so many times its size, and always these bytes. JSON lines become some ten times, gzip's most is 1032."""
HEAD = 4
"""Bytes that tell what kind a file is of."""
BOM = b"\xef\xbb\xbf"


class Bomb(Exception):
    """A compressed file that is made to fill memory and time."""


@dataclass(slots=True)
class Line:
    """One line of a file: its number from 1, and its row, or the reason it has none. Blank lines have neither, and `raw` is empty.

    `form` is the form of the file where a row was made of several lines. `skipped` is what a line is counted as that nobody did wrong and
    that teaches nothing.
    """

    number: int
    row: dict[str, Any] | None = None
    reason: str = ""
    raw: bytes = b""
    form: Format | None = None
    skipped: str = ""


def read(path: Path) -> Iterator[Line]:
    """Every line of a file that is not blank, in order.

    Raises:
        LabError: a Parquet file, and pyarrow is not installed.
    """
    if suffix_of(path.name) == ".parquet":
        return read_parquet(path)
    return (line for line in read_lines(path) if line.row is not None or line.reason)


def read_lines(path: Path) -> Iterator[Line]:
    """Every line of a file of JSON lines, the blank ones too."""
    number = 0
    try:
        content = decompressed(path)
        head = b""
        while len(head) < HEAD and (block := next(content, b"")):
            head += block
        if wrong_kind(head):
            yield Line(0, reason=wrong_kind(head))
            return
        for number, raw in enumerate(split(chain([head.removeprefix(BOM)], content)), start=1):
            yield parse(number, raw)
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError, Bomb) as error:
        yield Line(number + 1 if number else 0, reason=f"the compressed file is damaged: {error}".rstrip(".").lower())


def decompressed(path: Path) -> Iterator[bytes]:
    """A file's content in blocks, as its suffix says."""
    with path.open("rb") as stream:
        suffix = suffix_of(path.name)
        most = MOST_TIMES * path.stat().st_size + ALWAYS
        if suffix == ".jsonl.zst":
            yield from _bounded(_unzstd(stream), most)
        elif suffix == ".jsonl.gz":
            with gzip.open(stream) as plain:
                yield from _bounded(blocks(plain), most)  # type: ignore[arg-type]
        else:
            yield from blocks(stream)


def _bounded(content: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The content in blocks that are small whatever they were made of.

    Raises:
        Bomb: it is more than `most` bytes.
    """
    for block in content:
        most -= len(block)
        if most < 0:
            raise Bomb(f"it becomes more than {MOST_TIMES} times its size")
        for start in range(0, len(block), BLOCK):
            yield block[start : start + BLOCK]


def _unzstd(stream: BinaryIO) -> Iterator[bytes]:
    """All frames of a zstandard file. The package's own reader stops after the first, and takes a file that was cut short for whole."""
    frame = None
    while block := stream.read(ZSTD_BLOCK):
        while block:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(block)
            block, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise EOFError("it ends in the middle of a frame")


def blocks(stream: BinaryIO, head: bytes = b"", limit: int | None = None) -> Iterator[bytes]:
    """What was read already, then the rest of a stream, or its next `limit` bytes."""
    if head:
        yield head
    while block := stream.read(BLOCK if limit is None else min(BLOCK, limit)):
        yield block
        if limit is not None:
            limit -= len(block)


def split(stream: Iterable[bytes], most: int = MOST_BYTES) -> Iterator[bytes | int]:
    """Lines without their newline; one that is longer than `most` comes as its length in bytes."""
    held: list[bytes] = []
    length = 0
    for block in stream:
        first, *rest = block.split(b"\n")
        length += len(first)
        if length <= most:
            held.append(first)
        else:
            held.clear()
        if not rest:
            continue
        yield b"".join(held) if length <= most else length
        yield from rest[:-1]
        held, length = [rest[-1]], len(rest[-1])
    if length:
        yield b"".join(held) if length <= most else length


def parse(number: int, raw: bytes | int) -> Line:
    """One line's JSON object, or the reason it is none."""
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
    if type(row) is not dict:
        kind = {str: "a string", list: "an array", bool: "a boolean", type(None): "null"}.get(type(row), "a number")
        return Line(number, reason=f"the line is {kind}, not an object", raw=raw)
    return Line(number, row, "", raw)


def not_json(raw: bytes, error: orjson.JSONDecodeError) -> str:
    """Why a line did not parse."""
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return f"not UTF-8 at byte {wrong.start + 1}"
    return f"not JSON: {error.msg.partition(': line ')[0]} at column {error.colno}"


def wrong_kind(head: bytes) -> str:
    """What a file is whose first bytes are not those of JSON lines."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "the file is UTF-16, not UTF-8"
    if head.startswith(b"\x1f\x8b"):
        return "the file is gzip: name it .jsonl.gz"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "the file is zstandard: name it .jsonl.zst"
    if head.startswith(b"PAR1"):
        return "the file is Parquet: name it .parquet"
    return "the file is a PDF" if head.startswith(b"%PDF") else ""


def read_parquet(path: Path) -> Iterator[Line]:
    """Every row of a Parquet file, some hundred in memory at a time.

    Raises:
        LabError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise LabError(f"reading {path} needs pyarrow, which is not installed", "pip install pyarrow") from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield Line(number, row)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        words = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        yield Line(number + 1 if number else 0, reason=f"not a Parquet file: {words}")
