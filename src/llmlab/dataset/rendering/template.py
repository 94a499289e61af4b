"""The model's chat template: it makes the very text that the model sees of messages, and marks the assistant's characters in it.

Rendering is `sandbox`'s, as transformers does it. What a template would take from the clock (Llama 3 writes today's date into the system
turn) is fixed, so that the same data makes the same tokens on every machine and day. Many templates that carry no marks of their own
(`{% generation %}`) have a twin in TRL which does: where the twin renders an example to the same text, character by character, its marks
hold for the model's too.

What a template needs of messages is found with probes: contents in parts, arguments of calls as text, thoughts under another name. Some add
the prompt that asks for an answer to every conversation, asked or not; it is none of the conversation, and taken away. Some end an answer
with nothing, so that what begins the next turn is what the model stops with.
"""

import json
import re
from collections.abc import Sequence as Several
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError

from llmlab.dataset import BadRow
from llmlab.dataset.rendering import sandbox
from llmlab.dataset.rendering.limits import Span

MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
LONG_AGO = datetime(2024, 7, 26, tzinfo=UTC)
"""The date that templates get by default: the one that Llama 3's own falls back on."""

THINKING = re.compile(r"""\.thinking\b|['"]thinking['"]""")
"""How a template asks for thoughts by the name that gpt-oss gave them: https://cookbook.openai.com/articles/openai-harmony."""

PROBE = "probe"
ASKS, ANSWERS = {"role": "user", "content": PROBE}, {"role": "assistant", "content": PROBE}
CALLED = {"id": "call00001", "type": "function", "function": {"name": "probe", "arguments": {PROBE: PROBE}}}
CALLS = {"role": "assistant", "content": "", "tool_calls": [CALLED]}
RESULT = {"role": "tool", "content": PROBE, "tool_call_id": "call00001", "name": "probe"}
TOOL = {"type": "function", "function": {"name": "probe", "description": "", "parameters": {"type": "object", "properties": {}}}}


