"""Requests that repeat each other: an agent sends its whole conversation anew each time, so that n requests say the same n times.

Of those the longest is kept, and every answer in it that had a row of its own carries loss. A row is known by a hash over what it says,
message after message: `end` is where its answer ends, and its `prefixes` are where earlier answers end. A row whose end is another's prefix
says nothing that the other does not; one whose end came before is the same again. Thoughts count: a history that has lost them is another
text, which the model saw, and both rows are kept. Sixteen bytes an answer are held for it, and no row is read twice to know. The hash is of
64 bits, the CRC-32 of all and the Adler-32 of each message's length and end, which takes a fifth of a cryptographic one's time: that two of
a million answers are taken for each other has a chance of less than one in a thousand.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import adler32, crc32

import orjson

from llmlab.dataset.formats import Example, Format, Message
from llmlab.dataset.usual import TAIL

Prefix = tuple[int, int]
"""The hash of a conversation up to and with an answer, and that answer's index among the messages."""


class Request(NamedTuple):
    """A row of a log, as it was measured: `tokens` are those of the answers at its prefixes, 0 where they carry loss already."""

    number: int
    form: Format
    measured: tuple[int, int, int, bool]
    tools: bool
    cut: bool
    end: int
    prefixes: tuple[Prefix, ...]
    tokens: tuple[int, ...]


def chain(example: Example) -> tuple[int, tuple[Prefix, ...]]:
    """Where a conversation's last trained answer ends, and where the answers before it do."""
    check = sum_ = crc32(orjson.dumps(example.tools)) if example.tools else 0
    last = example.trained[-1]
    prefixes: list[Prefix] = []
    for index, message in enumerate(example.messages):
        role, content = message["role"], message["content"].encode()
        check = crc32(content, crc32(MARKS[role], check))
        sum_ = adler32(content[-TAIL:], sum_ + len(content) & 0xFFFFFFFF)
        if len(message) > 2 and ("tool_calls" in message or "reasoning_content" in message):
            more = orjson.dumps(_more(message))
            check, sum_ = crc32(more, check), adler32(more[-TAIL:], sum_)
        if role == "assistant":
            prefixes.append((check << 32 | sum_, index))
            if index == last:
                break
    end, _ = prefixes.pop()
    return end, tuple(prefixes)


MARKS = {role: b"\0" + role.encode() for role in ("system", "user", "assistant", "tool")}


def _more(message: Message) -> list[Any]:
    return [[call["function"] for call in message.get("tool_calls", ())], message.get("reasoning_content")]


@dataclass(slots=True)
class Requests:
    """The rows of a part of a log, in arrays."""

    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    forms: "array[int]" = field(default_factory=lambda: array("B"))
    measured: "array[int]" = field(default_factory=lambda: array("Q"))
    """Length, tokens with loss, digest, and whether the answer says anything; four a row."""
    flags: "array[int]" = field(default_factory=lambda: array("B"))
    """1 with tools, 2 cut."""
    ends: "array[int]" = field(default_factory=lambda: array("Q"))
    counts: "array[int]" = field(default_factory=lambda: array("I"))
    prefixes: "array[int]" = field(default_factory=lambda: array("Q"))
    places: "array[int]" = field(default_factory=lambda: array("I"))
    tokens: "array[int]" = field(default_factory=lambda: array("I"))

    def add(self, request: Request) -> None:
        self.numbers.append(request.number)
        self.forms.append(_FORMS.index(request.form))
        self.measured.extend(map(int, request.measured))
        self.flags.append(request.tools + 2 * request.cut)
        self.ends.append(request.end)
        self.counts.append(len(request.prefixes))
        if not request.prefixes:
            return
        self.prefixes.extend(one for one, _ in request.prefixes)
        self.places.extend(at for _, at in request.prefixes)
        self.tokens.extend(request.tokens)

    def __iter__(self) -> Iterator[Request]:
        start = 0
        for at, number in enumerate(self.numbers):
            length, learned, digest, full = self.measured[4 * at : 4 * at + 4]
            end = start + self.counts[at]
            prefixes = tuple(zip(self.prefixes[start:end], self.places[start:end], strict=True))
            flags = self.flags[at]
            yield Request(
                number, _FORMS[self.forms[at]], (length, learned, digest, bool(full)), bool(flags & 1), bool(flags & 2), self.ends[at],
                prefixes, tuple(self.tokens[start:end]),
            )  # fmt: skip
            start = end


_FORMS: Sequence[Format] = tuple(Format)


class More(NamedTuple):
    """What a kept row learns beside its own answer: indexes of messages, and those of them that were cut off."""

    trained: tuple[int, ...]
    cut: tuple[int, ...]


@dataclass
class Verdicts:
    """Of each file by its index: the rows left out because another says the same and more, and what kept ones learn beside their own."""

    left_out: dict[int, set[int]] = field(default_factory=dict)
    more: dict[int, dict[int, More]] = field(default_factory=dict)

    @property
    def files(self) -> set[int]:
        """Files that are not to be read as they are written."""
        return {file for file, numbers in self.left_out.items() if numbers} | {file for file, more in self.more.items() if more}


def judge(every: Sequence[tuple[int, int, Requests]]) -> tuple[Verdicts, list[tuple[int, int, Request]]]:
    """What is kept of the rows of all files, each with its file and the line its part begins behind; longest first is not needed."""
    inside: set[int] = set()
    ends: dict[int, bool] = {}
    for _, _, requests in every:
        inside.update(requests.prefixes)
        for end, flags in zip(requests.ends, requests.flags, strict=True):
            ends.setdefault(end, bool(flags & 2))
    verdicts = Verdicts()
    kept: list[tuple[int, int, Request]] = []
    seen: set[int] = set()
    for file, base, requests in every:
        for request in requests:
            if request.end in inside or request.end in seen:
                verdicts.left_out.setdefault(file, set()).add(base + request.number)
                continue
            seen.add(request.end)
            answered = zip(request.prefixes, request.tokens, strict=True)
            more = [(at, tokens, ends[one]) for (one, at), tokens in answered if tokens and one in ends]
            if more:
                found = More(tuple(at for at, _, _ in more), tuple(at for at, _, cut in more if cut))
                verdicts.more.setdefault(file, {})[base + request.number] = found
                length, learned, digest, full = request.measured
                learned += sum(tokens for _, tokens, _ in more)
                request = request._replace(measured=(length, learned, digest, full))  # noqa: PLW2901 - the same row, learning more
            kept.append((file, base, request))
    return verdicts, kept
