"""An example as the text that the model sees, with the spans of it that the assistant says: there is loss, and nowhere else.

Where the model's own template marks the assistant's words (`{% generation %}`), the marks decide. Else the words of message `i` lie between
the conversation before it, as the model would be asked (with the generation prompt), and the conversation up to it; both must be prefixes
of the whole. Some templates render a turn differently once another follows (Qwen3 drops the thinking of earlier turns): such a turn
becomes a sequence of its own, as the model will see it when it is asked. Where the prompt is no prefix (a template that asks for thinking,
and an answer without), the twin's marks of `template` are taken, from where the answer leaves the prompt. The twin's marks do not come
first, though they would save renderings: they count line ends and role headers to the answer, and turns whose thinking was dropped.
What cannot be told apart even so is refused with the message at fault, and so is an answer that the template does not show: nothing is
ever trained on silently.

The price: a template without marks is rendered twice for each trained message.
"""

import re
from collections.abc import Iterator, Sequence as Several
from dataclasses import dataclass
from typing import Any

from llmlab.dataset import BadRow, Example, Kind
from llmlab.trainer.examples.template import ChatTemplate, Span
from llmlab.trainer.examples.unfinished import without_ends

TAIL = 12
"""Characters of an answer's end that must be seen in what the template made of it."""


@dataclass(frozen=True)
class Draft:
    """The text of a sequence, and the spans of its characters that carry loss; None for plain text, which does all over."""

    text: str
    spans: Several[Span] | None

    @property
    def answers(self) -> str:
        """What carries loss, without what lies between."""
        return self.text if self.spans is None else "".join(self.text[start:end] for start, end in self.spans)


class OtherObjective(BadRow):
    """The row is a good one, for another objective than the recipe's. `objective` is the one that it suits."""

    def __init__(self, reason: str, objective: str) -> None:
        super().__init__(reason)
        self.objective = objective


