"""The formats a row may have, and what each becomes: an `Example`, with messages in OpenAI's form.

A row is told apart by its keys alone. Everything that could not be trained on as it stands raises `BadRow` with the reason in words,
at the first thing found wrong. A key whose value is null counts as absent, because Parquet has no other way to leave one out.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from llmlab.dataset.messages import (
    BadRow,
    Message,
    anthropic_content,
    anthropic_messages,
    name_of,
    openai_messages,
    sharegpt_messages,
    system_text,
    tool_definitions,
)

__all__ = ["BadRow", "Example", "Format", "Kind", "Message", "detect", "normalise", "to_example"]

Row = Mapping[str, Any]


class Kind(StrEnum):
    """What an example teaches: to answer in a chat, to continue plain text, or to prefer one answer to another."""

    CHAT = "chat"
    TEXT = "text"
    PREFERENCE = "preference"


class Format(StrEnum):
    """How a row is written. The order is the order of detection."""

    SESSION = "session"
    """`{"request": {"system", "messages", "tools"}, "response": {"content"}}`, Anthropic's content blocks."""
    PREFERENCE = "preference"
    """`{"prompt", "chosen", "rejected"}`, as strings or messages; without a prompt, the two share their first messages."""
    MESSAGES = "messages"
    """`{"messages", "tools"}`, OpenAI's form."""
    CONVERSATIONS = "conversations"
    """`{"conversations": [{"from", "value"}], "system", "tools"}`, ShareGPT's form."""
    PROMPT_COMPLETION = "prompt-completion"
    """`{"prompt", "completion"}`, as strings or messages."""
    ALPACA = "alpaca"
    """`{"instruction", "input", "output", "system"}`."""
    TEXT = "text"
    """`{"text"}`."""

    __hash__ = str.__hash__  # an Enum's own is written in Python, and every line of a dataset asks for it

    @property
    def kind(self) -> Kind:
        return {Format.TEXT: Kind.TEXT, Format.PREFERENCE: Kind.PREFERENCE}.get(self, Kind.CHAT)


class Example(NamedTuple):
    """One example in the common shape.

    `messages` are `{"role": system|user|assistant|tool, "content": str}` with, where they apply, `tool_calls` (`{"id", "type": "function",
    "function": {"name", "arguments": object}}`), `tool_call_id`, `name` and `reasoning_content`. `trained` holds the indexes of those whose
    tokens carry loss. A preference has its prompt in `messages` and its two answers in `chosen` and `rejected`. A text has only `text`.
    """

    format: Format
    messages: list[Message]
    trained: list[int]
    tools: list[dict[str, Any]]
    text: str = ""
    chosen: list[Message] = []  # noqa: RUF012 - never changed, and a tuple's default
    rejected: list[Message] = []  # noqa: RUF012

    @property
    def kind(self) -> Kind:
        return self.format.kind


KEYS: tuple[tuple[Format, tuple[str, ...]], ...] = (
    (Format.SESSION, ("request", "response")),
    (Format.PREFERENCE, ("chosen", "rejected")),
    (Format.MESSAGES, ("messages",)),
    (Format.CONVERSATIONS, ("conversations",)),
    (Format.PROMPT_COMPLETION, ("prompt", "completion")),
    (Format.ALPACA, ("instruction", "output")),
    (Format.TEXT, ("text",)),
)


def detect(row: Row) -> Format | None:
    """The first format whose keys a row has, or None."""
    for form, keys in KEYS:
        if row.get(keys[0]) is not None and (len(keys) == 1 or row.get(keys[1]) is not None):
            return form
    return None


def to_example(row: Row) -> Example:
    """Detect and normalise.

    Raises:
        BadRow: no format fits, or the row is not what its format asks for.
    """
    form = detect(row)
    if form is None:
        raise BadRow(_unknown(row))
    return normalise(form, row)


def normalise(form: Format, row: Row) -> Example:
    """A row of a known format in the common shape.

    Raises:
        BadRow: with the reason, e.g. `messages[2] has no role`.
    """
    return NORMALISERS[form](row)


