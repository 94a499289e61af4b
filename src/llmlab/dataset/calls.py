"""Tool calls and tool definitions in every dialect, each converted to OpenAI's form.

Arguments become objects, because chat templates print them so: from JSON text, and from JSON text of JSON text, which some writers make
(rows of https://github.com/openai/openai-cookbook/blob/main/examples/data/ have such arguments). Sources of the dialects: OpenAI's
https://platform.openai.com/docs/api-reference/chat/create, Anthropic's https://docs.anthropic.com/en/api/messages, Bedrock's
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolSpecification.html, Gemini's https://ai.google.dev/api/caching#Tool.
"""

from typing import Any

import orjson

from llmlab.dataset.reasons import BadRow, name_of

MOST_DECODED = 3
"""How many times over arguments may be encoded as JSON text."""
Unread = set[str]
"""Names of keys and items that a reader did not read, collected for the report."""


def call(name: object, arguments: object, identity: object, where: str) -> dict[str, Any]:
    """A tool call in OpenAI's form, its arguments as an object.

    Raises:
        BadRow: it has no name, or arguments that are no object.
    """
    if not isinstance(name, str) or not name:
        raise BadRow(f"{where} has no name")
    for _ in range(MOST_DECODED):
        if not isinstance(arguments, str):
            break
        arguments = parsed(arguments, f"{where} arguments") if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise BadRow(f"{where} arguments are {name_of(arguments)}, not an object")
    tool_call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": identity, **tool_call} if isinstance(identity, str) else tool_call


def plain_call(value: object) -> dict[str, Any] | None:
    """Convert a tool call as OpenAI writes it, its arguments as JSON text or an object; None for one that needs `openai_call`."""
    if type(value) is not dict or "custom" in value:
        return None
    function = value.get("function")
    if type(function) is not dict or type(name := function.get("name")) is not str or not name:
        return None
    arguments = function.get("arguments")
    if type(arguments) is str:
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return None
    if type(arguments) is not dict:
        return None
    identity = value.get("id")
    called = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": identity, **called} if type(identity) is str else called


def openai_call(value: object, where: str) -> dict[str, Any]:
    """Convert a tool call written as `{"function": {"name", "arguments"}}`, `{"custom": {"name", "input"}}`, or `{"name", "arguments"}`."""
    if not isinstance(value, dict):
        raise BadRow(f"{where} is {name_of(value)}, not an object")
    custom = value.get("custom")
    if isinstance(custom, dict):
        return call(custom.get("name"), {"input": custom.get("input")}, value.get("id"), where)
    function = value.get("function")
    if function is None and value.get("name") is not None:
        function = value
    if not isinstance(function, dict):
        raise BadRow(f"{where} has no function")
    arguments = function.get("arguments")
    return call(function.get("name"), function.get("parameters") if arguments is None else arguments, value.get("id"), where)


def written_calls(text: str, where: str) -> list[dict[str, Any]]:
    """Convert the tool calls that a turn spells as JSON: one `{"name", "arguments"}`, or an array of them."""
    value = parsed(text, where)
    calls = value if isinstance(value, list) else [value]
    if not calls or not all(isinstance(tool_call, dict) for tool_call in calls):
        raise BadRow(f"{where} is not a call with name and arguments")
    return [call(tool_call.get("name"), tool_call.get("arguments"), tool_call.get("id"), where) for tool_call in calls]


# ---------------------------------------------------------------- definitions


def tool_definitions(value: object, where: str, unread: Unread) -> list[dict[str, Any]]:
    """Tool definitions as OpenAI functions, from the form of any dialect, or from a JSON string of it."""
    if value is None or value in ("", [], {}):
        return []
    if isinstance(value, str):
        value = parsed(value, where)
    if isinstance(value, dict) and isinstance(value.get("tools"), list):
        value = value["tools"]  # Bedrock's toolConfig
    if not isinstance(value, list):
        raise BadRow(f"{where} is {name_of(value)}, not an array")
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(value):
        at = f"{where}[{index}]"
        definition = parsed(tool, at) if isinstance(tool, str) else tool
        declared = definition.get("functionDeclarations", definition.get("function_declarations")) if isinstance(definition, dict) else None
        if isinstance(declared, list):
            tools += [_tool(each, f"{at}.functionDeclarations[{number}]") for number, each in enumerate(declared)]
        elif _is_hosted(definition):
            unread.add(f"{where}[] of type {definition['type']}")
        else:
            tools.append(_tool(definition, at))
    return tools


def _is_hosted(tool: object) -> bool:
    """Whether it is a tool that the provider runs, which has a type and no name (OpenAI's `web_search`)."""
    return isinstance(tool, dict) and isinstance(tool.get("type"), str) and tool["type"] != "function" and len(tool) == 1


def _tool(tool: object, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise BadRow(f"{where} is {name_of(tool)}, not an object")
    function = tool.get("function") or tool.get("toolSpec") or tool
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow(f"{where} has no name")
    schema = function.get("parameters") or function.get("input_schema") or function.get("inputSchema")
    if isinstance(schema, dict) and set(schema) == {"json"}:
        schema = schema["json"]  # Bedrock's
    if isinstance(schema, str):
        schema = parsed(schema, f"{where}.parameters")
    schema = schema or {"type": "object", "properties": {}}
    definition = {"name": function["name"], "description": function.get("description") or "", "parameters": schema}
    return {"type": "function", "function": definition}


def parsed(text: str, where: str) -> Any:
    """Parse a string as JSON.

    Raises:
        BadRow: it is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRow(f"{where}: not JSON: {error.msg}") from error
