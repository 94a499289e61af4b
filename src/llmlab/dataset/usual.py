"""The usual row, checked and measured in one pass: a conversation of two keys a message, or a question and its answer, in ASCII.

Most lines of most datasets are such, counted with the estimate, and `to_example` and `measure` take three times as long to say the same of
them: a test holds the two together. Whatever is unusual, or wrong, or has a key that is read or would be told, is left to them: `forms`
says which.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from zlib import adler32, crc32

from llmlab.dataset.formats import Format
from llmlab.dataset.forms import plan_of
from llmlab.dataset.keys import HARMLESS
from llmlab.dataset.messages import SPEAKERS

BYTES_PER_TOKEN = 4
MARKS_PER_MESSAGE = 5
"""ChatML writes `<|im_start|>role\n … <|im_end|>\n`."""

Measured = tuple[int, int, int, bool]
"""Tokens, tokens that carry loss, the digest of the content, and whether an answer has anything in it."""


def digest(content: bytes, learned: int) -> int:
    """64 bits that tell examples apart: the CRC-32 of all, and the Adler-32 of the end, at a fifth of a cryptographic hash's time.

    The tokens that carry loss go in as well, and stand for the roles and the length. That two different examples among a million lines have
    one digest has a chance of less than one in a thousand.
    """
    return crc32(content) << 32 | adler32(content[-TAIL:], learned & 0xFFFF)


TAIL = 256


class Shape(NamedTuple):
    """How usual rows of one set of keys are read: a conversation of two keys a message, or a question and its answer in two strings."""

    format: Format
    key: str
    speaker: str = ""
    """Of a conversation: the key of who speaks; of a pair, nothing."""
    words: str = ""
    """Of a conversation: the key of what is said; of a pair, the key of the answer."""


_shapes: dict[tuple[str, ...], Shape | None] = {}
MOST_SHAPES = 4096


def _shape(keys: tuple[str, ...]) -> Shape | None:
    """The shape of rows that have these keys, where nothing beside them is read, told or refused."""
    if len(_shapes) >= MOST_SHAPES:
        _shapes.clear()
    plan = plan_of(keys)
    form = plan.form
    shape = None
    if form is not None and not plan.label and not plan.suspects and all(key in form.needs or key in HARMLESS for key in keys):
        if form.needs[0] in CHATS:
            shape = Shape(form.format, form.needs[0], *CHATS[form.needs[0]])
        elif form.format in PAIRS:
            shape = Shape(form.format, form.needs[0], "", form.needs[1])
    _shapes[keys] = shape
    return shape


CHATS = {"messages": ("role", "content"), "conversations": ("from", "value")}
PAIRS = frozenset({
    Format.PROMPT_COMPLETION, Format.PROMPT_RESPONSE, Format.ALPACA, Format.INSTRUCTION_RESPONSE, Format.QUERY_RESPONSE,
    Format.QUESTION_ANSWER, Format.QUESTION_RESPONSE, Format.INPUT_OUTPUT,
})  # fmt: skip


def usual(row: Mapping[str, Any]) -> tuple[Format, Measured] | None:
    """What `measure` would find, and of which format, or None when the row is not of a usual form."""
    keys = tuple(row)
    shape = _shapes[keys] if keys in _shapes else _shape(keys)
    if shape is None:
        return None
    measured = _chat(row[shape.key], shape.speaker, shape.words) if shape.speaker else _pair(row[shape.key], row[shape.words])
    return (shape.format, measured) if measured else None


def _pair(asked: object, answered: object) -> Measured | None:
    if type(asked) is not str or type(answered) is not str or asked[:2] == "[{" or answered[:2] == "[{":
        return None
    joined = f"{asked}\0{answered}"
    if not joined.isascii():
        return None
    learned = (len(answered) + 3 >> 2) + MARKS_PER_MESSAGE
    full = answered != "" and not answered.isspace()
    return (len(asked) + 3 >> 2) + MARKS_PER_MESSAGE + learned, learned, digest(joined.encode(), learned), full


def _chat(messages: object, speaker: str, words: str) -> Measured | None:
    if type(messages) is not list:
        return None
    contents = []
    tokens = trained = answers = 0
    full = False
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return None
        role, content = message.get(speaker), message.get(words)
        if type(content) is not str or type(role) is not str:
            return None
        size = len(content) + 3 >> 2
        tokens += size
        contents.append(content)
        if role in ANSWERS:
            trained += size
            answers += 1
            full = full or (size > 0 and not content.isspace())
        elif role not in OTHERS:
            return None
    joined = "\0".join(contents)
    if not answers or not joined.isascii():
        return None
    trained += answers * MARKS_PER_MESSAGE
    return tokens + len(contents) * MARKS_PER_MESSAGE, trained, digest(joined.encode(), trained), full


ANSWERS = frozenset(name for name, role in SPEAKERS.items() if role == "assistant")
OTHERS = frozenset(name for name, role in SPEAKERS.items() if role in {"user", "system"})
