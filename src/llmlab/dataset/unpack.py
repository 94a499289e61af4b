"""Read a file's content in blocks, unpacked as its suffix says, in memory that does not depend on the content."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from llmlab.dataset.suffixes import suffix_of

BLOCK = 1 << 20
ZSTD_BLOCK = 4096
"""A few bytes may stand for 128 KiB, so that what a block of this size becomes still fits into memory."""
MOST_TIMES, ALWAYS = 1000, 4 << 20
"""A packed file may become so many times its size, and always these bytes. JSON lines become some ten times, gzip's most is 1032."""
MOST_WINDOW = 128 << 20
"""Bytes that unpacking an .xz may take: its own most, which `xz -9` needs half of."""


class Bomb(Exception):
    """A packed file that is made to fill memory and time."""


DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, Bomb)
"""Exceptions that unpacking raises; bz2 raises OSError and EOFError."""


def unpacked(path: Path) -> Iterator[bytes]:
    """Yield a file's content in blocks, unpacked.

    Raises:
        OSError: it cannot be opened.
        one of DAMAGED: it is not what its name says, or ends early.
    """
    with path.open("rb") as stream:
        suffix = suffix_of(path.name)
        most = MOST_TIMES * path.stat().st_size + ALWAYS
        if suffix.endswith(".zst"):
            yield from bounded(_unzstd(stream), most)
        elif suffix.endswith(".gz"):
            with gzip.open(stream) as plain:
                yield from bounded(blocks(cast("BinaryIO", plain)), most)
        elif suffix.endswith(".bz2"):
            with bz2.open(stream) as plain:
                yield from bounded(blocks(cast("BinaryIO", plain)), most)
        elif suffix.endswith(".xz"):
            yield from bounded(_unxz(stream), most)
        else:
            yield from blocks(stream)


def bounded(content: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Yield the content in blocks of at most `BLOCK` bytes.

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


def _unxz(stream: BinaryIO) -> Iterator[bytes]:
    """All streams of an .xz file, in memory that its header cannot ask to be more than `MOST_WINDOW`."""
    unpacking = None
    block = b""
    while True:
        if unpacking is not None and not unpacking.needs_input:
            yield unpacking.decompress(b"", BLOCK)
        elif block or (block := stream.read(BLOCK)):
            if unpacking is None:
                block = block.lstrip(b"\0")  # padding between streams
                if not block:
                    continue
                unpacking = lzma.LZMADecompressor(lzma.FORMAT_XZ, MOST_WINDOW)
            yield unpacking.decompress(block, BLOCK)
            block = b""
        else:
            break
        if unpacking.eof:
            block, unpacking = unpacking.unused_data + block, None
    if unpacking is not None:
        raise EOFError("it ends in the middle of a stream")


def blocks(stream: BinaryIO, head: bytes = b"", limit: int | None = None) -> Iterator[bytes]:
    """Yield `head`, which was read already, then the rest of a stream, or its next `limit` bytes."""
    if head:
        yield head
    while block := stream.read(BLOCK if limit is None else min(BLOCK, limit)):
        yield block
        if limit is not None:
            limit -= len(block)
