"""Families of chat templates, each in the shape that makes it hard, written small: loss is on the answer, whole and with its end."""

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from llmlab.dataset import BadRow, Example, Format
from llmlab.dataset.rendering.drafts import Draft
from llmlab.sandbox.model import make_tokenizer
from llmlab.trainer.data.example_encoder import Encoder
from tests.trainer.test_templates import said

CONTROL = ["<|call|>", "<|message|>", "<|channel|>", "<|return|>", "<|user|>", "<|assistant|>", "<|seen|>", "<s>"]
GET = [{"type": "function", "function": {"name": "get", "description": "", "parameters": {"type": "object", "properties": {}}}}]
USER, RESULT = said("user", "Is it up?"), said("tool", "rain", tool_call_id="call00001", name="get")

# Asks with an open thought and renders an answer without one, as DeepSeek R1's distills do.
OPEN = (
    "{%- for m in messages -%}{{- '<|start|>' + m.role + m.content + '<|end|>' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|start|>assistant<think>\\n' -}}{%- endif -%}"
)
TURNS = "{%- for m in messages -%}{{- '<|start|>' + m.role + '\\n' + m.content + '<|end|>\\n' -}}{%- endfor -%}"
# Add the prompt for an answer to every conversation, as Llama 3's first template does.
ALWAYS = {
    "a header of its own": TURNS + "{{- '<|start|>assistant\\n' -}}",
    "a system turn by default": "<|start|>system\nBe brief.<|end|>\n" + TURNS + "{{- '<|start|>assistant\\n' -}}",
    "no header": "{%- for m in messages -%}{{- '<|' + m.role + '|>' + m.content + '<|end|>' -}}{%- endfor -%}<|assistant|>",
    "a first token": "{{- '<s>' -}}" + TURNS.replace("\\n'", "'") + "{{- '<|start|>assistant' -}}",
    "words": "{%- for m in messages -%}{{- '### ' + m.role + ':\\n' + m.content + '\\n' -}}{%- endfor -%}{{- '### assistant:\\n' -}}",
}
# Shows one call, drops the thoughts before a call once an answer follows, and ends the last answer otherwise: gpt-oss.
CHANNELS = """
{%- for m in messages -%}
{%- if m.role == 'assistant' and m.tool_calls -%}
{%- if m.thinking and messages[-1].role != 'assistant' or m.thinking and loop.last -%}
{{- '<|start|>assistant<|channel|>thoughts<|message|>' + m.thinking + '<|end|>' -}}
{%- endif -%}
{%- set c = m.tool_calls[0].function -%}
{{- '<|start|>assistant to=' + c.name + '<|message|>' + (c.arguments | tojson) + '<|call|>' -}}
{%- elif m.role == 'assistant' -%}
{%- if m.thinking and loop.last -%}{{- '<|start|>assistant<|channel|>thoughts<|message|>' + m.thinking + '<|end|>' -}}{%- endif -%}
{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + ('<|return|>' if loop.last else '<|end|>') -}}
{%- else -%}
{{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if tools -%}{%- endif -%}
{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%}
"""
CALLING = (
    "{%- if tools -%}{%- endif -%}{%- for m in messages -%}{{- '<|start|>' + m.role + '\\n' + m.content -}}"
    "{%- for c in m.tool_calls or [] -%}{{- '<|call|>' + c.function.name + ' ' JOIN c.function.arguments -}}{%- endfor -%}"
    "{{- '<|end|>' -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|start|>assistant\\n' -}}{%- endif -%}"
)
# Puts nothing behind an answer: what begins the next turn is what the model stops with. GLM.
ENDLESS = """
{%- if tools -%}{%- endif -%}
{%- for m in messages -%}
{{- ('<|seen|>' if m.role == 'tool' else '<|' + m.role + '|>') + '\\n' + m.content -}}
{%- for c in m.tool_calls or [] -%}{{- '[' + c.function.name + (c.function.arguments | tojson) + ']' -}}{%- endfor -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}
"""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = make_tokenizer(0)
    made.add_special_tokens({"additional_special_tokens": CONTROL})
    return made


def call(city: str) -> dict[str, Any]:
    return {"id": "call00001", "type": "function", "function": {"name": "get", "arguments": {"city": city}}}


