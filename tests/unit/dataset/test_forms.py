"""Every form of the table: what its rows become, what is told of keys that nobody reads, and what a row is refused for."""

# ruff: noqa: E501 - a row a line reads better than cut up

from typing import Any

import pytest

from llmlab.dataset import BadRow, Example, Format, Kind, LeftOut, detect, to_example
from llmlab.dataset.formats import canonical
from llmlab.dataset.forms import FORMS, shown
from llmlab.dataset.forms_refused import REFUSED

USER = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}
WORSE = {"role": "assistant", "content": "5"}
SYSTEM = {"role": "system", "content": "Be brief."}
TOOL = {"type": "function", "function": {"name": "get", "description": "d", "parameters": {"type": "object", "properties": {}}}}
GET = {"type": "function", "function": {"name": "get", "arguments": {}}}

FILES = {Format.CLAUDE_CODE, Format.CODEX}
"""Forms of files: their examples are lines of one."""


def test_every_form_has_an_example_that_becomes_it() -> None:
    seen = 0
    for name, keys, becomes, examples, sources in shown():
        assert keys
        assert becomes
        assert all(source.startswith("https://") for source in sources), name
        assert len({source.split("#")[0] for source in sources}) >= 2, f"{name}: of a form two sources that do not know of each other"
        for example in examples:
            if name not in FILES:
                assert to_example(example).format is name is detect(example), example
            seen += 1
    assert {name for name, *_ in shown()} == set(Format)
    assert seen >= 30
    assert {form.format for form in FORMS} | FILES | {Format.OPENAI_LOG, Format.RESPONSES_LOG, Format.KTO} == set(Format)


def chat(example: Example) -> list[tuple[str, str, bool]]:
    """Who says what, and whether it carries loss."""
    return [(one["role"], one["content"], at in example.trained) for at, one in enumerate(example.messages)]


ASKED = [("user", "2 + 2?", False), ("assistant", "4", True)]
BRIEFLY = [("system", "Be brief.", False), *ASKED]
TURNS: list[dict[str, Any]] = [
    {"messages": [USER, ANSWER]},
    {"conversation": [USER, ANSWER], "turn": 1, "model": "m"},
    {"messages": '[{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]'},
    {"messages": [{"role": "User", "message": "2 + 2?"}, {"role": "Chatbot", "message": "4"}]},
    {"messages": [{"role": "human", "content": "2 + 2?"}, {"role": "ai", "content": "4"}]},
    {"messages": [{"role": "HUMAN", "content": "2 + 2?"}, {"role": "bot", "content": "4"}]},
    {"messages": [{"role": "user", "content": ["2 + 2?"]}, {"role": "model", "content": [{"type": "text", "text": "4"}]}]},
    {"messages": [{"role": "user", "content": [{"text": "2 + 2?"}]}, {"role": "assistant", "content": [{"text": "4"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "value": "2 + 2?"}]}, {"role": "assistant", "content": "4"}]},
    {"messages": [{"role": "user", "content": {"type": "text", "text": "2 + 2?"}}, ANSWER]},
    {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "2 + 2?"}]}, ANSWER]},
    {"messages": [USER, {"role": "assistant", "content": None, "refusal": "4"}]},
    {"items": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},
    {"conversations": [{"from": "Human", "value": "2 + 2?"}, {"from": "GPT", "value": "4"}]},
    {"conversations": [{"from": "human", "value": "2 + 2?", "weight": 0.0}, {"from": "gpt", "value": "4", "weight": 1.0}]},
    {"conversation": [{"human": "2 + 2?", "assistant": "4"}]},
    {"conversation": [{"input": "2 + 2?", "output": "4"}]},
    {"contents": [{"role": "user", "parts": [{"text": "2 + 2?"}]}, {"role": "model", "parts": [{"text": "4"}]}]},
    {"contents": [{"parts": {"text": "2 + 2?"}}, {"role": "model", "parts": [{"text": "4", "thoughtSignature": "x"}]}]},
    {"prompt": "2 + 2?", "completion": "4"},
    {"prompt": "2 + 2?", "response": "4"},
    {"prompt": [USER], "completion": ANSWER},
    {"query": "2 + 2?", "response": "4"},
    {"question": "2 + 2?", "answer": "4"},
    {"question": "2 + 2?", "response": "4"},
    {"input": "2 + 2?", "output": "4"},
    {"instruction": "2 + 2?", "output": "4", "text": "Below is an instruction …"},
    {"instruction": "2 + 2?", "context": "", "response": "4", "category": "closed_qa"},
    {"instruction": "", "input": "2 + 2?", "output": "4"},
]


