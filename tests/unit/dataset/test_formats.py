"""Rows of every format, and what is wrong with those that are none."""

from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from llmlab.dataset import BadRow, Example, Format, Kind, detect, to_example

USER = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}
SESSION: dict[str, Any] = {
    "request": {
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Use tools."}],
        "tools": [{"name": "sum", "description": "adds", "input_schema": {"type": "object", "properties": {"a": {"type": "number"}}}}],
        "messages": [
            {"role": "user", "content": "2 + 2?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "I add.", "signature": "x"},
                    {"type": "text", "text": "Adding."},
                    {"type": "tool_use", "id": "call_1", "name": "sum", "input": {"a": 2}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "4"}]},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
    },
    "response": {"id": "msg_1", "content": [{"type": "text", "text": "It is 4."}], "stop_reason": "end_turn"},
}


def test_session_becomes_openai_messages() -> None:
    example = to_example(SESSION)
    call = {"id": "call_1", "type": "function", "function": {"name": "sum", "arguments": {"a": 2}}}
    assert example.messages == [
        {"role": "system", "content": "Be brief.\nUse tools."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "Adding.", "reasoning_content": "I add.", "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "call_1"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "It is 4."},
    ]
    assert example.trained == [5], "what was asked before is context: only the response is learned"
    assert example.tools[0]["function"]["parameters"]["properties"] == {"a": {"type": "number"}}
    assert example.tools[0]["type"] == "function"


def test_messages_with_tools_weights_and_old_calls() -> None:
    row = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "S"}]},
            USER,
            {"role": "assistant", "content": "no", "weight": 0},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"x": [1]}'}}]},
            {"role": "tool", "tool_call_id": "c", "content": "done"},
            {"role": "assistant", "content": None, "function_call": {"name": "g", "arguments": ""}},
            {"role": "function", "name": "g", "content": "ok"},
            ANSWER,
        ],
        "tools": '[{"type": "function", "function": {"name": "f"}}]',
    }
    example = to_example(row)
    assert [message["role"] for message in example.messages] == [
        "system",
        "user",
        "assistant",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    assert example.trained == [3, 5, 7]
    assert example.messages[3]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"x": [1]}}
    assert example.messages[5]["tool_calls"] == [{"type": "function", "function": {"name": "g", "arguments": {}}}]
    assert example.messages[6] == {"role": "tool", "name": "g", "content": "ok"}
    assert example.tools[0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_sharegpt_with_calls() -> None:
    row = {
        "system": "S",
        "conversations": [
            {"from": "human", "value": "hi"},
            {"from": "function_call", "value": '{"name": "f", "arguments": {"a": 1}}'},
            {"from": "observation", "value": "1"},
            {"from": "gpt", "value": "one"},
        ],
    }
    example = to_example(row)
    assert [message["role"] for message in example.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert example.trained == [2, 4]
    assert to_example({"conversations": [USER, ANSWER]}).messages == [USER, ANSWER]


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"prompt": "2 + 2?", "completion": "4"}, [USER, ANSWER]),
        ({"prompt": [USER], "completion": [ANSWER]}, [USER, ANSWER]),
        ({"instruction": "2 + 2?", "input": "", "output": "4", "text": "unused"}, [USER, ANSWER]),
        ({"instruction": "Add", "input": "2, 2", "output": "4"}, [{"role": "user", "content": "Add\n\n2, 2"}, ANSWER]),
        ({"instruction": "2 + 2?", "output": "4", "system": "S", "input": None}, [{"role": "system", "content": "S"}, USER, ANSWER]),
    ],
)
def test_pairs(row: dict[str, Any], messages: list[dict[str, str]]) -> None:
    example = to_example(row)
    assert (example.messages, example.trained, example.kind) == (messages, [len(messages) - 1], Kind.CHAT)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [{"role": "assistant", "content": "5"}]},
        {"prompt": "2 + 2?", "chosen": [USER, ANSWER], "rejected": [USER, {"role": "assistant", "content": "5"}]},
        {"chosen": [USER, ANSWER], "rejected": [USER, {"role": "assistant", "content": "5"}], "messages": [USER, ANSWER]},
    ],
)
def test_preferences_share_their_prompt(row: dict[str, Any]) -> None:
    assert to_example(row) == Example(Format.PREFERENCE, [USER], [], [], "", [ANSWER], [{"role": "assistant", "content": "5"}])


