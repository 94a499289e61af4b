"""Limits of what a chat template may do: turns of its loops and calls, the length of the texts it makes, the widths and numbers it uses.

All limits grow with the template's inputs, which are only weighed when a limit is reached: honest templates never get that far.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llmlab.errors import LabError

STEPS, STEPS_A_CHARACTER = 1_000_000, 100
"""Turns of loops that a rendering may take: a second at most. A template that compares all messages with each other has room for three
thousand of them."""
STEPS_A_CALL = 5
"""Steps that a call of a function, a method or a filter counts as."""
LENGTH, LENGTHS_A_CHARACTER = 1 << 20, 64
"""Characters of any text that a template may make."""
CHARACTERS_A_STEP = 256
"""Characters of text that are copied in the time of a step."""
LARGEST_NUMBER = 100_000
"""The largest width, count or indent: Jinja's own limit for `range`."""
MOST_BITS = 4096
"""Bits of the largest number that a template may calculate."""
WIDE = re.compile(r"%[^a-zA-Z%]*(\*|\d{6})|\{[^{}]*(\{|\d{6})")
"""A width in a format that no honest one has, or that another value gives."""
WIDENING = frozenset({
    "center", "ljust", "rjust", "zfill", "expandtabs", "indent", "batch", "slice", "wordwrap", "truncate", "round", "tojson",
    "generate_lorem_ipsum",
})  # fmt: skip
"""Methods of texts, filters and functions whose result is as large as a number that they are given."""
GROWING = frozenset({"replace", "join", "format", "format_map", "translate", "expandtabs"})
WRITING = frozenset({"tojson", "string", "pprint", "join", "format"})
"""Filters and methods that make a text of a value."""
JUDGED = WIDENING | GROWING | WRITING
Span = tuple[int, int]
"""The index of the first character, and of the one behind the last."""


class TooMuch(LabError):
    """A template does more than any honest one: it is not rendered again."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the chat template of the model was stopped: {what}", "llmlab launch --help")


@dataclass
class Rendering:
    """One rendering of a template: the steps and the length that it has left, and its spans so far."""

    inputs: Any = ""
    today: datetime | None = None
    marks: bool = False
    steps: int = STEPS
    length: int = LENGTH
    written: int = 0
    """Characters of the text so far, where none waits in a macro or a block."""
    spans: list[Span] = field(default_factory=list)
    weighed: bool = False

    def step(self, count: int = 1) -> None:
        """Count steps.

        Raises:
            TooMuch: there were too many.
        """
        self.steps -= count
        if self.steps < 0:
            self._check(0)

    def count_text(self, length: int) -> None:
        """Count a text of this length that was made, or is about to be.

        Raises:
            TooMuch: it is too long.
        """
        self.steps -= 1 + length // CHARACTERS_A_STEP
        if self.steps < 0 or length > self.length:
            self._check(length)

    @property
    def longest(self) -> int:
        """Characters of the longest text that the template may make, by the size of its inputs."""
        self._weigh()
        return self.length

    def _check(self, length: int) -> None:
        """Stop the template if it is over its limits also by the size of its inputs, which are weighed only now."""
        self._weigh()
        if self.steps < 0:
            raise TooMuch("it takes more than a million steps for one conversation")
        if length > self.length:
            raise TooMuch("it makes a text many times as long as the conversation")

    def _weigh(self) -> None:
        if not self.weighed:
            self.weighed = True
            characters = weight(self.inputs)
            self.steps += characters * STEPS_A_CHARACTER
            self.length += characters * LENGTHS_A_CHARACTER


def weight(value: Any, most: int = 1 << 40) -> int:
    """Characters of a value, and one for each part of it; no further than `most`: a list may hold itself twice, and that twice again."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        value = waiting.pop()
        count += len(value) if isinstance(value, str) else 1
        if isinstance(value, dict):
            waiting += value.values()
            count += sum(len(key) for key in value if isinstance(key, str))
        elif isinstance(value, list | tuple):
            waiting += value
    return count


def grown(name: str, subject: Any, args: Sequence[Any]) -> int:
    """The greatest length that the result of a method of a text, or of a filter, can have."""
    if name == "join":
        parts, between = (args[0] if args else (), subject) if isinstance(subject, str) else (subject, args[0] if args else "")
        return sum(len(part) + len(str(between)) for part in parts if isinstance(part, str)) if isinstance(parts, list | tuple) else 0
    if not isinstance(subject, str):
        return 0
    if name in {"format", "format_map"}:
        if WIDE.search(subject):
            raise TooMuch("it formats a text with a width that no text has")
        return len(subject) + sum(len(value) for value in args if isinstance(value, str)) * (subject.count("{") + subject.count("%"))
    if name == "replace":
        return len(subject) + subject.count(args[0]) * len(str(args[1])) if len(args) > 1 and isinstance(args[0], str) else 0
    if name == "translate":
        table = args[0] if args and isinstance(args[0], dict) else {}
        return len(subject) * max((len(to) for to in table.values() if isinstance(to, str)), default=1)
    return len(subject) * max(8, *(value for value in args if isinstance(value, int)), 0)


def product(sign: str, left: Any, right: Any) -> int:
    """The length of a product of a text or a list and a number; of two numbers, whose bits are limited, 0."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if sign == "**" else left.bit_length() + right.bit_length()
        if bits > MOST_BITS:
            raise TooMuch("it calculates with numbers of a thousand digits")
        return 0
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(times, int):
            return len(many) * max(times, 0)
    return 0
