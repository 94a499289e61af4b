"""Find where an answer begins, in templates whose prompt is no prefix of the conversation with its answer.

Two kinds of templates are so. Some ask with more than they keep: DeepSeek R1 asks with `<think>` and renders an answer without. There the
answer begins where the two part. How far they agree must not hang on what the answer says, which may begin like the template's own words
(`<thead>`, or nothing at all, with the end of turn right behind): a plain answer in its place shows that. Others render the turns before
differently once the answer is there: gpt-oss drops the thoughts before a call, Qwen3 the empty thoughts of an answer before this one. There
the prompt stands as it is asked, and the answer behind it as it is rendered: that is what a model sees when it is served.
"""

from typing import Any

from llmlab.dataset import BadRow
from llmlab.dataset.rendering.shown import THOUGHTS
from llmlab.dataset.rendering.template import ASKS, TokenizerTemplate

WORDS = "\ue000"
"""A character of the private use area: a plain answer that no template's own words begin like."""


def begins(template: TokenizerTemplate, before: str, upto: str, messages: list[Any], tools: list[Any]) -> tuple[str, int]:
    """The text of a conversation that ends with its last message, and where that begins.

    Args:
        template: the chat template.
        before: the conversation before it, as the model would be asked.
        upto: the conversation up to it, as it is rendered.
        messages: its messages, the last of which is the answer.
        tools: its tools.

    Raises:
        BadRow: it cannot be told where the answer begins.
    """
    earlier = template.render(messages[:-1], tools)
    at, plain = words_at(template, messages, tools)
    start = min(alike(before, upto), alike(before, plain)) if at >= 0 else alike(before, upto)
    if start >= len(earlier) and upto.startswith(earlier):
        if at >= start and not THOUGHTS.sub("", plain[start:at]).strip():
            return upto, start
        if any(first <= start < last for first, last in template.twin_marks(messages, tools, upto)):
            return upto, start
    asks = before[len(earlier) :] if before.startswith(earlier) else ""
    place = plain.rfind(asks, 0, at) + len(asks) if asks and at >= 0 else -1
    if place >= len(asks) > 0 and plain[:place] == upto[:place] and plain[place:at] == _lead(template):
        return before + upto[place:], len(before)
    index = len(messages) - 1
    if messages[index - 1]["role"] == "assistant":
        raise BadRow(f"messages[{index}]: two assistant messages in a row, which this chat template does not take: make them one")
    raise BadRow(
        f"messages[{index}]: the chat template renders what comes before this answer differently once it is there: "
        f"give each answer a row of its own, with what came before it"
    )


def _lead(template: TokenizerTemplate) -> str | None:
    """What stands between the prompt and the words of a plain answer; None where the prompt is no prefix even of the plainest."""
    before = template.render([ASKS], [], prompt=True)
    at, plain = words_at(template, [ASKS, ASKS], [])
    return plain[len(before) : at] if plain.startswith(before) else None


def words_at(template: TokenizerTemplate, messages: list[Any], tools: list[Any]) -> tuple[int, str]:
    """Where the words of a plain answer in the last message's place begin, and its conversation; -1 where none is rendered."""
    try:
        plain = template.render([*messages[:-1], {"role": "assistant", "content": WORDS}], tools)
    except BadRow:
        return -1, ""
    return plain.rfind(WORDS), plain


def alike(text: str, other: str) -> int:
    """The number of characters that two texts have in common at their beginning."""
    low, high = 0, min(len(text), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text[low:middle] == other[low:middle] else (low, middle - 1)
    return low