class TokenizerTemplate:
    """One tokenizer's chat template. `today` is the date that the template gets, `special` are the tokenizer's control tokens."""

    def __init__(self, tokenizer: Any, today: datetime = LONG_AGO, special: tuple[str, ...] = ()) -> None:
        self.tokenizer = tokenizer
        self.special = special
        self.control = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)")
        self.today = today
        self.names = dict(tokenizer.special_tokens_map)
        self.exists = bool(tokenizer.chat_template)
        self.wants_parts = self.wants_text = False
        self.wants_thinking = any(THINKING.search(source) and "reasoning_content" not in source for source in self.sources())
        self.shows_tools = "tools" in self._of(tools=True)
        self.wants_parts = self.exists and not self._shows(PROBE) and self._shows([{"type": "text", "text": PROBE}])
        self.wants_text = self.exists and not self._shows_arguments(text=False) and self._shows_arguments(text=True)
        self.always = self._always_adds() if self.exists else ""

    def sources(self) -> list[str]:
        """The templates in use, without and with tools."""
        return [self._of(tools=False), self._of(tools=True)]

    def render(self, messages: Several[Any], tools: Several[Any], *, prompt: bool = False) -> str:
        """The text of a conversation. `prompt` adds what asks the assistant to speak.

        Raises:
            BadRow: the template refuses the messages.
        """
        return self._rendered(messages, tools, prompt=prompt)[0]

    def has_marks(self, tools: Several[Any]) -> bool:
        """Whether the template itself marks what the assistant says."""
        return bool(MARKS.search(self._of(tools=bool(tools))))

    def marked(self, messages: Several[Any], tools: Several[Any]) -> tuple[str, list[Span]]:
        """The text of a conversation, and the spans that the template's marks enclose.

        Raises:
            BadRow: the template refuses the messages.
        """
        return self._rendered(messages, tools, marks=True)

    @cached_property
    def stop(self) -> str:
        """The control token that ends the last answer where the template puts nothing behind it: the one that follows earlier answers.

        GLM's models end their turn with the token that begins the next: https://github.com/huggingface/trl/pull/5988.
        """
        return self._follows([ASKS, ANSWERS], [ASKS, ANSWERS, ASKS], [])

    @cached_property
    def stop_of_calls(self) -> str:
        """The same as `stop`, of an answer that calls tools."""
        return self._follows([ASKS, CALLS], [ASKS, CALLS, RESULT], [TOOL]) or self.stop

    def _follows(self, upto: Several[Any], whole: Several[Any], tools: Several[Any]) -> str:
        try:
            ends, more = self.render(upto, tools), self.render(whole, tools)
        except BadRow:
            return ""
        token = self.control.match(more[len(ends) :].lstrip()) if more.startswith(ends) else None
        return token[0] if token and not ends.rstrip().endswith(self.special) else ""

    def _always_adds(self) -> str:
        """The prompt for an answer that the template adds whether it is asked to or not; "" for most.

        Behind the last answer stand its end and that prompt, behind one before it its end and the user's header, and the user's header
        alone begins a conversation: what is common to the last two is none of the end.
        """
        source = self._of(tools=False)
        try:
            plain = self._render(source, [ASKS], [])[0]
            if plain != self._render(source, [ASKS], [], prompt=True)[0]:
                return ""
            tail = self._render(source, [ASKS, ANSWERS], [])[0].rpartition(PROBE)[2]
            parts = self._render(source, [ASKS, ANSWERS, ASKS], [])[0].split(PROBE)
        except BadRow:
            return ""
        if len(parts) != 4:
            return ""
        start, before_answer, between, _ = parts
        ends = [token.end() for token in self.control.finditer(between)]
        ends = [end + len(between[end:]) - len(between[end:].lstrip()) for end in ends] or list(range(len(between)))
        end = next((end for end in ends if between[end:] and start.endswith(between[end:])), ends[0] if ends else 0)
        adds = tail[end:]
        return adds if adds.strip() and tail[:end] == between[:end] and before_answer.endswith(adds) and plain.endswith(adds) else ""

    def _rendered(
        self, messages: Several[Any], tools: Several[Any], *, prompt: bool = False, marks: bool = False
    ) -> tuple[str, list[Span]]:
        """As `_render`, without a prompt that was not asked for, and with a reason that says when tools are what a template cannot."""
        try:
            text, spans = self._render(self._of(tools=bool(tools)), messages, tools, prompt=prompt, marks=marks)
        except BadRow as error:
            has_tools = tools or any(message["role"] == "tool" or message.get("tool_calls") for message in messages)
            if self.shows_tools or not has_tools or not self.exists:
                raise
            raise BadRow(f"the chat template knows no tools, and the messages have some ({error})") from error
        text = text if prompt else text.removesuffix(self.always)
        return text, [(start, min(end, len(text))) for start, end in spans if start < len(text)]

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

    def _shows_arguments(self, *, text: bool) -> bool:
        """Whether a call's arguments, as an object or as text, become JSON or the template's own form, not Python's."""
        self.wants_text = text
        try:
            shown = self._render(self._of(tools=True), [ASKS, CALLS, RESULT], [TOOL])[0]
        except BadRow:
            return False
        finally:
            self.wants_text = False
        return shown.count(PROBE) > 1 and f"{{'{PROBE}'" not in shown and f'{{\\"{PROBE}' not in shown

    def _wanted(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message in the form that the template takes."""
        if self.wants_text and message.get("tool_calls"):
            message = {**message, "tool_calls": [_as_text(call) for call in message["tool_calls"]]}
        if self.wants_thinking and "reasoning_content" in message:
            message = {**message, "thinking": message["reasoning_content"]}
        return _parted(message) if self.wants_parts else message

    def _render(
        self, source: str, messages: Several[Any], tools: Several[Any], *, prompt: bool = False, marks: bool = False
    ) -> tuple[str, list[Span]]:
        wanted = [self._wanted(message) for message in messages]
        try:
            text, spans = sandbox.render(source, wanted, tools, self.names, self.today, prompt=prompt, marks=marks)
        except RecursionError as error:
            raise BadRow("nested too deeply for the chat template") from error
        except (TemplateError, TypeError, KeyError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
            raise BadRow(f"the chat template refuses the messages: {' '.join(str(error).split()).rstrip('.')}") from error
        return text, [(start, end) for start, end in spans if end > start] if marks else []


def _parted(message: dict[str, Any]) -> dict[str, Any]:
    """A message for the templates of models that also see: they take a content as a list of parts."""
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def _as_text(call: dict[str, Any]) -> dict[str, Any]:
    """A call whose arguments are text, as the servers' own interface has them: DeepSeek's templates put them between two others."""
    arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return {**call, "function": {**call["function"], "arguments": arguments}}


@cache
def twins() -> dict[str, str]:
    """TRL's templates with marks by the text of the one they stand for. The files are read without importing TRL, which takes a second."""
    spec = find_spec("trl")
    folder = Path(spec.origin).parent / "chat_templates" if spec and spec.origin else Path()
    suffix = "_training.jinja"
    pairs = ((file.with_name(file.name.removesuffix(suffix) + ".jinja"), file) for file in sorted(folder.glob(f"*{suffix}")))
    return {plain.read_text(encoding="utf-8"): twin.read_text(encoding="utf-8") for plain, twin in pairs if plain.is_file()}