@pytest.mark.parametrize("row", TURNS)
def test_a_question_and_its_answer(row: dict[str, Any]) -> None:
    example = to_example(row)
    assert chat(example) == ASKED
    assert not example.unread
    assert to_example(canonical(example))._replace(format=example.format) == example


@pytest.mark.parametrize(
    "row",
    [
        {"system": "Be brief.", "messages": [USER, ANSWER]},
        {"system": [{"type": "text", "text": "Be brief."}], "messages": [USER, ANSWER]},
        {"system": [{"text": "Be brief."}], "messages": [USER, ANSWER], "schemaVersion": "bedrock-conversation-2024"},
        {"system": "Be brief.", "messages": [SYSTEM, USER, ANSWER]},
        {"system_prompt": "Be brief.", "question": "2 + 2?", "response": "4"},
        {"system": "Be brief.", "prompt": "2 + 2?", "completion": "4"},
        {"system": "Be brief.", "conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},
        {"system": "Be brief.", "instruction": "2 + 2?", "output": "4"},
        {"messages": [{"role": "System", "content": "Be brief."}, USER, ANSWER]},
        {"messages": [{"role": "developer", "content": "Be brief."}, USER, ANSWER]},
        {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [{"parts": [{"text": "2 + 2?"}]},
                                                                              {"role": "model", "parts": [{"text": "4"}]}]},
        {"conversation": [{"system": "Be brief.", "input": "2 + 2?", "output": "4"}]},
        {"request": {"system": "Be brief.", "messages": [USER]}, "response": {"content": [{"type": "text", "text": "4"}]}},
        {"request": {"instructions": "Be brief.", "input": "2 + 2?"}, "response": {"output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}]}},
    ],
)  # fmt: skip
def test_a_system_prompt_beside_the_messages_reaches_them(row: dict[str, Any]) -> None:
    assert chat(to_example(row)) == BRIEFLY


def test_a_system_prompt_beside_a_preference_reaches_it() -> None:
    example = to_example({"system": "Be brief.", "prompt": "2 + 2?", "chosen": "4", "rejected": "5"})
    assert example.messages == [SYSTEM, USER]


@pytest.mark.parametrize(
    "without_loss",
    [
        {"weight": 0}, {"weight": 0.0}, {"train": False}, {"training": False}, {"loss_weight": 0.0}, {"loss": False},
        {"train": True, "weight": 0},
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["messages", "conversations", "conversation"])
def test_what_the_user_excludes_carries_no_loss(key: str, without_loss: dict[str, Any]) -> None:
    example = to_example({key: [USER, {**WORSE, **without_loss}, USER, ANSWER]})
    assert example.trained == [3]
    assert to_example(canonical(example)).trained == [3]


def test_shares_of_loss_are_refused_and_loss_on_others_is_told() -> None:
    with pytest.raises(BadRow, match="a message carries loss"):
        to_example({"messages": [USER, {**ANSWER, "weight": 0.5}]})
    assert to_example({"messages": [{**USER, "train": True}, ANSWER]}).unread == ("messages[].train of the user",)
    assert to_example({"messages": [USER, ANSWER], "weight": 1}).trained == [1]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, {**ANSWER, "thinking": "two and two"}]},
        {"messages": [USER, {**ANSWER, "reasoning": "two and two"}]},
        {"messages": [USER, {**ANSWER, "reasoning_content": "two and two"}]},
        {"messages": [USER, {**ANSWER, "reasoning_details": [{"type": "reasoning.text", "text": "two and two"}]}]},
        {"messages": [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "two and two"}, {"type": "text", "text": "4"}]}]},
        {"messages": [USER, {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "two and two"}}}, {"text": "4"}]}]},
        {"messages": [USER, {"role": "assistant", "content": [{"type": "reasoning", "value": "two and two"}, {"type": "text", "value": "4"}]}]},
        {"contents": [{"parts": [{"text": "2 + 2?"}]}, {"role": "model", "parts": [{"text": "two and two", "thought": True}, {"text": "4"}]}]},
        {"question": "2 + 2?", "answer": "4", "reasoning": "two and two"},
        {"request": {"messages": [USER]}, "response": {"choices": [{"message": {**ANSWER, "reasoning": "two and two"}}]}},
        {"request": {"input": "2 + 2?"}, "response": {"output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "two and two"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}]}},
    ],
)  # fmt: skip
def test_thoughts(row: dict[str, Any]) -> None:
    assert to_example(row).messages == [USER, {**ANSWER, "reasoning_content": "two and two"}]


