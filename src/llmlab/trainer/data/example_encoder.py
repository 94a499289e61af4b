"""Tokenises texts, many at once, and turns the spans of characters that carry loss (`drafts`) into loss masks.

A conversation is cut at the edges of its answers and the parts are tokenised by themselves, as a server does with the prompt: a token that
spans prompt and answer would never occur at inference. Where a tokenizer minds the cut (Llama 2 puts a space before every
text), the whole is tokenised, and an edge within a token refused. Control tokens written out in a message's content become control
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
from llmlab.dataset.rendering.drafts import Draft, Drafter
from llmlab.dataset.rendering.limits import Span
from llmlab.dataset.rendering.parts import STRETCH, edge, joins, no_edge, parts_of, stretches
from llmlab.dataset.rendering.template import LONG_AGO, TokenizerTemplate
from llmlab.trainer.data.token_dataset import Ids, Mask


@dataclass(frozen=True)
class Sequence:
    """Token ids, and 1 for each that carries loss; both of one length. The first never does: nothing predicts it."""

    ids: Ids
    mask: Mask
    good: bool = True
    """Whether its answer is one to learn; false for the worse ones of unpaired preferences."""

    @property
    def trained(self) -> int:
        return int(self.mask.sum())


def special_tokens(tokenizer: Any) -> set[str]:
    """A tokenizer's special tokens: those that it names, and those that were added to it as special."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)} - {""}


