"""The content of one message: a string, or parts in any dialect, taken apart into words, thoughts, calls and results.

Pictures, audio, video and documents are refused: the model would not see them. The dialects: OpenAI's parts (`text`, `input_text`,
`output_text`, `refusal`: https://platform.openai.com/docs/api-reference/chat/create), Anthropic's blocks (`tool_use`, `tool_result`,
`thinking`: https://docs.anthropic.com/en/api/messages), Bedrock Converse's, which have no type but one key that says it
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html), and LLaMA-Factory's `{"type", "value"}`
(https://github.com/hiyouga/LLaMA-Factory/blob/main/src/llamafactory/v1/utils/types.py).
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from llmlab.dataset.calls import call, written_calls
from llmlab.dataset.formats import Message
from llmlab.dataset.reasons import BadRow, name_of

TEXTS = frozenset({"text", "input_text", "output_text"})
HIDDEN = frozenset({"redacted_thinking", "reasoning.encrypted"})
"""Types of encrypted parts, which nobody can read, so that they are left out."""
THINKING = frozenset({"thinking", "reasoning"})
ALLOWED = {
    "assistant": TEXTS | HIDDEN | THINKING | {"refusal", "tool_use", "tool_call", "function_call"},
    "user": TEXTS | {"tool_result"},
}
"""Types of parts that each role may have; every other role may have only text."""


@dataclass(slots=True)
class Content:
    """A message's content, taken apart into words, thoughts, tool calls and tool results."""

    text: str = ""
    thoughts: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)
    has_text: bool = False


def only_text(part: object) -> str | None:
    """The text of a text part; None for any other part."""
    if type(part) is dict and type(kind := part.get("type")) is str and kind in TEXTS and type(text := part.get("text")) is str:
        return text
    return None


def content_of(value: object, role: str, where: str) -> Content:
    """Take a message's content apart.

    Raises:
        BadRow: it is neither a string nor parts, or a part is of a type that this role cannot have.
    """
    if isinstance(value, str):
        return Content(value, has_text=True)
    if isinstance(value, dict) and role != "tool":
        value = [value]
    if type(value) is list and len(value) == 1 and (text := only_text(value[0])) is not None:
        return Content(text, has_text=True)
    if not isinstance(value, list):
        raise BadRow(f"{where} is {name_of(value)}, not a string")
    texts: list[str] = []
    thoughts: list[str] = []
    content = Content()
    for index, part in enumerate(value):
        if isinstance(part, str):
            texts.append(part)
            continue
        at = f"{where}[{index}]"
        kind, block = _typed(part, at)
        if kind not in ALLOWED.get(role, TEXTS):
            raise BadRow(_misplaced(kind, role, at))
        if kind in TEXTS or kind == "refusal":
            texts.append(_string(block, next((key for key in (kind, "text", "value") if key in block), "text"), at))
        elif kind in THINKING:
            thoughts.append(_string(block, next((key for key in (kind, "value", "text") if key in block), kind), at))
        elif kind == "tool_result":
            content.results.append(_result(block, at))
        elif kind not in HIDDEN:
            content.calls += _calls(kind, block, at)
    content.text, content.thoughts, content.has_text = "\n".join(texts), "\n".join(thoughts), bool(texts)
    return content


def _calls(kind: str, block: Message, where: str) -> list[dict[str, Any]]:
    """Anthropic's call, or LLaMA-Factory's, which is spelled as JSON."""
    if kind == "tool_use":
        return [call(block.get("name"), block.get("input"), block.get("id"), where)]
    return written_calls(_string(block, "value", where), f"{where}.value")


def text_of(value: object, where: str, role: str = "text") -> str:
    """The text of a string, or of text parts."""
    if type(value) is list and len(value) == 1 and (text := only_text(value[0])) is not None:
        return text
    return value if isinstance(value, str) else content_of(value, role, where).text


def tool_text(value: object, where: str) -> str:
    """A tool's result as text: its words, or any other value as JSON. Pictures are refused."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, str) or _is_part(part) for part in value):
        return "\n".join(part if isinstance(part, str) else _result_part(part, f"{where}[{at}]") for at, part in enumerate(value))
    try:
        return orjson.dumps(value).decode() if value not in (None, []) else ""
    except (TypeError, orjson.JSONEncodeError) as error:
        raise BadRow(f"{where} is not JSON: {error}") from error


def _is_part(part: object) -> bool:
    return isinstance(part, dict) and (isinstance(part.get("type"), str) or set(part) in ({"text"}, {"json"}))


def _result_part(part: Message, where: str) -> str:
    if set(part) == {"json"}:
        return orjson.dumps(part["json"]).decode()
    kind, block = _typed(part, where)
    if kind == "tool_reference" or kind in TEXTS:
        return _string(block, "text" if kind in TEXTS else "tool_name", where)
    raise BadRow(_misplaced(kind, "tool", where))


def _result(block: Message, where: str) -> Message:
    message: Message = {"role": "tool", "content": tool_text(block.get("content"), f"{where}.content")}
    if isinstance(block.get("tool_use_id"), str):
        message["tool_call_id"] = block["tool_use_id"]
    return message


def _typed(part: object, where: str) -> tuple[str, Message]:
    """A part's type in Anthropic's or OpenAI's words, and the part; Bedrock's has no type, and its one key says it."""
    if not isinstance(part, dict):
        raise BadRow(f"{where} is {name_of(part)}, not a block")
    kind = part.get("type")
    if isinstance(kind, str):
        return kind, part
    for key, value in part.items():
        if key == "text" and isinstance(value, str):
            return "text", part
        if isinstance(value, dict):
            if key == "toolUse":
                return "tool_use", {"name": value.get("name"), "input": value.get("input"), "id": value.get("toolUseId")}
            if key == "toolResult":
                return "tool_result", {"content": value.get("content"), "tool_use_id": value.get("toolUseId")}
            if key == "reasoningContent":
                inner = value.get("reasoningText")
                return ("thinking", {"thinking": inner.get("text")}) if isinstance(inner, dict) else ("redacted_thinking", part)
            if key in {"image", "document", "video", "audio"}:
                return key, part
    raise BadRow(f"{where} has no type")


def _misplaced(kind: str, role: str, where: str) -> str:
    if kind in {"tool_use", "tool_result", "thinking"}:
        return f"{where} is a {kind} block in a message of the {role}"
    return f"{where} is of type {kind}, and only text can be trained on"


def _string(block: Message, key: str, where: str) -> str:
    value = block.get(key)
    if not isinstance(value, str):
        raise BadRow(f"{where} has no {key}" if value is None else f"{where}.{key} is {name_of(value)}, not a string")
    return value
