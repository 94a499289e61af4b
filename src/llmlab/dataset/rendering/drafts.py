"""Render an example as the text that the model sees, with the spans that the assistant says: only they carry loss.

Where the model's own template marks the assistant's words (`{% generation %}`), the marks decide. Else the words of message `i` lie between
the conversation before it, as the model would be asked (with the generation prompt), and the conversation up to it; both must be prefixes
of the whole. Some templates render a turn differently once another follows (Qwen3 drops the thinking of earlier turns): such a turn
becomes a sequence of its own, as the model will see it when it is asked. Where the prompt is no prefix, `edges` tells where the answer
leaves it, or puts the answer behind the prompt as it is asked. What cannot be told apart even so is refused with the message at fault, and
so is an answer that the template does not show (`shown`): nothing is ever trained on silently. An answer behind which the template puts
nothing ends with what begins the next turn, which is what its model stops with.

The price: a template without marks is rendered twice for each trained message.
"""

from collections.abc import Iterator, Sequence as Several
from dataclasses import dataclass
from typing import Any

from llmlab.dataset import BadRow, Example, Kind
from llmlab.dataset.formats import OBJECTIVES
from llmlab.dataset.rendering.advice import REFUSES, change
from llmlab.dataset.rendering.edges import alike, begins, words_at
from llmlab.dataset.rendering.limits import Span
from llmlab.dataset.rendering.shown import check, thoughts_in
from llmlab.dataset.rendering.template import TokenizerTemplate
from llmlab.dataset.rendering.unfinished import without_ends


@dataclass(frozen=True)
class Draft:
    """The text of a sequence, and the spans of its characters that carry loss; None for plain text, all of which does."""

    text: str
    spans: Several[Span] | None

    @property
    def answers(self) -> str:
        """The text that carries loss, without what lies between."""
        return self.text if self.spans is None else "".join(self.text[start:end] for start, end in self.spans)


ROWS = {Kind.PREFERENCE: "a preference (chosen, rejected)", Kind.KTO: "an unpaired preference (label)"}


class OtherObjective(BadRow):
    """The row is valid, but for another objective than the recipe's. `objective` is the one that it suits."""

    def __init__(self, reason: str, objective: str) -> None:
        super().__init__(reason)
        self.objective = objective


def _labelled(example: Example) -> int:
    """The answer that a label is about: the last one.

    Raises:
        BadRow: it is to carry no loss.
    """
    last = max(at for at, message in enumerate(example.messages) if message["role"] == "assistant")
    if last != example.trained[-1]:
        raise BadRow(f"messages[{last}]: the answer that the label is about is to carry no loss")
    return last


