"""What must hold of a reading, whatever the bytes were."""

from collections.abc import Callable
from typing import TypeVar

from llmlab.errors import LabError

T = TypeVar("T")
SECONDS_PER_INPUT = 30
MEBIBYTES = 2048
"""What the process may take in all; instrumented, with everything loaded, it begins at some 250."""
WORDS = 4000
"""Characters of a message: what was read may be quoted in it, not poured into it."""


def told(error: LabError) -> None:
    """The error is one sentence on one line, and says what to type next."""
    one_line(str(error))
    assert error.hint.split()[:1], f"no hint: {error}"


def one_line(words: str) -> None:
    """Words that can stand in a sentence: some, not too many, on one line."""
    assert words, "an error says something"
    assert len(words) <= WORDS, f"{len(words)} characters of message"
    assert "\n" not in words, f"more than a line: {words!r}"


def value_or_told(work: Callable[[], T]) -> T | None:
    """The value, or None when the user was told why there is none; any other exception gets through and is a crash."""
    try:
        return work()
    except LabError as error:
        told(error)
        return None