class Encoder:
    """Examples to sequences for one tokenizer. `today` is what a chat template is told when it asks for the date."""

    def __init__(self, tokenizer: Any, objective: str = "sft", today: datetime = LONG_AGO) -> None:
        self.tokenizer = tokenizer
        self.objective = objective
        special = sorted(special_tokens(tokenizer))
        self.template = TokenizerTemplate(tokenizer, today, tuple(special))
        self.control = set(tokenizer.convert_tokens_to_ids(special))
        self.drafter = Drafter(self.template, objective)
        self.fast: Any = tokenizer.backend_tokenizer if getattr(tokenizer, "is_fast", False) else None
        if self.fast is not None:
            self.fast.no_truncation()  # a tokenizer.json may carry either, and nothing would be said
            self.fast.no_padding()

    def suited(self, objective: str, today: datetime) -> "Encoder":
        """The same tokenizer for another objective and day."""
        return Encoder(self.tokenizer, objective, today)

    @property
    def width(self) -> int:
        """Sequences of an item: chosen and rejected for dpo, else one."""
        return 2 if self.objective == "dpo" else 1

    def encode(self, example: Example) -> list[Sequence]:
        """Tokenise an example: to one sequence, to several where the template asks for it, or to chosen and rejected of a preference.

        Raises:
            BadRow: the template refuses the messages, or the assistant's words cannot be told from the rest.
        """
        sequences = self.paired(example, self.sequences(self.drafter.drafts(example)))
        if isinstance(sequences, BadRow):
            raise sequences
        return sequences

    def identity(self) -> list[Any]:
        """What the tokens depend on besides the data: tokenizer, template, objective and date."""
        fast = self.fast.to_str() if self.fast is not None else repr(sorted(self.tokenizer.get_vocab().items()))
        digest = blake2b(fast.encode("utf-8", "surrogatepass")).hexdigest()
        template = self.template
        return [digest, template.sources(), template.names, self.tokenizer.eos_token_id, self.objective, template.today.isoformat()]

    def sequences(self, drafts: Several[Draft]) -> list[Sequence | BadRow]:
        """Tokenise many texts at once, which is quicker than one by one; a text at fault gives its error instead."""
        plain = iter(self._plain([draft.text for draft in drafts if draft.spans is None]))
        chats = iter(self._chats([(draft.text, draft.spans) for draft in drafts if draft.spans is not None]))
        return [_everything(next(plain)) if draft.spans is None else next(chats) for draft in drafts]

    def paired(self, example: Example, tokenized: Several[Sequence | BadRow]) -> list[Sequence] | BadRow:
        """The sequences of one example, or its error; the two of a preference have to agree on the prompt."""
        sequences = []
        for sequence in tokenized:
            if isinstance(sequence, BadRow):
                return sequence
            sequences.append(sequence)
        if example.kind is Kind.PREFERENCE:
            first, other = (int(sequence.mask.argmax()) for sequence in sequences)
            if first != other or not np.array_equal(sequences[0].ids[:first], sequences[1].ids[:first]):
                return BadRow("chosen and rejected do not begin with the same prompt once they are rendered")
        return sequences

    def _plain(self, texts: list[str]) -> Iterator[Ids]:
        """Texts as the tokenizer begins them, and ended by its end token; a text that spells either has it once."""
        end, begin = self.tokenizer.eos_token_id, self.tokenizer.bos_token_id
        if self._joins:
            lead = _array(self.tokenizer("")["input_ids"])
            lead = lead[:-1] if len(lead) and lead[-1] == end else lead
            cut = [list(stretches(text)) for text in texts]
            parts = self._batch([part for parts in cut for part in parts])
            coded: Iterator[Ids] = (np.concatenate([lead, *(next(parts) for _ in parts_)]) for parts_ in cut)
        else:
            coded = (_array(self.tokenizer(text)["input_ids"]) for text in texts)
        for doubled in coded:
            twice = begin is not None and len(doubled) > 1 and doubled[0] == doubled[1] == begin
            ids = doubled[1:] if twice else doubled
            yield ids if end is None or (len(ids) and ids[-1] == end) else np.append(ids, np.uint32(end))

    def _chats(self, drafts: list[tuple[str, Several[Span]]]) -> Iterator[Sequence | BadRow]:
        """Conversations cut at the edges of their answers, or whole where the tokenizer minds the cut."""
        if self._joins:
            cut = [list(parts_of(text, spans)) for text, spans in drafts]
            ids = self._batch([part for parts in cut for part, _ in parts])
            for (text, spans), parts in zip(drafts, cut, strict=True):
                yield _sequence([next(ids) for _ in parts], [carries for _, carries in parts], text, spans)
            return
        coded = self.fast.encode_batch([text for text, _ in drafts], add_special_tokens=False) if self.fast else [None] * len(drafts)
        for (text, spans), encoding in zip(drafts, coded, strict=True):
            try:
                yield self._masked(text, spans, encoding)
            except BadRow as error:
                yield error

    def _masked(self, text: str, spans: Several[Span], coded: Any) -> Sequence | BadRow:
        """Tokenise a whole text and find its loss mask by the place of each token.

        Raises:
            BadRow: a token lies across the edge of an answer.
        """
        ids = self._ids(text) if coded is None else _array(coded.ids)
        places = [self._token_at(text, place, ids, coded) for span in spans for place in span]
        edges = [0, *places, len(ids)]
        parts = [ids[start:end] for start, end in pairwise(edges)]
        return _sequence(parts, [index % 2 == 1 for index in range(len(parts))], text, spans)

    def _token_at(self, text: str, place: int, ids: Ids, coded: Any) -> int:
        """The token that begins at a character.

        Raises:
            BadRow: none does.
        """
        if coded is not None:
            return edge(text, place, coded, self.control)
        if place in {0, len(text)}:
            return len(ids) if place else 0
        before = self._ids(text[:place])
        if np.array_equal(before, ids[: len(before)]):
            return len(before)
        raise no_edge(text, place)

    def _ids(self, text: str) -> Ids:
        if self.fast is None:
            return _array(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return _array(self.fast.encode(text, add_special_tokens=False).ids)

    def _batch(self, texts: list[str]) -> Iterator[Ids]:
        """The tokens of each text, without control tokens around it; some `STRETCH` of characters at a time."""
        start = size = 0
        for at, text in enumerate(texts, start=1):
            size += len(text)
            if size >= STRETCH or at == len(texts):
                for encoding in self.fast.encode_batch_fast(texts[start:at], add_special_tokens=False):
                    yield _array(encoding.ids)
                start, size = at, 0

    @cached_property
    def _joins(self) -> bool:
        """Whether a text's parts can be tokenised by themselves.

        Some tokenizers put a space before whatever they are given, or take it away, and some control tokens swallow the space around them.
        """
        added = getattr(self.tokenizer, "added_tokens_decoder", {}).values()
        if self.fast is None or any(token.lstrip or token.rstrip for token in added):
            return False
        return joins(self.fast)


def _everything(ids: Ids) -> Sequence:
    mask = np.ones(len(ids), np.uint8)
    mask[:1] = 0
    return Sequence(ids, mask)


def _sequence(parts: list[Ids], carries: list[bool], text: str, spans: Several[Span]) -> Sequence | BadRow:
    mask = np.repeat(np.array(carries, np.uint8), [len(part) for part in parts])
    mask[:1] = 0
    if not mask.any():
        start, end = spans[-1]
        return BadRow(f"the answer {text[start:end][:30]!r} makes no tokens")
    return Sequence(np.concatenate(parts), mask)


def _array(ids: Several[int]) -> Ids:
    return np.array(ids, np.uint32)