class Drafter:
    """Renders examples as drafts with one chat template."""

    def __init__(self, template: TokenizerTemplate, objective: str) -> None:
        self.template = template
        self.objective = objective
        self.special, self.control = template.special, template.control

    def drafts(self, example: Example) -> list[Draft]:
        """The drafts of an example: one, or several where the template needs it; chosen and rejected of a preference.

        Raises:
            BadRow: the template refuses the messages, or the assistant's words cannot be told from the rest.
        """
        kind = example.kind
        suits = OBJECTIVES.get(kind, "sft")
        if suits != self.objective and not (kind is Kind.CHAT and self.objective == "grpo"):
            raise OtherObjective(f"{ROWS.get(kind, f'a row of {kind}')} cannot be learned from with objective {self._lacking()}", suits)
        if kind is Kind.TEXT:
            return [Draft(example.text, None)]
        if not self.template.exists:
            raise BadRow("the model has no chat template, so it cannot be taught messages; use an instruct model, or rows of text")
        if kind is Kind.PREFERENCE:
            return [self._answered(example, side) for side in ("chosen", "rejected")]
        messages, trained = example.messages[: example.trained[-1] + 1], example.trained
        if kind is Kind.KTO:
            trained = [_labelled(example)]
        try:
            drafts = self._chat(messages, example.tools, trained)
        except BadRow as error:
            wants = change(self.template, messages, example.tools) if str(error).startswith(REFUSES) else ""
            if not wants:
                raise
            raise BadRow(f"{error}; {wants}") from error
        return [
            Draft(draft.text, spans) for draft, spans in zip(drafts, without_ends(drafts, example._replace(trained=trained)), strict=True)
        ]

    def _lacking(self) -> str:
        lacks = {"dpo": "it has no chosen and rejected", "kto": "it has no label"}.get(self.objective)
        return f"{self.objective}: {lacks}" if lacks else self.objective

    def spells_control(self, example: Example) -> bool:
        """Whether a content writes out a control token."""
        search = self.control.search
        every = (*example.messages, *example.chosen, *example.rejected)
        return any(search(message["content"]) or search(message.get("reasoning_content") or "") for message in every) or bool(
            search(example.text)
        )

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
        drafts = self._chat([*example.messages, *answer][: trained[-1] + 1], example.tools, trained)
        if len(drafts) > 1:
            raise BadRow(f"{side}: the chat template renders its first answer differently once another follows")
        return drafts[0]

    def _chat(self, messages: list[Any], tools: list[Any], trained: list[int]) -> list[Draft]:
        if self.template.has_marks(tools):
            whole, marks = self.template.marked(messages, tools)
            if not marks:
                raise BadRow("the chat template renders nothing for the assistant")
            others = [message["role"] != "assistant" for message in messages]
            if any(others) and sum(end - start for start, end in marks) == len(whole):
                raise BadRow("the chat template marks everything as the assistant's, so that its words cannot be told from the rest")
            drafts = [Draft(whole, marks)] if sum(others) + len(trained) == len(messages) else []
        else:
            whole, marks, drafts = self.template.render(messages, tools), None, []
        drafts = drafts or list(self._by_prefix(whole, marks, messages, tools, trained))
        check([draft.answers for draft in drafts], messages, trained)
        return drafts

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
            start = len(before)
            if not upto.startswith(before):
                upto, start = begins(self.template, before, upto, messages[: index + 1], tools)
            end = self._end(upto)
            if start >= end and self.template.stop and upto[:start].rstrip() == upto.rstrip() and not messages[index]["content"].strip():
                end = start  # an empty answer, of which there is but what the model stops with
            elif start >= end:
                raise BadRow(f"messages[{index}]: the chat template renders nothing for this answer")
            end_in_whole = self._end_in(whole, upto, self._words(messages[: index + 1], tools, upto, start), end)
            if end_in_whole is None:
                yield self._stopped(Draft(upto, [(start, end)]), messages[index])
            elif marks is None:
                kept.append((start, self._stop_behind(whole, start, end_in_whole)))
            else:
                kept += [mark for mark in marks if start <= mark[0] < len(upto)]
        if kept:
            yield self._stopped(Draft(whole, kept), messages[trained[-1]])

    def _stopped(self, draft: Draft, message: Any) -> Draft:
        """The draft with what the model stops with, where the template puts nothing behind its last answer."""
        *others, (start, end) = draft.spans or [(0, 0)]
        stop = self.template.stop_of_calls if message.get("tool_calls") else self.template.stop
        if not stop or draft.text[start:end].rstrip().endswith(self.special) or draft.text[end:].strip():
            return draft
        return Draft(draft.text[:end] + stop, [*others, (start, end + len(stop))])

    def _stop_behind(self, whole: str, start: int, end: int) -> int:
        """The end of an answer in a conversation that goes on, behind the control token that it stops with."""
        if not self.template.stop or whole[start:end].rstrip().endswith(self.special):
            return end
        stop = self.control.match(whole, end + len(whole[end:]) - len(whole[end:].lstrip()))
        return stop.end() if stop else end

    def _words(self, messages: list[Any], tools: list[Any], upto: str, start: int) -> int:
        """Where the end of the last answer can be looked for: behind the header within an answer that says nothing, else from its start."""
        answer = messages[-1]
        if answer["content"].strip() or answer.get("tool_calls"):
            return start
        at, plain = words_at(self.template, messages, tools)
        return at if at > start and plain[:at] == upto[:at] else start

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
        ends = [token.end() for token in self.control.finditer(upto, start, alike(upto, whole))]
        return ends[-1] if ends and not self.control.sub("", upto[ends[-1] :]).strip() else None

    def drops_thoughts(self, example: Example, drafts: Several[Draft]) -> bool:
        """Whether the answers have thoughts, and the template shows none of them."""
        every = (*example.messages, *example.chosen, *example.rejected)
        thoughts = [thought for message in every for thought in thoughts_in(message)]
        return bool(thoughts) and not any(thought in draft.text for thought in thoughts for draft in drafts)