def drafts(tokenizer: Any, template: str, *messages: dict[str, Any], tools: Any = ()) -> list[Draft]:
    tokenizer.chat_template = template
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    encoder = Encoder(tokenizer)
    example = Example(Format.MESSAGES, list(messages), answers, list(tools))
    made = encoder.drafter.drafts(example)
    for draft, sequence in zip(made, encoder.encode(example), strict=True):
        learned = [number for number, mask in zip(sequence.ids.tolist(), sequence.mask.tolist(), strict=True) if mask]
        assert tokenizer.decode(learned) == draft.answers
        assert sequence.ids.tolist() == tokenizer(draft.text, add_special_tokens=False)["input_ids"]
    return made


def shown(draft: Draft) -> str:
    """The text with its answers in brackets."""
    text = draft.text
    for start, end in reversed(draft.spans or []):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


@pytest.mark.parametrize(
    "answer", ["<!DOCTYPE html>", "<thead>", "<think", "<b>Hello</b>", "< 5", "<", "", "\n", "<think>\n\nYes.", "t", "<|", "Yes."]
)
def test_an_answer_that_begins_like_the_templates_own_words_is_whole_and_ends(tokenizer: Any, answer: str) -> None:
    (draft,) = drafts(tokenizer, OPEN, USER, said("assistant", answer))
    asked = "<|start|>userIs it up?<|end|><|start|>assistant"
    opens = "<think>\n" if answer.startswith("<think>\n") else ""
    assert shown(draft) == f"{asked}{opens}[{answer.removeprefix(opens)}<|end|>]"
    (draft,) = drafts(tokenizer, OPEN, USER, said("assistant", answer), USER, said("assistant", answer))
    assert [text[0] for text in shown(draft).split("[")[1:]] == [(answer.removeprefix(opens) + "<")[0]] * 2
    assert draft.answers.count("<|end|>") == 2


@pytest.mark.parametrize("name", ALWAYS)
def test_a_template_that_always_asks_for_an_answer_trains_no_header(tokenizer: Any, name: str) -> None:
    (draft,) = drafts(tokenizer, ALWAYS[name], USER, said("assistant", "Yes."), said("user", "And now?"), said("assistant", ""))
    first, last = (shown(draft).split("[")[at].partition("]")[0] for at in (1, 2))
    assert first.startswith("Yes.")
    assert first.removeprefix("Yes.").rstrip() == last.rstrip() == ("" if name == "words" else "<|end|>")
    assert "assistant" not in draft.answers
    assert draft.text.count("assistant") == 2


def test_templates_that_ask_only_when_asked_lose_nothing(tokenizer: Any) -> None:
    for template in (OPEN, CHANNELS, ENDLESS, TURNS, "{%- for m in messages -%}{{- '[' + m.content + ']' -}}{%- endfor -%}"):
        tokenizer.chat_template = template
        assert not Encoder(tokenizer).template.always


def test_of_several_calls_none_is_lost(tokenizer: Any) -> None:
    several = said("assistant", "", tool_calls=[call("Oslo"), call("Rome")])
    reason = r"messages\[1\]: the chat template does not show each of the 2 tool calls"
    with pytest.raises(BadRow, match=reason):
        drafts(tokenizer, CHANNELS, USER, several, RESULT, tools=GET)
    with pytest.raises(BadRow, match=reason):
        drafts(tokenizer, CHANNELS, USER, said("assistant", "", tool_calls=[call("Oslo"), call("Oslo")]), RESULT, tools=GET)
    (draft,) = drafts(tokenizer, ENDLESS, USER, several, RESULT, tools=GET)
    assert draft.answers == '[get{"city": "Oslo"}][get{"city": "Rome"}]<|seen|>'


def test_a_call_whose_arguments_are_left_out_is_refused(tokenizer: Any) -> None:
    template = CALLING.replace("JOIN c.function.arguments", "")
    with pytest.raises(BadRow, match=r"messages\[1\]: the chat template does not show the arguments of this tool call"):
        drafts(tokenizer, template, USER, said("assistant", "", tool_calls=[call("Oslo")]), tools=GET)


def test_an_empty_answer_before_another_turn_trains_its_end(tokenizer: Any) -> None:
    first, last = drafts(tokenizer, CHANNELS, USER, said("assistant", ""), USER, said("assistant", "Yes."))
    assert first.answers == "<|channel|>final<|message|><|return|>"
    assert last.answers == "<|channel|>final<|message|>Yes.<|return|>"
    assert last.text.count("<|channel|>final<|message|><|end|>") == 1


