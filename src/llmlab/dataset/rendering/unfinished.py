"""Answers that were cut off at the limit of their length: what they say is learned, and that they end there is not.

The end of such an answer's loss moves from behind the template's end of turn to behind the last thing the answer says. Answers stand in the
drafts in the order of the messages, so that each is looked for behind the one before it.
"""

from collections.abc import Sequence as Several
from typing import Protocol

from llmlab.dataset import Example
from llmlab.dataset.rendering.limits import Span


class Drafted(Protocol):
    """A text, and the spans of it that carry loss."""

    @property
    def text(self) -> str: ...
    @property
    def spans(self) -> Several[Span] | None: ...


def without_ends(drafts: Several[Drafted], example: Example) -> list[Several[Span] | None]:
    """The spans of each draft, those of cut answers shortened. Nothing changes where no answer was cut."""
    spans = [draft.spans for draft in drafts]
    if not any("cut" in example.messages[at] for at in example.trained):
        return spans
    places = [(at, index) for at, draft in enumerate(drafts) for index in range(len(draft.spans or ()))]
    shortened = [list(some) if some is not None else None for some in spans]
    for at in example.trained:
        message = example.messages[at]
        last = (message["content"] or message.get("reasoning_content") or "").strip()
        while places:
            draft, index = places.pop(0)
            kept = shortened[draft]
            if kept is None:
                continue
            start, end = kept[index]
            begins = drafts[draft].text.rfind(last, start, end) if last else start
            if begins < 0:
                continue
            if "cut" in message:
                kept[index] = (start, begins + len(last))
            break
    return [[(start, end) for start, end in some if end > start] if some is not None else None for some in shortened]
