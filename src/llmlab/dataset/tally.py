"""Count the lines of a dataset: a `Tally` of each part, made in the process that reads it, and added up in order."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from llmlab.dataset.formats import BAD, GOOD, LOGS, Example, Format
from llmlab.dataset.forms import to_example
from llmlab.dataset.line import Line, parse
from llmlab.dataset.reasons import BadRow, LeftOut
from llmlab.dataset.repeats import LoggedRequest, LoggedRequests
from llmlab.dataset.tokens import Count, estimate, measure
from llmlab.dataset.usual import Measured, usual
from llmlab.errors import one_line

MOST_KEPT = 10_000
"""Problems kept with their words, per part; the rest is counted."""
MOST_WORDS = 300
EXACT_LENGTHS = 8192
"""Lengths above this are rounded up to 128 in the distribution, so that it stays small."""


@dataclass(slots=True)
class Tally:
    """Counts of consecutive lines. Line numbers are relative to where the lines begin."""

    lines: int = 0
    blank: int = 0
    bad: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    with_tools: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    longest: tuple[int, int] = (0, 0)
    """Tokens and line of the longest example."""
    over: int = 0
    over_lines: list[int] = field(default_factory=list)
    empty: int = 0
    empty_lines: list[int] = field(default_factory=list)
    cut: int = 0
    """Answers that were cut off, and are learned without their end."""
    labels: Counter[str] = field(default_factory=Counter)
    """Unpaired preferences by whether their answer is `good` or `bad`."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Rows of logs that teach nothing, by name."""
    skipped_lines: list[tuple[int, str, str]] = field(default_factory=list)
    """The first skipped rows: line, name, and reason."""
    unread: Counter[str] = field(default_factory=Counter)
    """Rows by the keys in them that are neither read nor known to be harmless."""
    requests: LoggedRequests = field(default_factory=LoggedRequests)
    """Rows of logs, which count once it is known which of them repeat each other."""
    digests: "array[int]" = field(default_factory=lambda: array("Q"))
    """The digest of each example's content, by `usual.digest`."""
    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    """The line of each digest."""


def tally(lines: Iterable[Line], count: Count = estimate, max_length: int | None = None) -> Tally:
    """Check and count lines, the blank ones too."""
    counting = _TallyBuilder(count, max_length)
    for line in lines:
        counting.line(line)
    return counting.done()


def tally_written(written: Iterable[bytes | int], count: Count = estimate, max_length: int | None = None) -> Tally:
    """Check and count lines of JSON as they are written; one that is too long comes as its length."""
    counting = _TallyBuilder(count, max_length)
    loads, waiting, quick = orjson.loads, counting.waiting, counting.quick
    number = 0
    for number, raw in enumerate(written, start=1):
        try:
            row = loads(raw)  # type: ignore[arg-type]
        except orjson.JSONDecodeError:
            row = None
        if type(row) is not dict:
            counting.line(parse(number, raw))
        elif quick and (measured := usual(row)):  # what `rows` does, without a call for each
            waiting[measured[0]].append((number, measured[1]))
        else:
            counting.row(number, row)
        if not number % TOGETHER:
            counting.flush()
    counting.tally.lines = number
    return counting.done()


TOGETHER = 1024
"""Rows of a format are added up so many at a time, which takes a third of the time of one by one."""
MOST_NAMES = 1000
"""Names of unread keys that are kept apart: where keys are data, there is no end to them."""