def test_text() -> None:
    assert to_example({"text": "once", "meta": {"a": 1}}) == Example(Format.TEXT, [], [], [], "once")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "an empty object"),
        ({"query": "a", "reply": "b"}, "query without response (query-response)"),
        ({"sentence": "a", "verdict": "b"}, "no known form has the keys sentence, verdict"),
        ({"prompt": "a"}, "prompt without completion (prompt-completion)"),
        ({"request": {}}, "request without response (session)"),
        ({"messages": []}, "messages is empty"),
        ({"messages": "hi"}, "messages is a string, not an array"),
        ({"messages": [USER]}, "no assistant message to train on"),
        ({"messages": [USER, {**ANSWER, "weight": 0}]}, "no assistant message to train on"),
        ({"messages": [USER, "hi"]}, "messages[1] is a string, not an object"),
        ({"messages": [{"content": "x"}]}, "messages[0] has no role"),
        ({"messages": [USER, {"role": "narrator", "content": "x"}]}, "messages[1].role is 'narrator', not one of system"),
        ({"messages": [USER, {"role": ["assistant"], "content": "x"}]}, "messages[1].role is ['assistant'], not one of system"),
        ({"messages": [USER, {"role": "assistant"}]}, "messages[1] has no content"),
        ({"messages": [USER, {"role": "assistant", "content": 4}]}, "messages[1].content is a number, not a string"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0] is of type image_url, and only text",
        ),
        ({"messages": [USER, {**USER, "tool_calls": [{}]}]}, "messages[1] has tool_calls and is not the assistant's"),
        ({"messages": [{**ANSWER, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]}, "tool_calls[0] arguments: not JSON"),
        (
            {"messages": [{**ANSWER, "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}]},
            "arguments are an array, not an object",
        ),
        ({"messages": [USER, ANSWER], "tools": [{"description": "x"}]}, "tools[0] has no name"),
        ({"conversations": [{"from": "human", "value": "x"}]}, "no assistant turn to train on"),
        ({"conversations": [{"from": "narrator", "value": "x"}]}, "conversations[0].from is 'narrator'"),
        ({"conversations": [{"from": "gpt", "value": None}]}, "conversations[0] has no value"),
        ({"conversations": [{"from": "function_call", "value": "f(1)"}]}, "conversations[0].value: not JSON"),
        ({"prompt": "a", "completion": [USER]}, "completion has no assistant message"),
        ({"instruction": "a", "output": 3}, "output is a number, not a string"),
        ({"text": ["a"]}, "text is an array, not a string"),
        ({"chosen": "a", "rejected": "b"}, "chosen and rejected without a prompt"),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
        ({"request": [], "response": {}}, "request is an array, not an object"),
        ({"request": {"messages": [USER]}, "response": {}}, "response has no content"),
        ({"request": {"messages": []}, "response": {"content": []}}, "request.messages is not a list of messages"),
        (
            {"request": {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "response": {"content": "a"}},
            "request.messages[0].content[0] is of type image, and only text can be trained on",
        ),
        (
            {"request": {"messages": [USER]}, "response": {"content": [{"type": "tool_result"}]}},
            "response.content[0] is a tool_result block in a message of the assistant",
        ),
    ],
)
def test_reasons(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRow) as caught:
        to_example(row)
    assert reason in str(caught.value)


INNER_KEYS = "role content type text from value tool_calls function name arguments messages system tools input".split()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | st.sampled_from(["user", "assistant", "text", "tool_use"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER_KEYS), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "request",
        "response",
        "messages",
        "conversations",
        "prompt",
        "completion",
        "instruction",
        "output",
        "text",
        "chosen",
        "rejected",
        "tools",
    ]
)


@given(st.dictionaries(KEYS, JSON, min_size=1, max_size=4))
def test_any_row_is_an_example_or_has_a_reason(row: dict[str, Any]) -> None:
    try:
        example = to_example(row)
    except BadRow:
        return
    assert example.format is detect(row)
    for message in [*example.messages, *example.chosen, *example.rejected]:
        assert message["role"] in {"system", "user", "assistant", "tool"}
        assert isinstance(message["content"], str)
    assert all(example.messages[index]["role"] == "assistant" for index in example.trained)
    assert example.trained or example.kind is not Kind.CHAT
    orjson.dumps(example._asdict())


MESSAGES = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text()}), max_size=5)


@given(MESSAGES)
def test_normalising_again_changes_nothing(messages: list[dict[str, str]]) -> None:
    example = to_example({"messages": [*messages, ANSWER]})
    assert to_example({"messages": example.messages}).messages == example.messages
