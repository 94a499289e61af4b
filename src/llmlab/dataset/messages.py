"""Chat messages in the three dialects people write them in, each made into OpenAI's form.

Tool call arguments become objects, because chat templates print them so. Pictures, audio and documents are refused: the model would not
see them. Sources: OpenAI's chat completions reference, Anthropic's messages reference, and LLaMA-Factory's description of ShareGPT.
"""

from typing import Any

import orjson

from llmlab.errors import one_line

Message = dict[str, Any]
JSON_TYPES = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}


class BadRow(ValueError):
    """Why a row cannot be trained on, in words on one line: keys and values of the row may be among them."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


def name_of(value: object) -> str:
    """A value's JSON type in words."""
    return {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}.get(
        type(value), "null"
    )


def system_text(value: object, where: str) -> list[Message]:
    """A system prompt, as a string or text blocks, as no or one message."""
    if value is None or value in ("", []):
        return []
    return [{"role": "system", "content": _joined(value, where)}]


def tool_definitions(value: object, where: str) -> list[dict[str, Any]]:
    """Tools as OpenAI functions, from OpenAI's or Anthropic's form, or either as a JSON string."""
    if value is None or value in ("", []):
        return []
    if isinstance(value, str):
        value = _parsed(value, where)
    if not isinstance(value, list):
        raise BadRow(f"{where} is {name_of(value)}, not an array")
    return [_tool(tool, f"{where}[{index}]") for index, tool in enumerate(value)]


def _tool(tool: object, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise BadRow(f"{where} is {name_of(tool)}, not an object")
    function = tool.get("function") or tool
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow(f"{where} has no name")
    schema = function.get("parameters") or function.get("input_schema") or {"type": "object", "properties": {}}
    if isinstance(schema, str):
        schema = _parsed(schema, f"{where}.parameters")
    made = {"name": function["name"], "description": function.get("description") or "", "parameters": schema}
    return {"type": "function", "function": made}


# ---------------------------------------------------------------- OpenAI

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
USUAL = ("user", "assistant", "system")


def openai_messages(value: object, where: str) -> tuple[list[Message], list[int]]:
    """The messages, and the indexes of the assistant's, but for those with `"weight": 0`. What needs no change is shared with `value`."""
    if not isinstance(value, list):
        raise BadRow(f"{where} is {name_of(value)}, not an array")
    if not value:
        raise BadRow(f"{where} is empty")
    messages: list[Message] = []
    trained: list[int] = []
    for index, given in enumerate(value):
        if not isinstance(given, dict):
            raise BadRow(f"{where}[{index}] is {name_of(given)}, not an object")
        role = given.get("role")
        usual = len(given) == 2 and type(given.get("content")) is str and role in USUAL  # nothing but these two
        messages.append(given if usual else _openai_message(given, f"{where}[{index}]"))
        if role == "assistant" and (usual or given.get("weight") != 0):
            trained.append(index)
    return messages, trained


def _openai_message(given: Message, where: str) -> Message:
    role = given.get("role")
    if role is None:
        raise BadRow(f"{where} has no role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRow(f"{where}.role is {role!r}, not one of {', '.join(ROLES)}")
    message: Message = {"role": ROLES[role], "content": ""}
    calls = _openai_calls(given, where)
    content = given.get("content")
    if content is not None:
        message["content"] = _joined(content, f"{where}.content")
    elif not calls:
        raise BadRow(f"{where} has no content")
    if calls:
        message["tool_calls"] = calls
    for key in ("tool_call_id", "name", "reasoning_content"):
        if isinstance(given.get(key), str):
            message[key] = given[key]
    return message


def _openai_calls(given: Message, where: str) -> list[dict[str, Any]]:
    calls = given.get("tool_calls")
    if calls is None and given.get("function_call") is not None:
        calls = [{"function": given["function_call"]}]
    if not calls:
        return []
    if given["role"] != "assistant":
        raise BadRow(f"{where} has tool_calls and is not the assistant's")
    if not isinstance(calls, list):
        raise BadRow(f"{where}.tool_calls is {name_of(calls)}, not an array")
    return [_openai_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]


def _openai_call(call: object, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise BadRow(f"{where} has no function")
    return _call(function.get("name"), function.get("arguments"), call.get("id"), where)


def _call(name: object, arguments: object, identity: object, where: str) -> dict[str, Any]:
    if not isinstance(name, str) or not name:
        raise BadRow(f"{where} has no name")
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"{where} arguments") if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise BadRow(f"{where} arguments are {name_of(arguments)}, not an object")
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": identity, **call} if isinstance(identity, str) else call


# ---------------------------------------------------------------- Anthropic


def anthropic_messages(given: list[Any], where: str) -> list[Message]:
    """Messages with content blocks; a user's `tool_result` blocks become tool messages of their own."""
    messages: list[Message] = []
    for index, message in enumerate(given):
        at = f"{where}[{index}]"
        if not isinstance(message, dict):
            raise BadRow(f"{at} is {name_of(message)}, not an object")
        role, content = message.get("role"), message.get("content")
        if role is None or content is None:
            raise BadRow(f"{at} has no {'role' if role is None else 'content'}")
        if role not in ("user", "assistant", "system"):
            raise BadRow(f"{at}.role is {role!r}, not one of user, assistant, system")
        messages += anthropic_content(role, content, f"{at}.content")
    return messages


def anthropic_content(role: str, content: object, where: str) -> list[Message]:
    """One message's content, a string or blocks, as the messages it stands for: one, except where tool results are among them."""
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list):
        raise BadRow(f"{where} is {name_of(content)}, neither a string nor an array of blocks")
    sorted_blocks: dict[str, list[Any]] = {"text": [], "thinking": [], "tool_use": [], "tool_result": [], "redacted_thinking": []}
    for index, block in enumerate(content):
        kind = _kind(block, BLOCKS.get(role, ("text",)), role, f"{where}[{index}]")
        sorted_blocks[kind].append(_block(kind, block, f"{where}[{index}]"))
    results: list[Message] = sorted_blocks["tool_result"]
    if results and not sorted_blocks["text"]:
        return results
    message: Message = {"role": role, "content": "\n".join(sorted_blocks["text"])}
    if sorted_blocks["thinking"]:
        message["reasoning_content"] = "\n".join(sorted_blocks["thinking"])
    if sorted_blocks["tool_use"]:
        message["tool_calls"] = sorted_blocks["tool_use"]
    return [*results, message]


BLOCKS = {"assistant": ("text", "thinking", "tool_use", "redacted_thinking"), "user": ("text", "tool_result")}
"""The blocks each role may write. What a `redacted_thinking` block says nobody can read, so that it is left out."""


def _kind(block: object, allowed: tuple[str, ...], role: str, where: str) -> str:
    if not isinstance(block, dict):
        raise BadRow(f"{where} is {name_of(block)}, not a block")
    kind = block.get("type")
    if isinstance(kind, str) and kind in allowed:
        return kind
    if kind is None:
        raise BadRow(f"{where} has no type")
    if kind in ("tool_use", "tool_result", "thinking"):
        raise BadRow(f"{where} is a {kind} block in a message of the {role}")
    raise BadRow(f"{where} is of type {kind}, and only text can be trained on")


def _block(kind: str, block: Message, where: str) -> Any:
    if kind == "tool_use":
        return _call(block.get("name"), block.get("input"), block.get("id"), where)
    if kind == "tool_result":
        return _tool_result(block, where)
    return "" if kind == "redacted_thinking" else _string(block, kind, where)


def _tool_result(block: Message, where: str) -> Message:
    content = block.get("content")
    message: Message = {"role": "tool", "content": "" if content is None else _joined(content, f"{where}.content")}
    if isinstance(block.get("tool_use_id"), str):
        message["tool_call_id"] = block["tool_use_id"]
    return message


# ---------------------------------------------------------------- ShareGPT

SPEAKERS = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "system": "system", "tool": "tool", "observation": "tool", "function_response": "tool",
    "function_call": "assistant", "tool_call": "assistant",
}  # fmt: skip


