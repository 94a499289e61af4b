"""Logged requests that repeat each other: an agent sends its whole conversation anew each time, so that n requests say the same n times.

Of those the longest is kept, and every answer in it that had a row of its own carries loss. A row is known by a hash over what it says,
message after message: `end` is where its answer ends, and its `prefixes` are where earlier answers end. A row whose end is another's prefix
says nothing that the other does not; one whose end came before is the same again. Thoughts count: a history that has lost them is another
text, which the model saw, and both rows are kept. Sixteen bytes an answer are held for it, and no row is read twice to know. The hash is
XXH3's of 64 bits, each text's with the one before as its seed: that two of a million answers are taken for each other has a chance of less
than one in a million.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from xxhash import xxh3_64_intdigest as digest

from llmlab.dataset.formats import Example, Format
from llmlab.dataset.tokens import Count, beside, count_bytes, estimate, says
from llmlab.dataset.usual import MARKS_PER_MESSAGE, Measured


class LoggedRequest(NamedTuple):
    """The measurements of one row of a log.

    `prefixes` are the hashes of the conversation up to and with each answer before the last, `places` those answers' indexes among the
    messages, `tokens` their tokens, 0 where they carry loss already.
    """

    number: int
    form: Format
    measured: Measured
    tools: bool
    cut: bool
    end: int
    prefixes: Sequence[int]
    places: Sequence[int]
    tokens: Sequence[int]


def _walked(example: Example, count: Count) -> tuple[int, int, bool, int, list[int], list[int], list[int]]:
    """A row's length, tokens with loss, whether an answer says anything; and end, prefixes, places and tokens of a `LoggedRequest`."""
    length = check = 0
    if example.tools:
        written = orjson.dumps(example.tools)
        length, check = count_bytes(written, count), digest(written)
    learned, full, quick = 0, False, count is estimate
    learning = example.trained if len(example.trained) < FEW else frozenset(example.trained)
    ends: list[int] = []
    places: list[int] = []
    tokens: list[int] = []
    for at, message in enumerate(example.messages):
        content, role = message["content"], message["role"]
        written = content.encode()
        size = (len(written) + 3 >> 2 if quick else count(content)) + MARKS_PER_MESSAGE
        check = digest(written, check ^ MARKS[role])
        if len(message) > 2:
            more: list[bytes] = []
            size += beside(message, count, more)
            for written in more:
                check = digest(written, check ^ BESIDE)
        length += size
        if role == "assistant":
            trained = at in learning
            if trained:
                learned += size
                full = full or says(message)
            ends.append(check)
            places.append(at)
            tokens.append(0 if trained else size)
    while places[-1] != example.trained[-1]:  # what follows it is of no answer's text
        del ends[-1], places[-1], tokens[-1]
    places.pop()
    tokens.pop()
    return length, learned, full, ends.pop(), ends, places, tokens


MARKS = {role: digest(role.encode()) for role in ("system", "user", "assistant", "tool")}
"""Hashes of the roles, which tell apart the same words of two speakers."""
BESIDE = digest(b"beside")
"""The hash that tells calls and thoughts from words."""
LARGEST = (1 << 64) - 1
FEW = 4
"""The number of indexes up to which searching the list is as quick as making a set of it."""


@dataclass(slots=True)
class LoggedRequests:
    """The measurements of the rows of a part of a log, in arrays."""

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

    def add(self, number: int, form: Format, example: Example, count: Count) -> None:
        """Measure a row and add it."""
        length, learned, full, end, prefixes, places, tokens = _walked(example, count)
        self.numbers.append(number)
        self.forms.append(_NUMBERS[form])
        self.measured.extend((length, learned, end + learned & LARGEST, full))
        self.flags.append(bool(example.tools) + 2 * ("cut" in example.messages[example.trained[-1]]))
        self.ends.append(end)
        self.counts.append(len(prefixes))
        if prefixes:
            self.prefixes.extend(prefixes)
            self.places.extend(places)
            self.tokens.extend(tokens)

    def __iter__(self) -> Iterator[LoggedRequest]:
        start = 0
        for at, number in enumerate(self.numbers):
            length, learned, digest, full = self.measured[4 * at : 4 * at + 4]
            end = start + self.counts[at]
            flags = self.flags[at]
            yield LoggedRequest(
                number, _FORMS[self.forms[at]], (length, learned, digest, bool(full)), bool(flags & 1), bool(flags & 2), self.ends[at],
                self.prefixes[start:end], self.places[start:end], self.tokens[start:end],
            )  # fmt: skip
            start = end


_FORMS: Sequence[Format] = tuple(Format)
_NUMBERS = {form: number for number, form in enumerate(_FORMS)}


class More(NamedTuple):
    """The earlier answers that a kept row learns as well: indexes of messages, and those of them that were cut off."""

    trained: tuple[int, ...]
    cut: tuple[int, ...]


@dataclass
class Verdicts:
    """By index of a file: the rows left out because another row holds all they say, and the earlier answers that kept rows learn."""

    left_out: dict[int, set[int]] = field(default_factory=dict)
    more: dict[int, dict[int, More]] = field(default_factory=dict)

    @property
    def files(self) -> set[int]:
        """Indexes of the files that must not be read as they are written."""
        return {file for file, numbers in self.left_out.items() if numbers} | {file for file, more in self.more.items() if more}


def judge(every: Sequence[tuple[int, int, LoggedRequests]]) -> tuple[Verdicts, list[tuple[int, int, LoggedRequest]]]:
    """Decide which rows of all files are kept: each with its file and the line before its part. The order of the rows does not matter."""
    inside: set[int] = set()
    ends: dict[int, bool] = {}
    for _, _, requests in every:
        inside.update(requests.prefixes)
        for end, flags in zip(requests.ends, requests.flags, strict=True):
            ends.setdefault(end, bool(flags & 2))
    verdicts = Verdicts()
    kept: list[tuple[int, int, LoggedRequest]] = []
    seen: set[int] = set()
    for file, base, requests in every:
        for request in requests:
            if request.end in inside or request.end in seen:
                verdicts.left_out.setdefault(file, set()).add(base + request.number)
                continue
            seen.add(request.end)
            answered = zip(request.prefixes, request.places, request.tokens, strict=True)
            more = [(at, tokens, ends[prefix]) for prefix, at, tokens in answered if tokens and prefix in ends]
            if more:
                added = More(tuple(at for at, _, _ in more), tuple(at for at, _, cut in more if cut))
                verdicts.more.setdefault(file, {})[base + request.number] = added
                length, learned, digest, full = request.measured
                learned += sum(tokens for _, tokens, _ in more)
                request = request._replace(measured=(length, learned, digest, full))  # noqa: PLW2901 - the same row, learning more
            kept.append((file, base, request))
    return verdicts, kept
