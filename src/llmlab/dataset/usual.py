"""The usual row, checked and measured in one pass: `{"messages": […]}` of role and content in ASCII, counted with the estimate.

Most lines of most datasets are of this form, and `to_example` and `measure` take three times as long to say the same of them: a test
holds the two together. Whatever is unusual, or wrong, or has a key that is read or would be told, is left to them: `forms` says which.
"""

from collections.abc import Mapping
from typing import Any
from zlib import adler32, crc32

from llmlab.dataset.formats import Format
from llmlab.dataset.forms import plan_of
from llmlab.dataset.keys import HARMLESS

BYTES_PER_TOKEN = 4
MARKS_PER_MESSAGE = 5
"""ChatML writes `<|im_start|>role\n … <|im_end|>\n`."""
ROLES = ("user", "assistant", "system")

Measured = tuple[int, int, int, bool]
"""Tokens, tokens that carry loss, the digest of the content, and whether an answer has anything in it."""


def digest(content: bytes, learned: int) -> int:
    """64 bits that tell examples apart: the CRC-32 of all, and the Adler-32 of the end, at a fifth of a cryptographic hash's time.

    The tokens that carry loss go in as well, and stand for the roles and the length. That two different examples among a million lines have
    one digest has a chance of less than one in a thousand.
    """
    return crc32(content) << 32 | adler32(content[-TAIL:], learned & 0xFFFF)


TAIL = 256
_usual: dict[tuple[str, ...], bool] = {}
"""Sets of keys, and whether a row with them is of messages with nothing beside them but what is harmless."""
MOST_USUAL = 4096


def _is_usual(keys: tuple[str, ...]) -> bool:
    if len(_usual) >= MOST_USUAL:
        _usual.clear()
    plan = plan_of(keys)
    usual = plan.form is not None and plan.form.format is Format.MESSAGES and all(key == "messages" or key in HARMLESS for key in keys)
    _usual[keys] = usual = usual and not plan.label and not plan.suspects
    return usual


def measure_usual(row: Mapping[str, Any]) -> Measured | None:
    """What `measure` would find, or None when the row is not of the usual form."""
    messages = row.get("messages")
    if type(messages) is not list:
        return None
    keys = tuple(row)
    usual = _usual.get(keys)
    if not (_is_usual(keys) if usual is None else usual):
        return None
    contents = []
    tokens = trained = answers = 0
    full = False
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return None
        role, content = message.get("role"), message.get("content")
        if type(content) is not str or role not in ROLES:
            return None
        size = len(content) + 3 >> 2
        tokens += size
        contents.append(content)
        if role == "assistant":
            trained += size
            answers += 1
            full = full or (size > 0 and not content.isspace())
    joined = "\0".join(contents)
    if not answers or not joined.isascii():
        return None
    trained += answers * MARKS_PER_MESSAGE
    return tokens + len(contents) * MARKS_PER_MESSAGE, trained, digest(joined.encode(), trained), full
