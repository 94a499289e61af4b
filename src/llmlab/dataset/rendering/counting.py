"""Count the tokens of a draft, and those that carry loss: as the trainer makes them, where the model's tokenizer is at hand.

Without it they are estimated, at four bytes a token of what the template makes. A tokenizer that makes other tokens of a cut text
gets the whole, and an answer whose edge lies within a token is refused, as in the trainer.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmlab.dataset import BadRow
from llmlab.dataset.rendering.drafts import Draft
from llmlab.dataset.rendering.model_files import ModelFiles
from llmlab.dataset.rendering.parts import edge, joins, parts_of, stretches
from llmlab.errors import UsageError, one_line

Lengths = tuple[int, int]
"""The number of tokens, and of those among them that carry loss."""
BYTES_A_TOKEN = 4


def is_installed() -> bool:
    """Whether the package tokenizers is installed, which reads a model's tokenizer."""
    from importlib.util import find_spec

    return find_spec("tokenizers") is not None


def counting(files: ModelFiles) -> Callable[[Draft], Lengths]:
    """The function that counts a draft's tokens.

    Raises:
        UsageError: the tokenizer cannot be read.
    """
    if files.vocabulary is None or not is_installed():
        return _estimated
    return _TokenCounter(files.vocabulary, files)


def _estimated(draft: Draft) -> Lengths:
    if draft.spans is None:
        size = _size(draft.text) + 1
        return size, size - 1
    sizes = [(_size(text), carries) for text, carries in parts_of(draft.text, draft.spans)]
    return sum(size for size, _ in sizes), sum(size for size, carries in sizes if carries)


def _size(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN)


class _TokenCounter:
    """Counts the tokens of drafts with one tokenizer."""

    def __init__(self, file: Path, files: ModelFiles) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import AddedToken, Tokenizer

        try:
            self.tokenizer: Any = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises bare Exception
            raise UsageError(f"{file} is not a tokenizer: {one_line(error)}", "llmlab validate --help") from error
        if (scheme := files.prepend_scheme) and "ByteLevel" not in f"{self.tokenizer.pre_tokenizer}{self.tokenizer.decoder}":
            self._as_llama(scheme)
        self.tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in files.more_tokens])
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        names = files.special_tokens_map
        self.begin, self.end = (self.tokenizer.token_to_id(names.get(name, "")) for name in ("bos_token", "eos_token"))
        ids = (self.tokenizer.token_to_id(token) for token in files.special)
        self.control = frozenset(number for number in ids if number is not None)
        self.joins = not any(token.get("lstrip") or token.get("rstrip") for token in files.added) and joins(self.tokenizer)

    def __call__(self, draft: Draft) -> Lengths:
        if draft.spans is None:
            return self._plain(draft.text)
        if self.joins:
            parts = list(parts_of(draft.text, draft.spans))
            coded = self.tokenizer.encode_batch_fast([text for text, _ in parts], add_special_tokens=False)
            sizes = [len(each.ids) for each in coded]
            trained = sum(size for size, (_, carries) in zip(sizes, parts, strict=True) if carries)
            return self._checked(draft, sum(sizes), trained)
        coded = self.tokenizer.encode(draft.text, add_special_tokens=False)
        edges = [(edge(draft.text, start, coded, self.control), edge(draft.text, end, coded, self.control)) for start, end in draft.spans]
        return self._checked(draft, len(coded.ids), sum(end - start for start, end in edges))

    def _as_llama(self, scheme: str) -> None:
        """The rules that transformers puts around the vocabulary of a tokenizer of Llama's, whatever its file says.

        https://github.com/huggingface/transformers/blob/main/src/transformers/models/llama/tokenization_llama.py
        """
        from tokenizers import decoders, pre_tokenizers

        self.tokenizer.normalizer = None
        self.tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
        strip = [decoders.Strip(content=" ", left=1)] if scheme != "never" else []
        self.tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])

    def _checked(self, draft: Draft, tokens: int, trained: int) -> Lengths:
        if not trained:
            start, end = (draft.spans or [(0, 0)])[-1]
            raise BadRow(f"the answer {draft.text[start:end][:30]!r} makes no tokens")
        return tokens, trained

    def _plain(self, text: str) -> Lengths:
        """A text as the tokenizer begins it, and ended by its end token; both once."""
        first, *more = list(stretches(text)) or [""]
        ids = self.tokenizer.encode(first, add_special_tokens=True).ids
        for part in more:
            ids += self.tokenizer.encode(part, add_special_tokens=False).ids
        twice = self.begin is not None and len(ids) > 1 and ids[0] == ids[1] == self.begin
        size = len(ids) - twice + (self.end is not None and (not ids or ids[-1] != self.end))
        return size, max(0, size - 1)
