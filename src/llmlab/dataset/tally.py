"""What is counted of some lines of a dataset: a `Tally` of each part, made wherever it is read, and added up in order.

Token counts are measured with a tokenizer when one is given. Otherwise they are estimated, and said to be: four bytes of UTF-8 a token
(OpenAI's rule of thumb for English; it holds within a third for most written languages and code), five a message for the chat template's
marks.
"""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from llmlab.dataset.formats import BadRow, Example, Format, to_example
from llmlab.dataset.lines import Line
from llmlab.dataset.messages import Message
from llmlab.dataset.usual import BYTES_PER_TOKEN, MARKS_PER_MESSAGE, Measured, digest, measure_usual
from llmlab.errors import LabError, UsageError

MOST_KEPT = 10_000
"""Problems kept with their words, per part; the rest is counted."""
MOST_WORDS = 300
EXACT_LENGTHS = 8192
"""Lengths above this are rounded to 128 in the distribution, so that it stays small."""

Count = Callable[[str], int]
"""Tokens of a string."""


@dataclass(slots=True)
class Tally:
    """Counts of a run of lines. Line numbers are relative to where the run begins."""

    lines: int = 0
    blank: int = 0
    bad: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
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
    digests: "array[int]" = field(default_factory=lambda: array("Q"))
    """Of each example's content, as `usual.digest` makes them."""
    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    """The line of each digest."""


def estimate(text: str) -> int:
    """Tokens of a string at four bytes a token."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN


def counter(tokenizer: Path | None) -> Count:
    """How tokens are counted.

    Args:
        tokenizer: a `tokenizer.json`, or the folder of a model that has one; None for the estimate.

    Raises:
        LabError: the package tokenizers is not installed, or the file is not there or not readable.
    """
    if tokenizer is None:
        return estimate
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    if not file.is_file():
        raise UsageError(f"there is no tokenizer {file}", "llmlab validate --help")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise LabError("counting with a tokenizer needs the package tokenizers", "pip install tokenizers") from error
    try:
        loaded = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise UsageError(f"{file} is not a tokenizer: {error}", "llmlab validate --help") from error
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def tally(lines: Iterable[Line], count: Count = estimate, max_length: int | None = None) -> Tally:
    """Check and count lines, the blank ones too."""
    made = Tally()
    quick = count is estimate
    usual: list[tuple[int, Measured]] = []
    for line in lines:
        made.lines += 1
        row, reason = line.row, line.reason
        if row is not None:
            measured = measure_usual(row) if quick else None
            if measured:
                usual.append((line.number, measured))
                if len(usual) == TOGETHER:
                    _add(made, Format.MESSAGES, usual, max_length)
                    usual.clear()
                continue
            try:
                example = to_example(row)
                _add(made, example.format, [(line.number, measure(example, count))], max_length)
                made.with_tools += bool(example.tools)
                continue
            except BadRow as error:
                reason = str(error)
            except (RecursionError, orjson.JSONEncodeError) as error:  # orjson writes 254 levels, and nothing but JSON's types
                reason = "nested too deeply" if "ecursion" in str(error) else f"not JSON's types: {error}"[:MOST_WORDS]
        elif not reason:
            made.blank += 1
            continue
        made.bad += 1
        if len(made.problems) < MOST_KEPT:
            made.problems.append((line.number, reason))
    _add(made, Format.MESSAGES, usual, max_length)
    for places in (made.empty_lines, made.over_lines):
        places.sort()
    return made


TOGETHER = 1024
"""Usual rows are added up so many at a time, which takes a third of the time of one by one."""


def _add(made: Tally, form: Format, rows: list[tuple[int, Measured]], max_length: int | None) -> None:
    if not rows:
        return
    numbers = [number for number, _ in rows]
    lengths, learned, digests, full = zip(*(measured for _, measured in rows), strict=True)
    made.formats[form] += len(rows)
    made.tokens += sum(lengths)
    made.trained_tokens += sum(learned)
    made.digests.extend(digests)
    made.numbers.extend(numbers)
    longest = max(lengths)
    made.lengths.update(lengths if longest <= EXACT_LENGTHS else [one if one <= EXACT_LENGTHS else one & ~127 for one in lengths])
    at = numbers[lengths.index(longest)]
    if (longest, -at) > (made.longest[0], -made.longest[1]):
        made.longest = (longest, at)
    if not all(full):
        empty = [number for number, has in zip(numbers, full, strict=True) if not has]
        made.empty += len(empty)
        made.empty_lines += empty[: MOST_KEPT - len(made.empty_lines)]
    if max_length is not None and longest > max_length:
        over = [number for number, length in zip(numbers, lengths, strict=True) if length > max_length]
        made.over += len(over)
        made.over_lines += over[: MOST_KEPT - len(made.over_lines)]


def measure(example: Example, count: Count) -> Measured:
    """What there is to know of any example."""
    _, messages, trained, tools, text, chosen, rejected = example
    if text:
        size = count(text)
        return size, size, digest(text.encode("utf-8", "surrogatepass"), size), not text.isspace()
    content = orjson.dumps([_said(messages), tools, _said(chosen), _said(rejected)])
    if not (chosen or tools or any(len(message) > 2 for message in messages)):
        content = "\0".join(message["content"] for message in messages).encode()
    sizes = [_tokens(message, count) for message in messages]
    length = sum(sizes) + (count(orjson.dumps(tools).decode()) if tools else 0)
    if chosen:
        good, worse = (sum(_tokens(message, count) for message in answer) for answer in (chosen, rejected))
        return length + max(good, worse), good + worse, digest(content, good + worse), any(map(_says, chosen))
    learned = sum(sizes[index] for index in trained)
    return length, learned, digest(content, learned), any(_says(messages[index]) for index in trained)


def _says(message: Message) -> bool:
    return bool(message["content"].strip()) or "tool_calls" in message


def _tokens(message: Message, count: Count) -> int:
    size = count(message["content"]) + MARKS_PER_MESSAGE
    if "tool_calls" in message:
        size += count(orjson.dumps(_calls(message)).decode())
    if "reasoning_content" in message:
        size += count(message["reasoning_content"])
    return size


def _calls(message: Message) -> list[Any]:
    return [call["function"] for call in message.get("tool_calls", ())]


def _said(messages: list[Message]) -> list[Any]:
    """What makes two conversations the same. The identities of calls do not, because they differ from log to log."""
    return [[message["role"], message["content"], _calls(message), message.get("reasoning_content")] for message in messages]