CALLED = {"role": "assistant", "content": "", "tool_calls": [GET]}


@pytest.mark.parametrize(
    "called",
    [
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "get", "arguments": "{}"}}]},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "get", "arguments": '"{}"'}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "get", "arguments": ""}}]},
        {"role": "assistant", "tool_calls": [{"name": "get", "arguments": {}}]},
        {"role": "assistant", "tool_calls": '[{"name": "get", "arguments": {}}]'},
        {"role": "assistant", "function_call": {"name": "get", "arguments": None}},
        {"role": "tool_call", "content": '{"name": "get", "arguments": {}}'},
        {"from": "function_call", "value": '[{"name": "get", "arguments": "{}"}]'},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "get", "input": {}}]},
        {"role": "assistant", "content": [{"toolUse": {"name": "get", "input": {}}}]},
        {"role": "assistant", "content": [{"type": "tool_call", "value": '{"name": "get", "arguments": {}}'}]},
    ],
)
@pytest.mark.parametrize(
    "tools",
    [
        {"tools": [TOOL]},
        {"tools": [TOOL["function"]]},
        {"tools": [{"name": "get", "description": "d", "input_schema": {"type": "object", "properties": {}}}]},
        {"functions": [TOOL["function"]]},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "get", "description": "d", "inputSchema": {"json": TOOL["function"]["parameters"]}}}]}},
        {"tools": [{"functionDeclarations": [TOOL["function"]]}]},
        {"tools": '[{"name": "get", "description": "d", "parameters": "{\\"type\\": \\"object\\", \\"properties\\": {}}"}]'},
    ],
)  # fmt: skip
def test_calls_and_tools_in_every_dialect(called: dict[str, Any], tools: dict[str, Any]) -> None:
    example = to_example({"messages": [USER, called, {"role": "tool", "content": "rain"}, ANSWER], **tools})
    assert example.messages == [USER, CALLED, {"role": "tool", "content": "rain"}, ANSWER]
    assert example.trained == [1, 3]
    assert example.tools == [TOOL]


def test_nulls_that_are_meant_stay() -> None:
    row = {"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "set", "arguments": '{"until": null}'}}]}]}
    assert to_example(row).messages[1]["tool_calls"][0]["function"]["arguments"] == {"until": None}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"t": 12}, '{"t":12}'), (12, "12"), (True, "true"), ([{"t": 12}], '[{"t":12}]'), ([1, 2], "[1,2]"), ("12", "12"), ([], ""),
        ([{"type": "text", "text": "a"}, "b"], "a\nb"), ([{"json": {"t": 12}}], '{"t":12}'),
    ],
)  # fmt: skip
def test_what_a_tool_answers_is_text_or_its_json(content: object, text: str) -> None:
    row = {"messages": [USER, CALLED, {"role": "tool", "content": content}, ANSWER]}
    assert to_example(row).messages[2]["content"] == text