class _TallyBuilder:
    """Builds a tally, row by row."""

    def __init__(self, count: Count, max_length: int | None) -> None:
        self.tally = Tally()
        self.count = count
        self.max_length = max_length
        self.quick = count is estimate
        self.waiting: defaultdict[Format, list[tuple[int, Measured]]] = defaultdict(list)

    def line(self, line: Line) -> None:
        """Count a line of any kind."""
        if line.row is None:
            self.tally.lines += 1
            self.without_row(line)
        elif line.form is None:
            self.rows(line.number, line.row)
        else:
            self.tally.lines += 1
            self.row(line.number, line.row, line.form, line.unread)

    def rows(self, number: int, row: dict[str, Any]) -> None:
        """Count a row whose file has no form of its own, on the quick path where it is a usual one."""
        self.tally.lines += 1
        measured = usual(row) if self.quick else None
        if measured:
            self.waiting[measured[0]].append((number, measured[1]))
        else:
            self.row(number, row)
        if not self.tally.lines % TOGETHER:
            self.flush()

    def row(self, number: int, row: dict[str, Any], of_file: Format | None = None, unread: tuple[str, ...] = ()) -> None:
        """Count a row that is not usual; `of_file` is the form of its file, if that has one, `unread` what its reader passed over."""
        try:
            example = to_example(row)
            form = of_file or example.format
            if form in LOGS:
                self.tally.requests.add(number, form, example, self.count)
            else:
                self._example(number, form, example, measure(example, self.count))
            if example.unread or unread:
                self._unread((*example.unread, *unread))
        except LeftOut as error:
            self._left_out(number, error.why, str(error))
        except BadRow as error:
            self._bad(number, str(error))
        except (
            RecursionError,
            orjson.JSONEncodeError,
            UnicodeEncodeError,
        ) as error:  # orjson writes 254 levels, and nothing but JSON's types
            self._bad(number, "nested too deeply" if "ecursion" in str(error) else not_types(error))

    def without_row(self, line: Line) -> None:
        if line.skipped:
            self._left_out(line.number, line.skipped, line.reason)
        elif line.reason:
            self._bad(line.number, line.reason)
        else:
            self.tally.blank += 1

    def _example(self, number: int, form: Format, example: Example, measured: Measured) -> None:
        self.waiting[form].append((number, measured))
        self.tally.with_tools += bool(example.tools)
        if example.label is not None:
            self.tally.labels[GOOD if example.label else BAD] += 1
        for at in example.trained:
            self.tally.cut += "cut" in example.messages[at]

    def _unread(self, names: tuple[str, ...]) -> None:
        unread = self.tally.unread
        for name in names:
            if name in unread or len(unread) < MOST_NAMES:
                unread[one_line(name)] += 1
            else:
                unread["others"] += 1

    def _left_out(self, number: int, why: str, reason: str) -> None:
        self.tally.skipped[why] += 1
        if len(self.tally.skipped_lines) < MOST_KEPT:
            self.tally.skipped_lines.append((number, why, reason))

    def _bad(self, number: int, reason: str) -> None:
        self.tally.bad += 1
        if len(self.tally.problems) < MOST_KEPT:
            self.tally.problems.append((number, reason))

    def flush(self) -> None:
        """Add the waiting rows to the tally."""
        for form, rows in self.waiting.items():
            add(self.tally, form, rows, self.max_length)
            rows.clear()

    def done(self) -> Tally:
        self.flush()
        for places in (self.tally.empty_lines, self.tally.over_lines):
            places.sort()
        return self.tally


def not_types(error: Exception) -> str:
    """Why a value cannot be written as JSON, where half a character is what JSON lines in Python most often hold."""
    if "surrogate" in str(error):
        return "its characters are not Unicode text: half of a surrogate pair"
    return f"not JSON's types: {error}"[:MOST_WORDS]


def settle(rows: list[LoggedRequest], max_length: int | None) -> Tally:
    """The tally of the kept rows of a log."""
    total = Tally()
    waiting: defaultdict[Format, list[tuple[int, Measured]]] = defaultdict(list)
    for row in rows:
        waiting[row.form].append((row.number, row.measured))
        total.with_tools += row.tools
        total.cut += row.cut
    for form, some in waiting.items():
        add(total, form, some, max_length)
    return total


def add(total: Tally, form: Format, rows: list[tuple[int, Measured]], max_length: int | None) -> None:
    """Count rows of one format."""
    if not rows:
        return
    numbers = [number for number, _ in rows]
    lengths, learned, digests, full = zip(*(measured for _, measured in rows), strict=True)
    total.formats[form] += len(rows)
    total.tokens += sum(lengths)
    total.trained_tokens += sum(learned)
    total.digests.extend(digests)
    total.numbers.extend(numbers)
    longest = max(lengths)
    total.lengths.update(
        lengths if longest <= EXACT_LENGTHS else [length if length <= EXACT_LENGTHS else (length + 127) & ~127 for length in lengths]
    )
    at = numbers[lengths.index(longest)]
    if (longest, -at) > (total.longest[0], -total.longest[1]):
        total.longest = (longest, at)
    if not all(full):
        empty = [number for number, has in zip(numbers, full, strict=True) if not has]
        total.empty += len(empty)
        total.empty_lines += empty[: MOST_KEPT - len(total.empty_lines)]
    if max_length is not None and longest > max_length:
        over = [number for number, length in zip(numbers, lengths, strict=True) if length > max_length]
        total.over += len(over)
        total.over_lines += over[: MOST_KEPT - len(total.over_lines)]
