"""Cut a text at the edges of its answers before it is tokenised, as a server does with the prompt."""

from collections.abc import Iterator, Sequence as Several, Set as AbstractSet
from typing import Any

from llmlab.dataset.reasons import BadRow
from llmlab.dataset.rendering.limits import Span

STRETCH = 4 << 20
"""Characters tokenised at once: the tokenizer takes some hundred bytes for each token while it works."""


def joins(tokenizer: Any) -> bool:
    """Whether a text's parts can be tokenised by themselves: some tokenizers put a space before what they are given, or take it away."""

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    decode = tokenizer.decode
    pairs = (("x", "x"), ("x ", " x"), ("x\n", "\nx"))
    return all(decode([*ids(first), *ids(second)]) == decode(ids(first + second)) for first, second in pairs)


def edge(text: str, place: int, coded: Any, control: AbstractSet[int]) -> int:
    """The index of the token of a whole text that begins at a character. A control token may take the white space behind it along.

    Raises:
        BadRow: none begins there.
    """
    if place in {0, len(text)}:
        return len(coded.ids) if place else 0
    first = next((token for at in range(place, len(text)) if (token := coded.char_to_token(at)) is not None), len(coded.ids))
    if first == len(coded.ids):
        return int(first)
    begins, ends = coded.token_to_chars(first)
    if first:
        begins = min(begins, coded.token_to_chars(first - 1)[1])  # white space between two tokens is the second's
    if begins >= place:
        return int(first)
    if coded.ids[first] in control and text[place:ends].isspace():
        return int(first) + 1
    raise no_edge(text, place)


def no_edge(text: str, place: int) -> BadRow:
    """Why a conversation cannot be trained on whose tokens lie across the edge of an answer."""
    return BadRow(f"the tokens around the edge of an answer, {text[max(0, place - 10) : place + 10]!r}, do not end there")


def parts_of(text: str, spans: Several[Span]) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text cut at the edges of its answers, and whether each part is an answer."""
    last = 0
    for start, end in (*spans, (len(text), len(text))):
        for piece in stretches(text[last:start]) if start > last else ():
            yield piece, False
        for piece in stretches(text[start:end]) if end > start else ():
            yield piece, True
        last = end


def stretches(text: str) -> Iterator[str]:
    """A text in parts of at most `STRETCH` characters, cut behind a line's end or before a space where there is one."""
    start = 0
    while len(text) - start > STRETCH:
        half, end = start + STRETCH // 2, start + STRETCH
        cut = text.rfind("\n", half, end) + 1 or text.rfind(" ", half, end)
        cut = cut if cut > start else end
        yield text[start:cut]
        start = cut
    yield text[start:]
