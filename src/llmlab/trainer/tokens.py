"""An example to token ids and labels, exactly: loss on what the assistant says, and on nothing else.

Where the model's chat template marks the assistant's words (`{% generation %}`), the marks decide. Else the words of message `i` are the
tokens between the conversation before it, as the model would be asked (with the generation prompt), and the conversation up to it; both
must be prefixes of the whole, token by token. Some templates render a turn differently once another follows (Qwen3 drops the thinking of
earlier turns): such a turn becomes a sequence of its own, as the model will see it when it is asked. Where even that is not exact, the
example is refused with the message that is at fault; nothing is ever trained on silently.

The price: a template without marks is rendered twice more for each trained message.
"""

import re
from dataclasses import dataclass
from typing import Any

from llmlab.dataset import BadRow, Example, Kind

IGNORED = -100
"""The label of a token that carries no loss, torch's convention."""
MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Sequence:
    """Token ids, and the ids again where there is loss, else `IGNORED`; both of one length."""

    ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        return sum(label != IGNORED for label in self.labels)


class Encoder:
    """Examples to sequences for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.special = set(tokenizer.all_special_ids)
        template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
        self.has_template = bool(template)
        self.has_marks = bool(MARKS.search(template))
        self.shows_tools = "tools" in template

    def encode(self, example: Example) -> list[Sequence]:
        """One sequence, or several where the template asks for it.

        Raises:
            BadRow: the template refuses the messages, or the assistant's words cannot be told from the rest.
        """
        if example.kind is Kind.TEXT:
            return [self._text(example.text)]
        if example.kind is Kind.PREFERENCE:
            raise BadRow("a preference (chosen, rejected) cannot be learned from with method lora or qlora")
        if not self.has_template:
            raise BadRow("the model has no chat template, so it cannot be taught messages; use an instruct model, or rows of text")
        messages = example.messages[: example.trained[-1] + 1]
        every = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        if self.has_marks:
            whole = self._marked(messages, example.tools)
            if list(example.trained) == every:
                return [whole]
            return self._by_prefix(messages, example, marks=whole)
        return self._by_prefix(messages, example)

    def _text(self, text: str) -> Sequence:
        ids = list(self.tokenizer(text)["input_ids"])
        end = self.tokenizer.eos_token_id
        if end is not None and (not ids or ids[-1] != end):
            ids.append(end)
        return Sequence(ids, list(ids))

    def _marked(self, messages: list[Any], tools: list[Any]) -> Sequence:
        """The whole conversation, with loss where the template's marks are."""
        coded = self._apply(messages, tools, return_assistant_tokens_mask=True)
        ids, mask = list(coded["input_ids"]), coded["assistant_masks"]
        if not any(mask):
            raise BadRow("the chat template renders nothing for the assistant")
        return Sequence(ids, [token if mine else IGNORED for token, mine in zip(ids, mask, strict=True)])

    def _by_prefix(self, messages: list[Any], example: Example, marks: Sequence | None = None) -> list[Sequence]:
        """Loss on the trained messages alone, each found between two prefixes of the whole."""
        whole = marks.ids if marks else self._ids(messages, example.tools)
        labels = [IGNORED] * len(whole)
        sequences = []
        for index in example.trained:
            before = self._ids(messages[:index], example.tools, prompt=True) if index else []
            upto = whole if index == len(messages) - 1 else self._ids(messages[: index + 1], example.tools)
            if not index or upto[: len(before)] != before:
                raise BadRow(f"messages[{index}]: the chat template renders what comes before this answer differently once it is there")
            words = self._words(upto, len(before))
            if not words:
                raise BadRow(f"messages[{index}]: the chat template renders nothing for this answer")
            if whole[: len(upto)] == upto:
                for at in words:
                    labels[at] = whole[at] if marks is None else marks.labels[at]
            else:
                sequences.append(Sequence(upto, [token if at in words else IGNORED for at, token in enumerate(upto)]))
        kept = Sequence(whole, labels)
        return [*sequences, kept] if kept.trained else sequences

    def _words(self, ids: list[int], start: int) -> range:
        """Where an answer's tokens are: from `start` to the token that ends its turn; white space after that is the template's."""
        last = next((at + 1 for at in range(len(ids) - 1, start - 1, -1) if ids[at] in self.special), len(ids))
        return range(start, last if not self.tokenizer.decode(ids[last:]).strip() else len(ids))

    def _ids(self, messages: list[Any], tools: list[Any], *, prompt: bool = False) -> list[int]:
        return list(self._apply(messages, tools, add_generation_prompt=prompt)["input_ids"])

    def _apply(self, messages: list[Any], tools: list[Any], **options: Any) -> Any:
        from jinja2.exceptions import TemplateError

        try:
            return self.tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=True, return_dict=True, **options)
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            raise BadRow(f"the chat template refuses the messages: {' '.join(str(error).split()).rstrip('.')}") from error
