"""Labels: exactly the assistant's words, for templates with marks, without them, and for those that rewrite history."""

from itertools import islice
from typing import Any

import pytest

from llmlab.dataset import BadRow, Example, Format, to_example
from llmlab.sandbox.model import make_tokenizer
from llmlab.sandbox.runbook import questions
from llmlab.trainer.tokens import IGNORED, MARKS, Encoder, Sequence

TOOLS = [
    {"type": "function", "function": {"name": "restart", "description": "restarts", "parameters": {"type": "object", "properties": {}}}}
]
CALL = {"id": "1", "type": "function", "function": {"name": "restart", "arguments": {"server": "old"}}}
# Thinking is shown in the last answer only, as Qwen3 does.
FORGETFUL = (
    "{%- for m in messages -%}{{- '<|start|>' + m.role + '\\n' -}}"
    "{%- if m.role == 'assistant' and loop.last -%}{{- '<think></think>' -}}{%- endif -%}"
    "{{- m.content + '<|end|>\\n' -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|start|>assistant\\n' -}}{%- endif -%}"
)
# Every rendering begins with the number of messages, so that no prefix is ever the same.
COUNTING = "{{- messages | length | string -}}" + FORGETFUL


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(0)


def with_template(tokenizer: Any, template: str) -> Encoder:
    tokenizer.chat_template = template
    return Encoder(tokenizer)


@pytest.fixture
def marked(tokenizer: Any) -> Encoder:
    from llmlab.sandbox.model import TEMPLATE

    return with_template(tokenizer, TEMPLATE)


@pytest.fixture
def unmarked() -> Encoder:
    from llmlab.sandbox.model import TEMPLATE

    return with_template(make_tokenizer(0), MARKS.sub("", TEMPLATE).replace("{%- endgeneration -%}", ""))


def words(encoder: Encoder, sequence: Sequence) -> list[str]:
    """The runs of tokens with loss, as text."""
    runs: list[list[int]] = []
    before = IGNORED
    for label in sequence.labels:
        if label != IGNORED:
            if before == IGNORED:
                runs.append([])
            runs[-1].append(label)
        before = label
    return [encoder.tokenizer.decode(run) for run in runs]


def chat(*contents: str, trained: list[int] | None = None, tools: list[dict[str, Any]] | None = None) -> Example:
    messages = [{"role": "user" if index % 2 == 0 else "assistant", "content": content} for index, content in enumerate(contents)]
    return Example(Format.MESSAGES, messages, trained or list(range(1, len(contents), 2)), tools or [])


def test_marks_and_prefixes_agree(marked: Encoder, unmarked: Encoder) -> None:
    assert marked.has_marks
    assert not unmarked.has_marks
    seen = 0
    for one, two in zip(islice(questions(1), 30), islice(questions(2), 30), strict=True):
        example = chat(one.text, one.answer, two.text, two.answer)
        assert marked.encode(example) == unmarked.encode(example)
        seen += 1
    assert seen == 30


def test_only_the_answers_carry_loss(marked: Encoder) -> None:
    (sequence,) = marked.encode(chat("Is it up?", "Yes, it is.", "And now?", "Still."))
    assert words(marked, sequence) == ["Yes, it is.<|end|>", "Still.<|end|>"]
    assert all(label in {IGNORED, token} for token, label in zip(sequence.ids, sequence.labels, strict=True))
    text = marked.tokenizer.decode(sequence.ids)
    assert text == (
        "<|start|>user\nIs it up?<|end|>\n<|start|>assistant\nYes, it is.<|end|>\n"
        "<|start|>user\nAnd now?<|end|>\n<|start|>assistant\nStill.<|end|>\n"
    )


def test_only_the_trained_answers_carry_loss(marked: Encoder, unmarked: Encoder) -> None:
    example = chat("a", "first", "b", "second", "c", "third", trained=[3])
    for encoder in (marked, unmarked):
        (sequence,) = encoder.encode(example)
        assert words(encoder, sequence) == ["second<|end|>"]
        assert "third" not in encoder.tokenizer.decode(sequence.ids)


def test_tools_calls_and_thoughts_reach_the_template(marked: Encoder, unmarked: Encoder) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Restart it."},
        {"role": "assistant", "content": "", "reasoning_content": "a restart", "tool_calls": [CALL]},
        {"role": "tool", "content": "done", "tool_call_id": "1"},
        {"role": "assistant", "content": "It is up."},
    ]
    example = Example(Format.MESSAGES, messages, [2, 4], TOOLS)
    for encoder in (marked, unmarked):
        (sequence,) = encoder.encode(example)
        assert words(encoder, sequence) == [
            '<think>a restart</think><call>{"name": "restart", "arguments": {"server": "old"}}</call><|end|>',
            "It is up.<|end|>",
        ]
        assert '"description": "restarts"' in encoder.tokenizer.decode(sequence.ids)


def test_a_template_that_rewrites_history_makes_a_sequence_for_each_turn(tokenizer: Any) -> None:
    encoder = with_template(tokenizer, FORGETFUL)
    first, last = encoder.encode(chat("a", "one", "b", "two"))
    assert words(encoder, first) == ["<think></think>one<|end|>"]
    assert encoder.tokenizer.decode(first.ids) == "<|start|>user\na<|end|>\n<|start|>assistant\n<think></think>one<|end|>\n"
    assert words(encoder, last) == ["<think></think>two<|end|>"]


def test_what_cannot_be_exact_is_refused_with_the_message(tokenizer: Any) -> None:
    encoder = with_template(tokenizer, COUNTING)
    with pytest.raises(BadRow, match=r"messages\[1\]: the chat template renders what comes before this answer differently"):
        encoder.encode(chat("a", "b"))
    with pytest.raises(BadRow, match="refuses the messages: roles must alternate"):
        with_template(tokenizer, "{{ raise_exception('roles must alternate.') }}").encode(chat("a", "b"))
    with pytest.raises(BadRow, match="renders nothing for the assistant"):
        with_template(tokenizer, "x{% generation %}{% endgeneration %}").encode(chat("a", "b"))
    with pytest.raises(BadRow, match="has no chat template"):
        with_template(tokenizer, "").encode(chat("a", "b"))
    with pytest.raises(BadRow, match="preference"):
        encoder.encode(to_example({"prompt": "a", "chosen": "b", "rejected": "c"}))


def test_text_is_trained_on_whole_and_ends(marked: Encoder) -> None:
    (sequence,) = marked.encode(to_example({"text": "restart the server"}))
    assert sequence.labels == sequence.ids
    assert marked.tokenizer.decode(sequence.ids) == "restart the server<|end|>"