def test_thoughts_that_are_dropped_once_an_answer_follows_stand_where_the_model_is_asked_with_them(tokenizer: Any) -> None:
    thinking = said("assistant", "", tool_calls=[call("Oslo")], reasoning_content="a look at it")
    first, last = drafts(
        tokenizer, CHANNELS, USER, thinking, RESULT, said("assistant", "Rain.", reasoning_content="so it rains"), tools=GET
    )
    thoughts = "<|channel|>thoughts<|message|>a look at it<|end|><|start|>assistant"
    assert first.answers == thoughts + ' to=get<|message|>{"city": "Oslo"}<|call|>'
    assert last.answers == "<|channel|>thoughts<|message|>so it rains<|end|><|start|>assistant<|channel|>final<|message|>Rain.<|return|>"
    assert thoughts in last.text.removesuffix(last.answers)


@pytest.mark.parametrize("join", ["+", "~"])
def test_arguments_are_text_where_the_template_wants_text(tokenizer: Any, join: str) -> None:
    (draft,) = drafts(
        tokenizer,
        CALLING.replace("JOIN", join),
        USER,
        said("assistant", "", tool_calls=[call('Köln "a"')]),
        RESULT,
        said("assistant", "."),
        tools=GET,
    )
    assert '[<|call|>get {"city": "Köln \\"a\\""}<|end|>]' in shown(draft)


@pytest.mark.parametrize("join", ["+ (c.function.arguments | tojson)", "+ (c.function.arguments | items | list | string)"])
def test_arguments_are_objects_where_the_template_wants_objects(tokenizer: Any, join: str) -> None:
    tokenizer.chat_template = CALLING.replace("JOIN c.function.arguments", join)
    assert not Encoder(tokenizer).template.wants_text


def test_an_answer_with_nothing_behind_it_ends_with_what_begins_the_next_turn(tokenizer: Any) -> None:
    calling = said("assistant", "Let me see.", tool_calls=[call("Oslo")])
    (draft,) = drafts(tokenizer, ENDLESS, USER, calling, RESULT, said("assistant", "Rain."), USER, said("assistant", ""), tools=GET)
    assert shown(draft) == (
        '<|user|>\nIs it up?<|assistant|>\n[Let me see.[get{"city": "Oslo"}]<|seen|>]\nrain'
        "<|assistant|>\n[Rain.<|user|>]\nIs it up?<|assistant|>\n[<|user|>]"
    )
    (draft,) = drafts(tokenizer, ENDLESS, USER, calling, tools=GET)
    assert draft.answers.endswith("]<|seen|>")


def test_a_template_without_tools_says_so(tokenizer: Any) -> None:
    alternate = "{%- if messages[2] and messages[2].role != 'user' -%}{{- raise_exception('Roles must alternate') -}}{%- endif -%}" + TURNS
    with pytest.raises(BadRow, match=r"the chat template knows no tools, and the messages have some .*Roles must alternate"):
        drafts(tokenizer, alternate, USER, said("assistant", "", tool_calls=[call("Oslo")]), RESULT, said("assistant", "a"), tools=GET)
    with pytest.raises(BadRow, match=r"^the chat template refuses the messages: Roles must alternate"):
        drafts(tokenizer, alternate, USER, said("assistant", "a"), said("assistant", "b"))


def test_two_answers_in_a_row_that_a_template_does_not_take_are_named(tokenizer: Any) -> None:
    template = (
        "{%- for m in messages -%}"
        "{{- '<|seen|>' if loop.index0 and messages[loop.index0 - 1].role == m.role else '<|start|>' + m.role -}}"
        "{{- m.content + '<|end|>' -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%}"
    )
    (draft,) = drafts(tokenizer, template, USER, said("assistant", "b"), USER, said("assistant", "c"))
    assert draft.answers == "b<|end|>c<|end|>"
    with pytest.raises(BadRow, match=r"messages\[2\]: two assistant messages in a row"):
        drafts(tokenizer, template, USER, said("assistant", "b"), said("assistant", "c"))


@pytest.mark.parametrize("text", ["<s>plain words", "plain words", "<s>", "<s>plain words<|end|>"])
def test_a_text_that_spells_the_first_token_has_it_once(text: str) -> None:
    tokenizer = make_tokenizer(0)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    first = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", first)])
    (sequence,) = Encoder(tokenizer).encode(Example(Format.TEXT, [], [], [], text))
    ids = sequence.ids.tolist()
    assert ids.count(first) == 1
    assert ids[0] == first
    assert ids.count(tokenizer.eos_token_id) == 1
