"""The rows of a JSON array, one at a time: `[{…}, {…}]` as most .json files of rows are, whatever its layout.

The JSON parser says where an element ends: its error has the position of what follows. So an element is parsed twice, which is quicker
than anything written in Python. Only where it is no JSON are its brackets counted, with strings skipped. No more than an element and a
block are held.
"""

import re
from collections.abc import Iterable, Iterator

import orjson

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\],]|"', re.DOTALL)
"""A whole string, a bracket or a comma, or the beginning of a string that is not all there yet."""
BLANK = b" \t\r\n"
LOOK = 4096
"""Bytes that are handed to the parser at first; then twice as many as the last element had."""
EDGE = 16
"""Characters before the end of the parser's window in which an error may only mean that the element is cut there."""
FOLLOWS = "unexpected content after document"


class NoArray(ValueError):
    """The content is not a JSON array of values."""


def elements(content: Iterable[bytes], most: int) -> Iterator[bytes | int]:
    """Yield the elements of one array as bytes; an element longer than `most` bytes comes as its length, and is the last.

    Raises:
        NoArray: the brackets do not match, or the content ends before the array does.
    """
    scan = _Scan(iter(content), most)
    if scan.next() != b"[":
        raise NoArray("the file is not an array" if scan.held else "the file is empty")
    scan.at += 1
    while (mark := scan.next()) != b"]":
        if mark == b",":
            scan.at += 1
            continue
        if not mark:
            raise NoArray("the array ends early")
        written = scan.element()
        if not written:
            raise NoArray("its brackets do not match")
        yield written
        if isinstance(written, int):
            return
    scan.at += 1
    if scan.next():
        raise NoArray("something follows the array")


class _Scan:
    """A buffer over the content: the bytes held, and the position of the next one to read."""

    def __init__(self, content: Iterator[bytes], most: int) -> None:
        self.content = content
        self.most = most
        self.held = b""
        self.at = 0
        self.look = LOOK

    def next(self) -> bytes:
        """The next byte that is not blank, without consuming it; b"" at the end."""
        while True:
            for at in range(self.at, len(self.held)):
                if self.held[at] not in BLANK:
                    self.at = at
                    return self.held[at : at + 1]
            self.at = len(self.held)
            if not self.more():
                return b""

    def more(self) -> bool:
        """Read another block into the buffer, and drop what was consumed; False at the end of the content."""
        block = next(self.content, None)
        if block is None:
            return False
        self.held, self.at = self.held[self.at :] + block, 0
        return True

    def element(self) -> bytes | int:
        """The element that begins at the current position, or its length where that is over `most` bytes."""
        look = self.look
        while True:
            end = self.at + look
            while end < len(self.held) and self.held[end] & 0xC0 == 0x80:
                end += 1
            window = self.held[self.at : end]
            try:
                orjson.loads(window)
                length = len(window)  # nothing followed: a number may go on
                if end < len(self.held) or self.more():
                    look *= 2
                    continue
            except orjson.JSONDecodeError as error:
                if error.msg.startswith(FOLLOWS):
                    length = error.pos if window.isascii() else len(error.doc[: error.pos].encode())
                elif error.pos < len(error.doc) - EDGE:
                    return self._by_brackets()
                elif end < len(self.held) or (look <= self.most and self.more()):
                    look *= 2
                    continue
                else:
                    return self._by_brackets()
            self.look = max(LOOK, 2 * length)
            written = self.held[self.at : self.at + length]
            self.at += length
            return written if length <= self.most else length

    def _by_brackets(self) -> bytes | int:
        """An element that is no JSON, up to the comma or bracket behind it."""
        while True:
            at, depth = self.at, 0
            while token := TOKEN.search(self.held, at):
                mark = self.held[token.start()]
                at = token.end()
                if mark in b"{[":
                    depth += 1
                elif mark in b"}]":
                    depth -= 1
                if depth < 0 or (mark == 0x2C and not depth):
                    written = self.held[self.at : token.start()]
                    self.at = token.start()
                    return written if len(written) <= self.most else len(written)
            length = len(self.held) - self.at
            if length > self.most:
                return length
            if not self.more():
                raise NoArray("the array ends early")
