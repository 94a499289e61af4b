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


def measure(example: Example, count: Count) -> Measured:
    """What there is to know of any example."""
    _, messages, trained, tools, text, chosen, rejected, _, _ = example
    if text:
        size = count(text)
        return size, size, digest(text.encode("utf-8", "surrogatepass"), size), not text.isspace()
    more: list[bytes] = []
    content = "\0".join([message["content"] for message in messages]).encode()
    if count is estimate and content.isascii():
        sizes = [
            (len(message["content"]) + 3 >> 2) + MARKS_PER_MESSAGE if len(message) == 2 else size_of(message, count, more)
            for message in messages
        ]
    else:
        sizes = [size_of(message, count, more) for message in messages]
    length = sum(sizes)
    if tools:
        more.append(orjson.dumps(tools))
        length += count(more[-1].decode())
    if chosen:
        good, worse = (sum([size_of(message, count, more) for message in answer]) for answer in (chosen, rejected))
        more += ["\0".join([message["content"] for message in answer]).encode() for answer in (chosen, rejected)]
        return length + max(good, worse), good + worse, digest(b"\0".join([content, *more]), good + worse), any(map(_says, chosen))
    learned = sum([sizes[index] for index in trained])
    if more:
        content = b"\0".join([content, *more])
    return length, learned, digest(content, learned), any(map(_says, [messages[index] for index in trained]))


def _says(message: Message) -> bool:
    content = message["content"]
    return (content != "" and not content.isspace()) or "tool_calls" in message


def size_of(message: Message, count: Count, more: list[bytes]) -> int:
    """Tokens of a message. What it holds beside its words goes to `more`, but for the identities of calls, which differ from log to log."""
    size = count(message["content"]) + MARKS_PER_MESSAGE
    if len(message) > 2:
        if "tool_calls" in message:
            more.append(orjson.dumps([call["function"] for call in message["tool_calls"]]))
            size += count(more[-1].decode())
        if "reasoning_content" in message:
            more.append(message["reasoning_content"].encode())
            size += count(message["reasoning_content"])
    return size