def sharegpt_messages(value: object, where: str) -> list[Message]:
    """Turns as `{"from", "value"}`, or OpenAI's messages under ShareGPT's key."""
    if not isinstance(value, list):
        raise BadRow(f"{where} is {name_of(value)}, not an array")
    if not value:
        raise BadRow(f"{where} is empty")
    if isinstance(value[0], dict) and value[0].get("from") is None and value[0].get("role") is not None:
        return openai_messages(value, where)[0]
    return [_turn(turn, f"{where}[{index}]") for index, turn in enumerate(value)]


def _turn(turn: object, where: str) -> Message:
    if not isinstance(turn, dict):
        raise BadRow(f"{where} is {name_of(turn)}, not an object")
    speaker, said = turn.get("from"), turn.get("value")
    if not isinstance(speaker, str):
        raise BadRow(f"{where} has no from")
    if speaker not in SPEAKERS:
        raise BadRow(f"{where}.from is {speaker!r}, not one of human, gpt, system, tool, observation, function_call")
    if not isinstance(said, str):
        raise BadRow(f"{where} has no value" if said is None else f"{where}.value is {name_of(said)}, not a string")
    if speaker in {"function_call", "tool_call"}:
        given = _parsed(said, f"{where}.value")
        calls = given if isinstance(given, list) else [given]
        made = [_call(call.get("name"), call.get("arguments"), None, f"{where}.value") for call in calls if isinstance(call, dict)]
        if not made or len(made) != len(calls):
            raise BadRow(f"{where}.value is not a call with name and arguments")
        return {"role": "assistant", "content": "", "tool_calls": made}
    return {"role": SPEAKERS[speaker], "content": said}


# ---------------------------------------------------------------- values


def _joined(content: object, where: str) -> str:
    """A string, or the text of an array of text parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRow(f"{where} is {name_of(content)}, not a string")
    texts = []
    for index, part in enumerate(content):
        if not isinstance(part, str):
            _kind(part, ("text", "input_text", "output_text"), "text", f"{where}[{index}]")
            part = _string(part, "text", f"{where}[{index}]")  # noqa: PLW2901 - the part's text is what is wanted of it
        texts.append(part)
    return "\n".join(texts)


def _string(block: Message, key: str, where: str) -> str:
    value = block.get(key)
    if not isinstance(value, str):
        raise BadRow(f"{where} has no {key}" if value is None else f"{where}.{key} is {name_of(value)}, not a string")
    return value


def _parsed(text: str, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRow(f"{where}: not JSON: {error.msg}") from error