def test_results_in_a_users_message_are_messages_of_their_own() -> None:
    results = [{"toolResult": {"toolUseId": "t1", "content": [{"json": {"t": 12}}]}}, {"text": "And?"}]
    example = to_example({"messages": [USER, CALLED, {"role": "user", "content": results}, ANSWER]})
    assert example.messages[2:] == [
        {"role": "tool", "content": '{"t":12}', "tool_call_id": "t1"},
        {"role": "user", "content": "And?"},
        ANSWER,
    ]
    assert example.trained == [1, 4]


@pytest.mark.parametrize(
    ("row", "earlier"),
    [
        ({"instruction": "2 + 2?", "input": "", "output": "4", "history": [["1 + 1?", "2"]]}, [("user", "1 + 1?"), ("assistant", "2")]),
        ({"query": "2 + 2?", "response": "4", "history": [["1 + 1?", "2"], ["a", "b"]]}, [("user", "1 + 1?"), ("assistant", "2"), ("user", "a"),
                                                                                         ("assistant", "b")]),
        ({"query": "2 + 2?", "response": "4", "history": []}, []),
        ({"query": "2 + 2?", "response": "4", "history": None}, []),
        ({"instruction": "2 + 2?", "output": "4", "history": '[["1 + 1?", "2"]]'}, [("user", "1 + 1?"), ("assistant", "2")]),
    ],
)  # fmt: skip
def test_history_is_the_turns_before(row: dict[str, Any], earlier: list[tuple[str, str]]) -> None:
    example = to_example(row)
    assert [(one["role"], one["content"]) for one in example.messages] == [*earlier, ("user", "2 + 2?"), ("assistant", "4")]
    assert example.trained == list(range(1, len(example.messages), 2))


