"""The usual row, checked and measured in one pass: `{"messages": […]}` of role and content in ASCII, counted with the estimate.

Most lines of most datasets are of this form, and `to_example` and `measure` take three times as long to say the same of them: a test
holds the two together. Whatever is unusual, or wrong, is left to them.
"""

from collections.abc import Mapping
from typing import Any

BYTES_PER_TOKEN = 4
MARKS_PER_MESSAGE = 5
"""ChatML writes `<|im_start|>role\n … <|im_end|>\n`."""
ROLES = ("user", "assistant", "system")
ELSE = frozenset({"request", "chosen", "tools"})
"""Keys that make a row with messages into something else."""


def measure_usual(row: Mapping[str, Any]) -> tuple[int, int, bytes, bool] | None:
    """Tokens, tokens that carry loss, the content's bytes, and whether an answer has anything in it; None for any other row."""
    messages = row.get("messages")
    if type(messages) is not list or not ELSE.isdisjoint(row):
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
    return tokens + len(contents) * MARKS_PER_MESSAGE, trained + answers * MARKS_PER_MESSAGE, joined.encode(), full