class Drafter:
    """Examples to drafts for one chat template. `special` are the tokenizer's control tokens."""

    def __init__(self, template: ChatTemplate, objective: str, special: tuple[str, ...]) -> None:
        self.template = template
        self.objective = objective
        self.special = special
        self.control = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)")

    def drafts(self, example: Example) -> list[Draft]:
        """One, or several where the template asks for it; chosen and rejected of a preference.

        Raises:
            BadRow: the template refuses the messages, or the assistant's words cannot be told from the rest.
        """
        kind = example.kind
        if self.objective == "dpo" and kind is not Kind.PREFERENCE:
            raise OtherObjective(f"a row of {kind} cannot be learned from with objective dpo: it has no chosen and rejected", "sft")
        if self.objective == "sft" and kind is Kind.PREFERENCE:
            raise OtherObjective("a preference (chosen, rejected) cannot be learned from with objective sft", "dpo")
        if kind is Kind.KTO:
            raise BadRow("an unpaired preference (label) cannot be learned from yet: make pairs of chosen and rejected")
        if kind is Kind.TEXT:
            return [Draft(example.text, None)]
        if not self.template.exists:
            raise BadRow("the model has no chat template, so it cannot be taught messages; use an instruct model, or rows of text")
        if kind is Kind.PREFERENCE:
            return [self._answered(example, side) for side in ("chosen", "rejected")]
        made = self._chat(example.messages[: example.trained[-1] + 1], example.tools, example.trained)
        return [Draft(draft.text, spans) for draft, spans in zip(made, without_ends(made, example), strict=True)]

    def spells_control(self, example: Example) -> bool:
        """Whether a content writes out a control token."""
        search = self.control.search
        every = (*example.messages, *example.chosen, *example.rejected)
        return any(search(one["content"]) or search(one.get("reasoning_content") or "") for one in every) or bool(search(example.text))

    def stops(self, draft: Draft) -> bool:
        """Whether the last answer ends in a control token, which is what makes the model stop."""
        return draft.spans is None or draft.text[: draft.spans[-1][1]].rstrip().endswith(self.special)

    def _answered(self, example: Example, side: str) -> Draft:
        """The prompt and one of its two answers, with loss on the answer alone."""
        answer = example.chosen if side == "chosen" else example.rejected
        first = len(example.messages)
        trained = [first + at for at, message in enumerate(answer) if message["role"] == "assistant"]
        if not trained:
            raise BadRow(f"{side} has no assistant message after the shared prompt")
        made = self._chat([*example.messages, *answer][: trained[-1] + 1], example.tools, trained)
        if len(made) > 1:
            raise BadRow(f"{side}: the chat template renders its first answer differently once another follows")
        return made[0]

    def _chat(self, messages: list[Any], tools: list[Any], trained: list[int]) -> list[Draft]:
        if self.template.has_marks(tools):
            whole, marks = self.template.marked(messages, tools)
            if not marks:
                raise BadRow("the chat template renders nothing for the assistant")
            others = [message["role"] != "assistant" for message in messages]
            if any(others) and sum(end - start for start, end in marks) == len(whole):
                raise BadRow("the chat template marks everything as the assistant's, so that its words cannot be told from the rest")
            made = [Draft(whole, marks)] if sum(others) + len(trained) == len(messages) else []
        else:
            whole, marks, made = self.template.render(messages, tools), None, []
        made = made or list(self._by_prefix(whole, marks, messages, tools, trained))
        self._check(made, messages, trained)
        return made

    def _by_prefix(
        self, whole: str, marks: list[Span] | None, messages: list[Any], tools: list[Any], trained: list[int]
    ) -> Iterator[Draft]:
        """Loss on the trained messages alone, each found between two prefixes of the whole."""
        kept: list[Span] = []
        for index in trained:
            if not index:
                raise BadRow("messages[0]: an answer with nothing before it, which this chat template cannot tell from the rest")
            before = self.template.render(messages[:index], tools, prompt=True)
            upto = whole if index == len(messages) - 1 else self.template.render(messages[: index + 1], tools)
            start = len(before) if upto.startswith(before) else self._leaves(before, upto, messages[: index + 1], tools)
            end = self._end(upto)
            if start >= end:
                raise BadRow(f"messages[{index}]: the chat template renders nothing for this answer")
            there = self._end_in(whole, upto, start, end)
            if there is None:
                yield Draft(upto, [(start, end)])
            elif marks is None:
                kept.append((start, there))
            else:
                kept += [mark for mark in marks if start <= mark[0] < len(upto)]
        if kept:
            yield Draft(whole, kept)

    def _leaves(self, before: str, upto: str, messages: list[Any], tools: list[Any]) -> int:
        """Where an answer leaves the prompt that asks for it, when the twin's marks say that it has begun there.

        Raises:
            BadRow: there is no twin that renders the same, or it says otherwise.
        """
        index = len(messages) - 1
        said = self.template.render(messages[:index], tools)
        common = _alike(before, upto)
        marks = self.template.twin_marks(messages, tools, upto)
        if common < len(said) or not upto.startswith(said) or not any(start <= common < end for start, end in marks):
            raise BadRow(f"messages[{index}]: the chat template renders what comes before this answer differently once it is there")
        return common

    def _end(self, text: str) -> int:
        """Where the last turn of a conversation ends: behind its control token, when only white space follows, which is the template's."""
        end = len(text.rstrip())
        return end if text.endswith(self.special, 0, end) else len(text)

    def _end_in(self, whole: str, upto: str, start: int, end: int) -> int | None:
        """Where an answer ends in the whole conversation, or None when it does not stand there as it stands at the end of its own.

        What the template puts behind the last turn (Phi 3: an end token of its own) does not count, as long as the answer ended before.
        """
        if whole.startswith(upto):
            return end
        ends = [found.end() for found in self.control.finditer(upto, start, _alike(upto, whole))]
        return ends[-1] if ends and not self.control.sub("", upto[ends[-1] :]).strip() else None

    def _check(self, made: list[Draft], messages: list[Any], trained: list[int]) -> None:
        """That the template shows what the answers say: some leave out what they do not know, without a word."""
        said = "".join(draft.answers for draft in made)
        for index in trained:
            message = messages[index]
            if message["content"].strip()[-TAIL:] not in said:
                raise BadRow(f"messages[{index}]: the chat template does not show what this answer says")
            if any(call["function"]["name"] not in said for call in message.get("tool_calls", ())):
                raise BadRow(f"messages[{index}]: the chat template does not show the tool calls of this answer")

    def drops_thoughts(self, example: Example, drafts: Several[Draft]) -> bool:
        """Whether the answers have thoughts, and the template shows none of them."""
        every = (*example.messages, *example.chosen, *example.rejected)
        thoughts = [one["reasoning_content"].strip()[-TAIL:] for one in every if (one.get("reasoning_content") or "").strip()]
        return bool(thoughts) and not any(thought in draft.text for thought in thoughts for draft in drafts)


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low
