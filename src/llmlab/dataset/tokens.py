"""Measure an example: its length in tokens, and how many of them carry loss.

Token counts are measured with a tokenizer when one is given. Otherwise they are estimated, and said to be: four bytes of UTF-8 a token
(OpenAI's rule of thumb for English; it holds within a third for most written languages and code), five a message for the chat template's
marks.
"""

import os
from collections.abc import Callable
from pathlib import Path

import orjson
from xxhash import xxh3_64_intdigest as digest

from llmlab.dataset.formats import Example, Message
from llmlab.dataset.usual import BYTES_PER_TOKEN, MARKS_PER_MESSAGE, Measured
from llmlab.errors import LabError, UsageError

Count = Callable[[str], int]
"""Tokens of a string."""


def estimate(text: str) -> int:
    """Tokens of a string at four bytes a token."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN


def counter(tokenizer: Path | None) -> Count:
    """The function that counts tokens.

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
    """Measure any example: its tokens, those that carry loss, its digest, and whether an answer has anything in it."""
    _, messages, trained, tools, text, chosen, rejected, _, _ = example
    if text:
        size = count(text)
        return size, size, digest(text.encode("utf-8", "surrogatepass"), size), not text.isspace()
    more: list[bytes] = []
    sizes, content = sizes_of(messages, count, more)
    length = sum(sizes)
    if tools:
        more.append(orjson.dumps(tools))
        length += count_bytes(more[-1], count)
    if chosen:
        (good, better), (bad, worse) = (sizes_of(answer, count, more) for answer in (chosen, rejected))
        good_size, bad_size = sum(good), sum(bad)
        learned, full = good_size + bad_size, any(map(says, chosen))
        return length + max(good_size, bad_size), learned, digest(b"\0".join([content, *more, better, worse]), learned), full
    learned, full = 0, False
    for index in trained:
        learned += sizes[index]
        full = full or says(messages[index])
    return length, learned, digest(b"\0".join([content, *more]) if more else content, learned), full


def says(message: Message) -> bool:
    """Whether a message has anything in it: words, or calls."""
    content = message["content"]
    return (content != "" and not content.isspace()) or "tool_calls" in message


def sizes_of(messages: list[Message], count: Count, more: list[bytes]) -> tuple[list[int], bytes]:
    """Tokens of each message, and the words of all of them in UTF-8.

    Their calls and thoughts go to `more`, but not the ids of calls, which differ from log to log.
    """
    contents = [message["content"] for message in messages]
    joined = "\0".join(contents)
    written = joined.encode()
    if count is estimate and len(written) == len(joined):
        sizes = [(len(content) + 3 >> 2) + MARKS_PER_MESSAGE for content in contents]
    else:
        sizes = [count(content) + MARKS_PER_MESSAGE for content in contents]
    for at, message in enumerate(messages):
        if len(message) > 2:
            sizes[at] += beside(message, count, more)
    return sizes, written


def beside(message: Message, count: Count, more: list[bytes]) -> int:
    """Tokens of a message's calls and thoughts, which are appended to `more`."""
    size = 0
    if "tool_calls" in message:
        calls = message["tool_calls"]
        more.append(orjson.dumps([call["function"] for call in calls]))
        size += count_bytes(more[-1], count)
    if "reasoning_content" in message:
        more.append(message["reasoning_content"].encode())
        size += count_bytes(more[-1], count)
    return size


def count_bytes(text: bytes, count: Count) -> int:
    """Tokens of a text in UTF-8."""
    return len(text) + 3 >> 2 if count is estimate else count(text.decode())
