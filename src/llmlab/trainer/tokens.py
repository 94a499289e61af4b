"""Texts to token ids, many at once, and the spans of characters that carry loss (`drafts`) to tokens.

A token may not lie across the edge of an answer, because the model would never be asked with half of it: there the text is cut and its
parts are tokenised by themselves, as a server does with the prompt. Control tokens written out in a message's content become control
tokens, since that is what a server makes of them, too; they are counted, so that nobody is surprised.
"""

from collections.abc import Iterator, Sequence as Several
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np

from llmlab.dataset import BadRow, Example, Kind
from llmlab.trainer.drafts import Draft, Drafter
from llmlab.trainer.store import Ids, Mask
from llmlab.trainer.template import LONG_AGO, ChatTemplate, Span

STRETCH = 4 << 20
"""Characters tokenised at once: the tokenizer takes some hundred bytes for each token while it works."""


@dataclass(frozen=True)
class Sequence:
    """Token ids, and 1 for each that carries loss; both of one length. The first never does: nothing predicts it."""

    ids: Ids
    mask: Mask

    @property
    def trained(self) -> int:
        return int(self.mask.sum())


class Encoder:
    """Examples to sequences for one tokenizer. `today` is what a chat template is told when it asks for the date."""

    def __init__(self, tokenizer: Any, objective: str = "sft", today: datetime = LONG_AGO) -> None:
        self.tokenizer = tokenizer
        self.objective = objective
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        special = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
        self.template = ChatTemplate(tokenizer, today)
        self.drafter = Drafter(self.template, objective, tuple(sorted(special - {""})))
        self.fast = tokenizer.backend_tokenizer if getattr(tokenizer, "is_fast", False) else None

    def suited(self, objective: str, today: datetime) -> "Encoder":
        """The same tokenizer for another objective and day."""
        return Encoder(self.tokenizer, objective, today)

    @property
    def width(self) -> int:
        """Sequences of an item."""
        return 2 if self.objective == "dpo" else 1

    def encode(self, example: Example) -> list[Sequence]:
        """One sequence, or several where the template asks for it; chosen and rejected of a preference.

        Raises:
            BadRow: the template refuses the messages, or the assistant's words cannot be told from the rest.
        """
        made = self.paired(example, self.sequences(self.drafter.drafts(example)))
        if isinstance(made, BadRow):
            raise made
        return made

    def identity(self) -> list[Any]:
        """What the tokens depend on besides the data: tokenizer, template, objective and date."""
        fast = self.fast.to_str() if self.fast is not None else repr(sorted(self.tokenizer.get_vocab().items()))
        digest = blake2b(fast.encode("utf-8", "surrogatepass")).hexdigest()
        template = self.template
        return [digest, template.sources(), template.names, self.tokenizer.eos_token_id, self.objective, template.today.isoformat()]

    def sequences(self, drafts: Several[Draft]) -> list[Sequence | BadRow]:
        """The tokens of many texts, which is quicker than one by one; what is wrong with a text stands in its place."""
        plain = iter(self._plain([draft.text for draft in drafts if draft.spans is None]))
        coded = iter(self._coded([draft.text for draft in drafts if draft.spans is not None]))
        made: list[Sequence | BadRow] = []
        for draft in drafts:
            try:
                made.append(_everything(next(plain)) if draft.spans is None else self._masked(draft.text, draft.spans, next(coded)))
            except BadRow as error:
                made.append(error)
        return made

    def paired(self, example: Example, made: Several[Sequence | BadRow]) -> list[Sequence] | BadRow:
        """The sequences of one example; of a preference, when the two agree on the prompt."""
        good = []
        for one in made:
            if isinstance(one, BadRow):
                return one
            good.append(one)
        if example.kind is Kind.PREFERENCE:
            first, other = (int(one.mask.argmax()) for one in good)
            if first != other or not np.array_equal(good[0].ids[:first], good[1].ids[:first]):
                return BadRow("chosen and rejected do not begin with the same prompt once they are rendered")
        return good

    def _plain(self, texts: list[str]) -> list[Ids]:
        """Texts as the tokenizer begins them, and ended by its end token."""
        if self.fast is None:
            coded = [_array(self.tokenizer(text)["input_ids"]) for text in texts]
        else:
            lead = _array(self.fast.encode("").ids)
            lead = lead[:-1] if len(lead) and lead[-1] == self.tokenizer.eos_token_id else lead
            short = iter(self.fast.encode_batch_fast([text for text in texts if not self._is_long(text)], add_special_tokens=True))
            coded = [
                np.concatenate([lead, *map(self._ids, _stretches(text))]) if self._is_long(text) else _array(next(short).ids)
                for text in texts
            ]
        end = self.tokenizer.eos_token_id
        return [ids if end is None or (len(ids) and ids[-1] == end) else np.append(ids, np.uint32(end)) for ids in coded]

    def _coded(self, texts: list[str]) -> list[Any]:
        """Each text's encoding with the place of each token; None where there is none to have, or the text is too long for one."""
        if self.fast is None:
            return [None] * len(texts)
        made = iter(self.fast.encode_batch([text for text in texts if not self._is_long(text)], add_special_tokens=False))
        return [None if self._is_long(text) else next(made) for text in texts]

    def _masked(self, text: str, spans: Several[Span], coded: Any) -> Sequence:
        if coded is None and self._is_long(text):
            return self._in_parts(text, spans)
        ids = _array(coded.ids) if coded is not None else self._ids(text)
        mask = np.zeros(len(ids), np.uint8)
        for start, end in spans:
            first, behind = (self._token_at(text, place, ids, coded) for place in (start, end))
            if first is None or behind is None:
                return self._in_parts(text, spans)
            mask[first:behind] = 1
        return _sequence(ids, mask, text, spans)

    def _token_at(self, text: str, place: int, ids: Ids, coded: Any) -> int | None:
        """The token that begins at a character, or None where one lies across it."""
        if place in {0, len(text)}:
            return len(ids) if place else 0
        if coded is None:
            before = self._ids(text[:place])
            return len(before) if np.array_equal(before, ids[: len(before)]) else None
        found = next((token for at in range(place, len(text)) if (token := coded.char_to_token(at)) is not None), None)
        if found is None:
            return len(ids)
        begins = int(coded.token_to_chars(found)[0])
        if found and begins > (last := int(coded.token_to_chars(found - 1)[1])):
            begins = last  # the white space between two tokens is the second's, whose place is given without it
        return int(found) if begins >= place else None

    def _in_parts(self, text: str, spans: Several[Span]) -> Sequence:
        """The text cut at the edges of the answers, each part tokenised by itself."""
        if not self._joins:
            start, end = spans[0]
            raise BadRow(f"the tokens of the answer {text[start:end][:30]!r} run into what stands around it")
        places = sorted({0, len(text), *(place for span in spans for place in span)})
        ids, mask = [], []
        for start, end in pairwise(places):
            carries = any(first <= start < behind for first, behind in spans)
            for part in _stretches(text[start:end]):
                ids.append(self._ids(part))
                mask.append(np.full(len(ids[-1]), carries, np.uint8))
        return _sequence(np.concatenate(ids), np.concatenate(mask), text, spans)

    def _ids(self, text: str) -> Ids:
        if self.fast is None:
            return _array(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return _array(self.fast.encode(text, add_special_tokens=False).ids)

    def _is_long(self, text: str) -> bool:
        return len(text) > STRETCH and self._joins

    @cached_property
    def _joins(self) -> bool:
        """Whether a text's parts can be tokenised by themselves; some tokenizers put a space before whatever they are given."""
        return bool(self.tokenizer.decode([*self._ids("x"), *self._ids("x")]) == self.tokenizer.decode(self._ids("xx")))


def _everything(ids: Ids) -> Sequence:
    mask = np.ones(len(ids), np.uint8)
    mask[:1] = 0
    return Sequence(ids, mask)


def _sequence(ids: Ids, mask: Mask, text: str, spans: Several[Span]) -> Sequence:
    mask[:1] = 0
    if not mask.any():
        start, end = spans[-1]
        raise BadRow(f"the answer {text[start:end][:30]!r} makes no tokens")
    return Sequence(ids, mask)


def _array(ids: Several[int]) -> Ids:
    return np.array(ids, np.uint32)


def _stretches(text: str) -> Iterator[str]:
    """A text in parts of at most `STRETCH` characters, cut behind a newline or a space where there is one."""
    start = 0
    while len(text) - start > STRETCH:
        end = start + STRETCH
        cut = max(text.rfind("\n", start + STRETCH // 2, end), -1) + 1 or text.rfind(" ", start + STRETCH // 2, end) or 0
        cut = cut if cut > start else end
        yield text[start:cut]
        start = cut
    yield text[start:]
