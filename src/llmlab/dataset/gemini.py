"""Convert Gemini's `contents` and `parts` to messages.

Sources: https://ai.google.dev/api/caching#Content, and Vertex AI's tuning data,
https://cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-supervised-tuning-prepare.
"""

from typing import Any

import orjson

from llmlab.dataset.calls import call
from llmlab.dataset.formats import Message
from llmlab.dataset.reasons import BadRow, name_of

ROLES = {"user": "user", "model": "assistant", "function": "tool", "tool": "tool", "system": "system"}
MARKS = frozenset({"thought", "thoughtSignature", "thought_signature", "partMetadata"})
"""Keys of a part that are not its content."""


def gemini_messages(value: object, where: str) -> tuple[list[Message], list[int]]:
    """The messages of an array of contents, and the indexes of the model's among them.

    Raises:
        BadRow: with the part at fault.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": value}], []
    if not isinstance(value, list) or not value:
        raise BadRow(f"{where} is empty" if value == [] else f"{where} is {name_of(value)}, not an array")
    messages: list[Message] = []
    for index, content in enumerate(value):
        message = _words_alone(content)
        if message is None:
            messages += content_messages(content, f"{where}[{index}]")
        else:
            messages.append(message)
    return messages, [index for index, message in enumerate(messages) if message["role"] == "assistant"]


def _words_alone(content: object) -> Message | None:
    """The message of a content that is one text and nothing else, as most are."""
    if type(content) is not dict or type(parts := content.get("parts")) is not list or len(parts) != 1:
        return None
    part, speaker = parts[0], content.get("role")
    if type(part) is not dict or len(part) != 1 or type(text := part.get("text")) is not str or type(speaker) is not str:
        return None
    role = ROLES.get(speaker)
    return {"role": role, "content": text} if role is not None and role != "tool" else None


def content_messages(content: Any, where: str, default: str = "user") -> list[Message]:
    """The messages of one content: one for each result of a function, and one for the rest."""
    if not isinstance(content, dict):
        raise BadRow(f"{where} is {name_of(content)}, not an object")
    speaker = content.get("role") or default
    role = ROLES.get(speaker) if isinstance(speaker, str) else None
    parts = content.get("parts")
    if role is None:
        raise BadRow(f"{where}.role is {content.get('role')!r}, not one of user, model, function")
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list):
        raise BadRow(f"{where} has no parts")
    texts: dict[bool, list[str]] = {False: [], True: []}
    calls: list[dict[str, Any]] = []
    results: list[Message] = []
    for index, part in enumerate(parts):
        _part(part, f"{where}.parts[{index}]", texts, calls, results)
    if results and not texts[False]:
        return results
    if role == "tool":
        raise BadRow(f"{where} has no functionResponse")
    message: Message = {"role": role, "content": "".join(texts[False])}
    if texts[True]:
        message["reasoning_content"] = "".join(texts[True])
    if calls:
        message["tool_calls"] = calls
    return [*results, message]


def _part(part: Any, where: str, texts: dict[bool, list[str]], calls: list[dict[str, Any]], results: list[Message]) -> None:
    if not isinstance(part, dict):
        raise BadRow(f"{where} is {name_of(part)}, not an object")
    for key, value in part.items():
        name = key.replace("_", "").lower()
        if key in MARKS or value is None:
            continue
        if key == "text" and isinstance(value, str):
            texts[bool(part.get("thought"))].append(value)
        elif name == "functioncall" and isinstance(value, dict):
            calls.append(call(value.get("name"), value.get("args"), value.get("id"), f"{where}.{key}"))
        elif name == "functionresponse" and isinstance(value, dict):
            results.append(_response(value))
        else:
            raise BadRow(f"{where} is of type {key}, and only text can be trained on")


def _response(value: dict[str, Any]) -> Message:
    message: Message = {"role": "tool", "content": orjson.dumps(value.get("response")).decode()}
    if isinstance(value.get("name"), str):
        message["name"] = value["name"]
    if isinstance(value.get("id"), str):
        message["tool_call_id"] = value["id"]
    return message