PREFERENCES: list[dict[str, Any]] = [
    {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
    {"prompt": "2 + 2?", "chosen": [USER, ANSWER], "rejected": [USER, WORSE], "messages": [USER, ANSWER], "score_chosen": 8.5},
    {"question": "2 + 2?", "chosen": "4", "rejected": "5", "system": None},
    {"instruction": "2 + 2?", "input": "", "chosen": "4", "rejected": "5"},
    {"input": "2 + 2?", "chosen": ANSWER, "rejected": WORSE},
    {
        "conversations": [{"from": "human", "value": "2 + 2?"}],
        "chosen": {"from": "gpt", "value": "4"},
        "rejected": {"from": "gpt", "value": "5"},
    },
    {"messages": [USER], "chosen": ANSWER, "rejected": WORSE},
    {"messages": [USER, ANSWER], "rejected_response": "5"},
    {"messages": [USER, ANSWER], "rejected_messages": [WORSE]},
    {"messages": [USER, ANSWER], "rejected_message": WORSE},
    {
        "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [ANSWER],
        "non_preferred_output": [WORSE],
    },
    {"chosen": [USER, ANSWER], "rejected": [USER, WORSE]},
    {"chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5"},
]


@pytest.mark.parametrize("row", PREFERENCES)
def test_preferences(row: dict[str, Any]) -> None:
    example = to_example(row)
    assert (example.messages, example.chosen, example.rejected, example.kind) == ([USER], [ANSWER], [WORSE], Kind.PREFERENCE)
    assert not example.unread


@pytest.mark.parametrize("label", [True, False, 0, 1])
@pytest.mark.parametrize(
    "row", [{"messages": [USER, ANSWER]}, {"prompt": "2 + 2?", "completion": "4"}, {"instruction": "2 + 2?", "output": "4"}]
)
def test_a_label_makes_an_unpaired_preference(row: dict[str, Any], label: object) -> None:
    example = to_example({**row, "label": label})
    assert (example.kind, example.label, chat(example)) == (Kind.KTO, bool(label), ASKED)
    assert to_example({**row, "kto_tag": label}).label is bool(label)
    assert to_example({**row, "label": "math"}).unread == ("label",)
    assert to_example({**row, "label": None}).kind is Kind.CHAT


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": [USER, ANSWER], "persona": "x"}, ("persona",)),
        ({"messages": [USER, ANSWER], "persona": "", "notes": []}, ()),
        ({"messages": [USER, ANSWER], "id": 1, "source": "x", "metadata": {"a": 1}}, ()),
        ({"messages": [{**USER, "mood": "x"}, {**ANSWER, "mood": "x", "id": 1}]}, ("messages[].mood",)),
        ({"messages": [{**USER, "thinking": "x"}, ANSWER]}, ("messages[].thinking of the user",)),
        ({"text": "a", "summary": "b"}, ("summary",)),
        ({"prompt": "a", "completion": "b", "response": "c"}, ("response",)),
        ({"request": {"messages": [USER], "top_p": 1, "mood": 1}, "response": {"content": "4", "usage": {}}}, ("request.mood",)),
        ({"request": {"messages": [USER]}, "response": {"choices": [{"message": ANSWER}, {"message": WORSE}]}}, ("response.choices after the first",)),
        ({"messages": [USER, ANSWER], "tools": [{"type": "web_search"}, TOOL]}, ("tools[] of type web_search",)),
    ],
)  # fmt: skip
def test_keys_that_nobody_reads_are_told_by_name(row: dict[str, Any], told: tuple[str, ...]) -> None:
    assert to_example(row).unread == told


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        *(({"messages": [USER, ANSWER], key: ["door.png"]}, f"{key} beside messages: only text") for key in ("images", "audios", "videos", "image")),
        ({"conversations": [{"from": "human", "value": "<video>"}, {"from": "gpt", "value": "x"}], "videos": ["a.mp4"]}, "videos beside conversations"),
        ({"messages": [{**USER, "images": ["x"]}, ANSWER]}, "messages[0].images: only text"),
        ({"messages": [USER, ANSWER], "history": [["a", "b"]]}, "history beside messages"),
        ({"messages": [USER, ANSWER], "rejected_score_reason": "x"}, "rejected_score_reason beside messages: the worse answer"),
        ({"messages": [USER, ANSWER], "weight": 0.5}, "weight beside messages"),
        ({"messages": [USER, ANSWER], "train": False}, "train beside messages"),
        ({"messages": [USER, {**ANSWER, "train_detail": [{"train": False}]}]}, "messages[1].train_detail: axolotl"),
        ({"messages": [USER, ANSWER], "thinking": "x"}, "thinking beside messages: thoughts belong to one message"),
        ({"text": "good film", "label": 1}, "label beside text: a row to classify"),
        ({"text": "hi", "role": "prompter", "parent_id": None}, "role beside text: one message of a conversation"),
        ({"text": "hi", "system": "s"}, "system beside text"),
        ({"system": "a", "messages": [{"role": "system", "content": "b"}, USER, ANSWER]}, "two system prompts"),
        ({"prompt": "a", "chosen": [USER, {**ANSWER, "weight": 0}], "rejected": "b"}, "chosen has a message without loss"),
        ({"messages": [USER], "rejected_response": "5"}, "messages do not end with the answer"),
        ({"request": {"input": "a"}, "response": {"output": []}}, "response has no output"),
        ({"request": {"input": "a", "previous_response_id": "r1"}, "response": {"output": [{"type": "message"}]}}, "request.previous_response_id"),
        ({"request": {"messages": [USER]}, "response": 'data: {"type": "message_start"}'}, "response is a stream of events"),
    ],
)  # fmt: skip
def test_what_would_change_the_meaning_is_refused_by_name(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRow) as caught:
        to_example(row)
    assert reason in str(caught.value)


def test_rows_of_other_programs_are_named() -> None:
    for keys, reason in REFUSED:
        with pytest.raises(BadRow) as caught:
            to_example(dict.fromkeys(keys, "x"))
        assert str(caught.value) == reason
    assert len(REFUSED) > 15


REQUEST = {"messages": [USER]}


