"""The model's chat template: messages to the very text the model sees, and which of its characters the assistant says.

Rendering is transformers' own. What it would take from the clock (Llama 3 writes today's date into the system turn) is fixed, so that
the same data makes the same tokens on every machine and day. Many templates that carry no marks of their own (`{% generation %}`) have a
twin in TRL which does: where the twin renders an example to the same text, character by character, its marks hold for the model's too.
"""

import re
from collections.abc import Sequence as Several
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmlab.dataset import BadRow

MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
CLOCK = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
LONG_AGO = datetime(2024, 7, 26, tzinfo=UTC)
"""The day it is in every template until told otherwise: the one that Llama 3's own falls back on."""

PROBE = "probe"
Span = tuple[int, int]
"""First character and the one behind the last."""


class ChatTemplate:
    """One tokenizer's template. `today` is the date that a template is told when it asks."""

    def __init__(self, tokenizer: Any, today: datetime = LONG_AGO) -> None:
        self.tokenizer = tokenizer
        self.today = today
        self.names = dict(tokenizer.special_tokens_map)
        self.exists = bool(tokenizer.chat_template)
        self.dated: dict[str, str] = {}
        self.wants_parts = False
        self.shows_tools = "tools" in self._of(tools=True)
        self.wants_parts = self.exists and not self._shows(PROBE) and self._shows([{"type": "text", "text": PROBE}])

    def sources(self) -> list[str]:
        """The templates in use, without and with tools."""
        return [self._of(tools=False), self._of(tools=True)]

    def render(self, messages: Several[Any], tools: Several[Any], *, prompt: bool = False) -> str:
        """The text of a conversation. `prompt` adds what asks the assistant to speak.

        Raises:
            BadRow: the template refuses the messages.
        """
        return self._render(self._of(tools=bool(tools)), messages, tools, prompt=prompt)[0]

    def has_marks(self, tools: Several[Any]) -> bool:
        """Whether the template says itself what the assistant says."""
        return bool(MARKS.search(self._of(tools=bool(tools))))

    def marked(self, messages: Several[Any], tools: Several[Any]) -> tuple[str, list[Span]]:
        """The text of a conversation, and the spans that the template's marks enclose.

        Raises:
            BadRow: the template refuses the messages.
        """
        return self._render(self._of(tools=bool(tools)), messages, tools, marks=True)

    def twin_marks(self, messages: Several[Any], tools: Several[Any], text: str) -> list[Span]:
        """The spans that the twin's marks enclose; none where there is no twin, or it renders anything but this text."""
        twin = twins().get(self._of(tools=bool(tools)))
        if twin is None:
            return []
        try:
            other, spans = self._render(twin, messages, tools, marks=True)
        except BadRow:
            return []
        return spans if other == text else []

    def _of(self, *, tools: bool) -> str:
        """The template in use; a tokenizer may have one of its own for conversations with tools."""
        return str(self.tokenizer.get_chat_template(tools=[{}] if tools else None)) if self.exists else ""

    def _shows(self, content: Any) -> bool:
        """Whether a content in this form reaches the text."""
        try:
            return PROBE in self._render(self._of(tools=False), [{"role": "user", "content": content}], [])[0]
        except BadRow:
            return False

    def _dated(self, source: str) -> str:
        """The template with its questions for the date answered."""
        if source not in self.dated:
            self.dated[source] = CLOCK.sub(lambda asks: repr(self.today.strftime(asks[2])), source)
        return self.dated[source]

    def _render(
        self, source: str, messages: Several[Any], tools: Several[Any], *, prompt: bool = False, marks: bool = False
    ) -> tuple[str, list[Span]]:
        from jinja2.exceptions import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts, spans = render_jinja_template(
                conversations=[[_parted(one) for one in messages] if self.wants_parts else list(messages)],
                tools=list(tools) or None,
                chat_template=self._dated(source),
                return_assistant_tokens_mask=marks,
                add_generation_prompt=prompt,
                **self.names,
            )
        except RecursionError as error:
            raise BadRow("nested too deeply for the chat template") from error
        except (TemplateError, TypeError, KeyError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
            raise BadRow(f"the chat template refuses the messages: {' '.join(str(error).split()).rstrip('.')}") from error
        return texts[0], [(start, end) for start, end in spans[0] if end > start] if marks else []


def _parted(message: dict[str, Any]) -> dict[str, Any]:
    """A message for the templates of models that also see: they take a content as a list of parts."""
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


@cache
def twins() -> dict[str, str]:
    """TRL's templates with marks by the text of the one they stand for. The files are read without importing TRL, which takes a second."""
    found = find_spec("trl")
    folder = Path(found.origin).parent / "chat_templates" if found and found.origin else Path()
    suffix = "_training.jinja"
    pairs = ((file.with_name(file.name.removesuffix(suffix) + ".jinja"), file) for file in sorted(folder.glob(f"*{suffix}")))
    return {plain.read_text(encoding="utf-8"): twin.read_text(encoding="utf-8") for plain, twin in pairs if plain.is_file()}
