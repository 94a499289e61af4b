"""How long an example is in tokens, and how much of it carries loss.

Token counts are measured with a tokenizer when one is given. Otherwise they are estimated, and said to be: four bytes of UTF-8 a token
(OpenAI's rule of thumb for English; it holds within a third for most written languages and code), five a message for the chat template's
marks.
"""

import os
from collections.abc import Callable
from pathlib import Path

import orjson

from llmlab.dataset.formats import Example, Message
from llmlab.dataset.usual import BYTES_PER_TOKEN, MARKS_PER_MESSAGE, Measured, digest
from llmlab.errors import LabError, UsageError

Count = Callable[[str], int]
"""Tokens of a string."""


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


def measure(example: Example, count: Count, known: int | None = None) -> Measured:
    """What there is to know of any example. `known` is a hash of all that it says, where that was made already."""
    _, messages, trained, tools, text, chosen, rejected, _, _ = example
    if text:
        size = count(text)
        return size, size, digest(text.encode("utf-8", "surrogatepass"), size), not text.isspace()
    more: list[bytes] = []
    sizes = sizes_of(messages, count, more)
    length = sum(sizes)
    if tools:
        more.append(orjson.dumps(tools))
        length += _count_bytes(more[-1], count)
    if chosen:
        good, worse = (sum(sizes_of(answer, count, more)) for answer in (chosen, rejected))
        learned, full = good + worse, any(map(_says, chosen))
        more += [_joined(chosen), _joined(rejected)]
        return length + max(good, worse), learned, digest(b"\0".join([_joined(messages), *more]), learned), full
    learned, full = 0, False
    for index in trained:
        learned += sizes[index]
        full = full or _says(messages[index])
    if known is not None:
        return length, learned, known + learned & LARGEST, full
    content = _joined(messages)
    return length, learned, digest(b"\0".join([content, *more]) if more else content, learned), full


LARGEST = (1 << 64) - 1


def _joined(messages: list[Message]) -> bytes:
    return "\0".join([message["content"] for message in messages]).encode()


def _says(message: Message) -> bool:
    content = message["content"]
    return (content != "" and not content.isspace()) or "tool_calls" in message


def sizes_of(messages: list[Message], count: Count, more: list[bytes]) -> list[int]:
    """Tokens of each message. What they hold beside their words goes to `more`, but not calls' identities, which differ from log to log."""
    if count is not estimate:
        return [count(message["content"]) + MARKS_PER_MESSAGE + _beside(message, count, more) for message in messages]
    sizes = []
    for message in messages:
        content = message["content"]
        size = (len(content) if content.isascii() else len(content.encode())) + 3 >> 2
        sizes.append(size + MARKS_PER_MESSAGE + (_beside(message, count, more) if len(message) > 2 else 0))
    return sizes


def _beside(message: Message, count: Count, more: list[bytes]) -> int:
    """Tokens of a message's calls and thoughts."""
    size = 0
    if "tool_calls" in message:
        calls = message["tool_calls"]
        more.append(orjson.dumps([call["function"] for call in calls]))
        size += _count_bytes(more[-1], count)
    if "reasoning_content" in message:
        more.append(message["reasoning_content"].encode())
        size += _count_bytes(more[-1], count)
    return size


def _count_bytes(text: bytes, count: Count) -> int:
    return len(text) + 3 >> 2 if count is estimate else count(text.decode())