def _session(row: Row) -> Example:
    request, response = _object(row, "request"), _object(row, "response")
    given = request.get("messages")
    if not isinstance(given, list) or not given:
        raise BadRow("request.messages is not a list of messages" if given is not None else "request has no messages")
    messages = system_text(request.get("system"), "request.system")
    messages += anthropic_messages(given, "request.messages")
    content = response.get("content")
    if content is None:
        raise BadRow("response has no content")
    answer = anthropic_content("assistant", content, "response.content")
    return Example(Format.SESSION, [*messages, *answer], [len(messages)], tool_definitions(request.get("tools"), "request.tools"))


def _messages(row: Row) -> Example:
    messages, trained = openai_messages(row["messages"], "messages")
    if not trained:
        raise BadRow("no assistant message to train on")
    return Example(Format.MESSAGES, messages, trained, tool_definitions(row.get("tools"), "tools"))


def _conversations(row: Row) -> Example:
    messages = system_text(row.get("system"), "system") + sharegpt_messages(row["conversations"], "conversations")
    trained = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if not trained:
        raise BadRow("no assistant turn to train on")
    return Example(Format.CONVERSATIONS, messages, trained, tool_definitions(row.get("tools"), "tools"))


def _prompt_completion(row: Row) -> Example:
    prompt = _prompt(row["prompt"], "prompt")
    completion = _answer(row["completion"], "completion")
    trained = [len(prompt) + index for index, message in enumerate(completion) if message["role"] == "assistant"]
    return Example(Format.PROMPT_COMPLETION, prompt + completion, trained, tool_definitions(row.get("tools"), "tools"))


def _alpaca(row: Row) -> Example:
    instruction, output = _text(row, "instruction"), _text(row, "output")
    more = _text(row, "input") if row.get("input") is not None else ""
    messages = system_text(row.get("system"), "system")
    messages.append({"role": "user", "content": f"{instruction}\n\n{more}" if more else instruction})
    messages.append({"role": "assistant", "content": output})
    return Example(Format.ALPACA, messages, [len(messages) - 1], [])


def _plain_text(row: Row) -> Example:
    return Example(Format.TEXT, [], [], [], _text(row, "text"))


def _preference(row: Row) -> Example:
    chosen, rejected = _answer(row["chosen"], "chosen"), _answer(row["rejected"], "rejected")
    if row.get("prompt") is not None:
        prompt = _prompt(row["prompt"], "prompt")
        shared = len(prompt) if prompt == chosen[: len(prompt)] == rejected[: len(prompt)] else 0
        chosen, rejected = chosen[shared:], rejected[shared:]
    else:
        pairs = zip(chosen, rejected, strict=False)
        shared = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(chosen), len(rejected)))
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
        if not prompt:
            raise BadRow("no prompt, and chosen and rejected do not begin alike")
    if chosen == rejected:
        raise BadRow("chosen and rejected are the same")
    if not chosen or not rejected:
        raise BadRow(f"{'rejected' if chosen else 'chosen'} adds nothing to the prompt")
    return Example(Format.PREFERENCE, prompt, [], tool_definitions(row.get("tools"), "tools"), "", chosen, rejected)


NORMALISERS: dict[Format, Callable[[Row], Example]] = {
    Format.SESSION: _session,
    Format.PREFERENCE: _preference,
    Format.MESSAGES: _messages,
    Format.CONVERSATIONS: _conversations,
    Format.PROMPT_COMPLETION: _prompt_completion,
    Format.ALPACA: _alpaca,
    Format.TEXT: _plain_text,
}


def _prompt(value: object, where: str) -> list[Message]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return openai_messages(value, where)[0]


def _answer(value: object, where: str) -> list[Message]:
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    messages = [value] if isinstance(value, dict) else value
    answer, trained = openai_messages(messages, where)
    if not trained:
        raise BadRow(f"{where} has no assistant message")
    return answer


def _object(row: Row, key: str) -> dict[str, Any]:
    value = row[key]
    if not isinstance(value, dict):
        raise BadRow(f"{key} is {name_of(value)}, not an object")
    return value


def _text(row: Row, key: str) -> str:
    value = row[key]
    if not isinstance(value, str):
        raise BadRow(f"{key} is {name_of(value)}, not a string")
    return value


def _unknown(row: Row) -> str:
    names = [key for key, value in row.items() if value is not None]
    if not names:
        return "an empty object"
    for form, keys in KEYS:
        missing = [key for key in keys if key not in names]
        if len(missing) == 1 and len(keys) > 1 and keys[0] in names:
            return f"{keys[0]} without {missing[0]} ({form})"
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"no known format has the keys {shown}"