@pytest.mark.parametrize(
    "row",
    [
        {"request": REQUEST, "response": {"content": [{"type": "text", "text": "4"}], "stop_reason": "max_tokens"}},
        {"request": REQUEST, "response": {"choices": [{"message": ANSWER, "finish_reason": "length"}]}},
        {"request": {"input": "2 + 2?"}, "response": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}]}},
        {"request": REQUEST, "response": {"output": {"message": {"role": "assistant", "content": [{"text": "4"}]}}, "stopReason": "max_tokens"}},
        {"request": REQUEST, "response": {"message": ANSWER, "done_reason": "length"}},
        {"request": {"contents": [{"parts": [{"text": "2 + 2?"}]}]}, "response": {"candidates": [
            {"content": {"role": "model", "parts": [{"text": "4"}]}, "finishReason": "MAX_TOKENS"}]}},
        {"messages": [USER, {**ANSWER, "stop_reason": "max_tokens"}]},
        {"messages": [USER, ANSWER], "finish_reason": "length"},
    ],
)  # fmt: skip
def test_an_answer_that_was_cut_off_is_marked(row: dict[str, Any]) -> None:
    example = to_example(row)
    assert example.messages == [USER, {**ANSWER, "cut": True}]
    assert to_example(canonical(example)).messages == example.messages


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"request": REQUEST, "response": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}}, "failed requests"),
        ({"request": REQUEST, "response": None, "error": "timeout"}, "failed requests"),
        ({"request": REQUEST, "response": {"error": {"message": "no"}}}, "failed requests"),
        ({"request": REQUEST, "response": {"status_code": 429, "body": {"detail": "slow down"}}}, "failed requests"),
        ({"request": REQUEST, "response": {"content": "4"}, "status": 500}, "failed requests"),
        ({"request": {"input": "a"}, "response": {"status": "failed", "output": []}}, "failed requests"),
        ({"request": REQUEST, "response": {"content": [{"type": "tool_use", "name": "f", "input": {}}], "stop_reason": "max_tokens"}},
         "answers cut off within a call"),
        ({"request": REQUEST, "response": {"choices": [{"message": CALLED, "finish_reason": "length"}]}}, "answers cut off within a call"),
    ],
)  # fmt: skip
def test_a_request_that_failed_is_no_row(row: dict[str, Any], why: str) -> None:
    with pytest.raises(LeftOut) as caught:
        to_example(row)
    assert caught.value.why == why


@pytest.mark.parametrize(
    "row",
    [
        {"request": {"body": REQUEST, "url": "u"}, "response": {"body": {"content": "4"}, "status": 200}},
        {"request": {"body": '{"messages": [{"role": "user", "content": "2 + 2?"}]}'}, "response": {"body": '{"content": "4"}'}},
        {"request": '{"messages": [{"role": "user", "content": "2 + 2?"}]}', "response": '{"choices": [{"message": {"content": "4"}}]}'},
        {"request": REQUEST, "response": {"body": {"choices": [{"message": ANSWER}]}, "status_code": 200}, "error": None},
        {"request": {"messages": [USER], "model": "m", "stream": True}, "response": {"role": "assistant", "content": [{"type": "text", "text": "4"}]}},
    ],
)  # fmt: skip
def test_logs_of_gateways(row: dict[str, Any]) -> None:
    assert chat(to_example(row)) == ASKED


def test_items_of_a_response_are_one_message_a_turn() -> None:
    request = {"input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "2 + 2?"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "c1", "name": "get", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"role": "developer", "content": "Be brief."},
    ]}  # fmt: skip
    response = {"output": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Look."}]},
        {"type": "function_call", "call_id": "c2", "name": "get", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c3", "name": "patch", "input": "*** Begin"},
        {"type": "web_search_call", "id": "w"},
    ]}  # fmt: skip
    example = to_example({"request": request, "response": response})
    assert [(one["role"], len(one.get("tool_calls", ()))) for one in example.messages] == [
        ("user", 0), ("assistant", 1), ("tool", 0), ("system", 0), ("assistant", 2),
    ]  # fmt: skip
    assert example.messages[4]["tool_calls"][1]["function"] == {"name": "patch", "arguments": {"input": "*** Begin"}}
    assert example.trained == [4]
    assert example.unread == ("items of type web_search_call",)
