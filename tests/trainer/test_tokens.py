"""Loss: exactly on the assistant's words, for templates with marks, without them, and for those that rewrite history."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from llmlab.dataset import BadRow, Example, Format, to_example
from llmlab.dataset.rendering import parts
from llmlab.dataset.rendering.template import MARKS
from llmlab.sandbox.model import TEMPLATE, make_tokenizer
from llmlab.sandbox.runbook import questions
from llmlab.trainer.data import example_encoder
from llmlab.trainer.data.example_encoder import Encoder, Sequence

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
UNMARKED = MARKS.sub("", TEMPLATE).replace("{%- endgeneration -%}", "")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(0)


def with_template(tokenizer: Any, template: str, objective: str = "sft") -> Encoder:
    tokenizer.chat_template = template
    return Encoder(tokenizer, objective)


@pytest.fixture
def marked(tokenizer: Any) -> Encoder:
    return with_template(tokenizer, TEMPLATE)


@pytest.fixture
def unmarked() -> Encoder:
    return with_template(make_tokenizer(0), UNMARKED)


@pytest.fixture(scope="module")
def merging() -> Encoder:
    """A template without marks, and a token that may lie across the edge between prompt and answer."""
    tokenizer = make_tokenizer(0)
    tokenizer.add_tokens(["\n\n"])
    return with_template(tokenizer, UNMARKED)


def words(encoder: Encoder, sequence: Sequence) -> list[str]:
    """The runs of tokens with loss, as text."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], sequence.mask, [0]]).astype(int)))
    return [encoder.tokenizer.decode(sequence.ids[start:end]) for start, end in edges.reshape(-1, 2)]


def chat(*contents: str, trained: list[int] | None = None, tools: list[dict[str, Any]] | None = None) -> Example:
    messages = [{"role": "user" if index % 2 == 0 else "assistant", "content": content} for index, content in enumerate(contents)]
    return Example(Format.MESSAGES, messages, trained or list(range(1, len(contents), 2)), tools or [])


def same(one: Sequence, other: Sequence) -> bool:
    return np.array_equal(one.ids, other.ids) and np.array_equal(one.mask, other.mask)


def test_marks_and_prefixes_agree(marked: Encoder, unmarked: Encoder) -> None:
    assert marked.template.has_marks([])
    assert not unmarked.template.has_marks([])
    seen = 0
    for one, two in zip(islice(questions(1), 30), islice(questions(2), 30), strict=True):
        example = chat(one.text, one.answer, two.text, two.answer)
        (first,), (second,) = marked.encode(example), unmarked.encode(example)
        assert same(first, second)
        assert first.ids.tolist() == marked.tokenizer.apply_chat_template(example.messages, tokenize=True, return_dict=True)["input_ids"]
        seen += 1
    assert seen == 30


def test_only_the_answers_carry_loss(marked: Encoder) -> None:
    (sequence,) = marked.encode(chat("Is it up?", "Yes, it is.", "And now?", "Still."))
    assert words(marked, sequence) == ["Yes, it is.<|end|>", "Still.<|end|>"]
    assert marked.tokenizer.decode(sequence.ids) == (
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


def test_an_answer_that_begins_with_a_line_end_is_asked_for_as_a_server_would(merging: Encoder) -> None:
    encoder = merging
    (sequence,) = encoder.encode(chat("a", "\nb"))
    prompt = encoder.tokenizer.apply_chat_template(chat("a").messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    first = int(sequence.mask.argmax())
    assert sequence.ids[:first].tolist() == prompt["input_ids"]
    assert words(encoder, sequence) == ["\nb<|end|>"]


# what JSON may hold, and what a tokenizer merges or takes for its own
SAYINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\n", "\n\n", " ", "<|end|>", "<|start|>assistant\n", "🙂\u200d"]
)


@settings(max_examples=150, deadline=None)
@given(contents=st.lists(SAYINGS, min_size=2, max_size=6).filter(lambda every: len(every) % 2 == 0))
def test_whatever_is_said_the_loss_is_on_it_and_the_prompt_is_the_servers(merging: Encoder, contents: list[str]) -> None:
    encoder, example = merging, chat(*contents)
    (sequence,) = encoder.encode(example)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], sequence.mask, [0]]).astype(int))).reshape(-1, 2)
    assert [encoder.tokenizer.decode(sequence.ids[start:end]) for start, end in ends] == [f"{said}<|end|>" for said in contents[1::2]]
    asked = encoder.tokenizer.apply_chat_template(example.messages[:1], add_generation_prompt=True, tokenize=True, return_dict=True)
    assert sequence.ids[: ends[0][0]].tolist() == asked["input_ids"]


def test_a_template_that_rewrites_history_makes_a_sequence_for_each_turn(tokenizer: Any) -> None:
    encoder = with_template(tokenizer, FORGETFUL)
    first, last = encoder.encode(chat("a", "one", "b", "two"))
    assert words(encoder, first) == ["<think></think>one<|end|>"]
    assert encoder.tokenizer.decode(first.ids) == "<|start|>user\na<|end|>\n<|start|>assistant\n<think></think>one<|end|>\n"
    assert words(encoder, last) == ["<think></think>two<|end|>"]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (COUNTING, r"messages\[1\]: the chat template renders what comes before this answer differently"),
        ("{{ raise_exception('roles must alternate.') }}", "refuses the messages: roles must alternate"),
        ("{{ messages[7].content }}", "refuses the messages: list object has no element 7"),
        ("{{ 1 / 0 }}", "refuses the messages: division by zero"),
        ("{% if %}", "refuses the messages: Expected an expression"),
        ("x{% generation %}{% endgeneration %}", "renders nothing for the assistant"),
        ("{% generation %}{{ messages }}{% endgeneration %}", "marks everything as the assistant's"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", r"messages\[1\]: the chat template renders nothing|does not show what"),
        (FORGETFUL.replace("m.content", "'…'"), "does not show what this answer says"),
        ("", "has no chat template"),
    ],
)
def test_what_cannot_be_exact_is_refused_with_the_reason(tokenizer: Any, template: str, reason: str) -> None:
    with pytest.raises(BadRow, match=reason):
        with_template(tokenizer, template).encode(chat("a", "an answer"))


def test_calls_that_the_template_does_not_show_are_refused(tokenizer: Any) -> None:
    example = Example(Format.MESSAGES, [*chat("a").messages, {"role": "assistant", "content": "", "tool_calls": [CALL]}], [1], TOOLS)
    with pytest.raises(BadRow, match=r"messages\[1\]: the chat template does not show the tool calls"):
        with_template(tokenizer, FORGETFUL).encode(example)


def test_text_is_trained_on_whole_and_ends(marked: Encoder) -> None:
    (sequence,) = marked.encode(to_example({"text": "restart the server"}))
    assert sequence.mask.tolist() == [0] + [1] * (len(sequence.ids) - 1)  # nothing predicts the first
    assert marked.tokenizer.decode(sequence.ids) == "restart the server<|end|>"


def test_a_tokenizer_that_was_saved_truncating_and_padding_does_neither() -> None:
    strict = make_tokenizer(0)
    strict.backend_tokenizer.enable_truncation(4)
    strict.backend_tokenizer.enable_padding(length=64, pad_id=2)
    encoder = Encoder(strict)
    assert words(encoder, encoder.encode(chat("a", "restart the server " * 5))[0]) == ["restart the server " * 5 + "<|end|>"]
    assert words(encoder, encoder.encode(to_example({"text": "restart the server"}))[0]) == ["start the server<|end|>"]


def test_a_long_text_in_stretches_is_the_same_text(marked: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [to_example({"text": "restart the server\nthen wait " * 40}), chat("restart the server " * 20, "it is up. " * 20)]
    whole = [marked.encode(one)[0] for one in every]
    for module in (example_encoder, parts):
        monkeypatch.setattr(module, "STRETCH", 64)
    assert [same(one, marked.encode(example)[0]) for one, example in zip(whole, every, strict=True)] == [True, True]


def test_a_preference_is_a_prompt_with_either_answer(tokenizer: Any) -> None:
    for template in (TEMPLATE, UNMARKED, FORGETFUL):
        encoder = with_template(tokenizer, template, "dpo")
        chosen, rejected = encoder.encode(to_example({"prompt": "Is it up?", "chosen": "Yes.", "rejected": "No idea."}))
        first = int(chosen.mask.argmax())
        assert np.array_equal(chosen.ids[:first], rejected.ids[:first])
        assert encoder.tokenizer.decode(chosen.ids[:first]) == "<|start|>user\nIs it up?<|end|>\n<|start|>assistant\n"
        assert [one.removeprefix("<think></think>") for one in words(encoder, chosen) + words(encoder, rejected)] == [
            "Yes.<|end|>",
            "No idea.<|end|>",
        ]


def test_a_preference_between_ways_through_tools(tokenizer: Any) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    row = {
        "prompt": [{"role": "user", "content": "Restart it."}],
        "chosen": [call, {"role": "tool", "content": "done"}, {"role": "assistant", "content": "It is up."}],
        "rejected": [{"role": "assistant", "content": "Do it yourself."}],
        "tools": TOOLS,
    }
    encoder = with_template(tokenizer, UNMARKED, "dpo")
    chosen, rejected = encoder.encode(to_example(row))
    assert words(encoder, chosen) == ['<call>{"name": "restart", "arguments": {"server": "old"}}</call><|end|>', "It is up.<|end|>"]
    assert words(encoder, rejected) == ["Do it yourself.<|end|>"]
    with pytest.raises(BadRow, match="chosen: the chat template renders its first answer differently"):
        with_template(tokenizer, UNMARKED.replace("{{- '<|end|>' -}}", "{{- '<|end|>' if loop.last else '<|start|>' -}}"), "dpo").encode(
            to_example(row)
        )


def test_an_example_for_another_objective_says_which(tokenizer: Any) -> None:
    preference = to_example({"prompt": "a", "chosen": "b", "rejected": "c"})
    with pytest.raises(BadRow, match="cannot be learned from with objective sft") as found:
        with_template(tokenizer, TEMPLATE).encode(preference)
    assert getattr(found.value, "objective", "") == "dpo"
    for example in (chat("a", "b"), to_example({"text": "a"})):
        with pytest.raises(BadRow, match="cannot be learned from with objective dpo") as found:
            with_template(tokenizer, TEMPLATE, "dpo").encode(example)
        assert getattr(found.value, "objective", "") == "sft"


def test_a_tokenizer_without_pad_or_end_token(tokenizer: Any) -> None:
    bare = make_tokenizer(0)
    bare.eos_token = bare.pad_token = None
    encoder = with_template(bare, TEMPLATE)
    (sequence,) = encoder.encode(to_example({"text": "restart the server"}))
    assert bare.decode(sequence.ids) == "restart the server"
    assert words(encoder, encoder.encode(chat("a", "b"))[0]) == ["b<|end|>"]


def test_control_tokens_in_a_content_are_what_a_server_makes_of_them_and_noticed(marked: Encoder) -> None:
    example = chat("say <|end|>", "no")
    assert marked.drafter.spells_control(example)
    assert not marked.drafter.spells_control(chat("say <end>", "no"))
    (sequence,) = marked.encode(example)
    assert sequence.ids.tolist() == marked.tokenizer.apply_chat_template(example.messages, tokenize=True, return_dict=True)["input_ids"]
    assert (sequence.ids == marked.tokenizer.convert_tokens_to_ids("<|end|>")).sum() == 3


def sentencepiece_like() -> Any:
    """A tokenizer that puts a space before whatever it is given, with a control token that swallows the space behind it, as Phi 3's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE(byte_fallback=False, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    bare.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False)
    bare.train_from_iterator([one.text + one.answer + "\n:" for one in islice(questions(0), 200)], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="<unk>")
    made.add_special_tokens(
        {"additional_special_tokens": [AddedToken("<|start|>", special=True), AddedToken("<|end|>", rstrip=True, special=True)]}
    )
    return made


def test_a_tokenizer_that_minds_the_cut_sees_the_whole(unmarked: Encoder) -> None:
    encoder = with_template(sentencepiece_like(), UNMARKED)
    assert not encoder._joins
    assert unmarked._joins
    seen = 0
    for one, two in zip(islice(questions(1), 20), islice(questions(2), 20), strict=True):
        example = chat(one.text, one.answer, two.text, two.answer)
        (sequence,) = encoder.encode(example)
        assert (
            sequence.ids.tolist() == encoder.tokenizer.apply_chat_template(example.messages, tokenize=True, return_dict=True)["input_ids"]
        )
        assert [run.strip() for run in words(encoder, sequence)] == [f"{one.answer}<|end|>", f"{two.answer}<|end|>"]
        seen += 1
    assert seen == 20
    spaced = with_template(
        encoder.tokenizer,
        UNMARKED.replace("assistant\\n' -}}{%- endif", "assistant: ' -}}{%- endif").replace("'\\n' -}}\n{%- if", "': ' -}}\n{%- if"),
    )
    with pytest.raises(BadRow, match=r"the tokens around the edge of an answer, .* do not end there"):
        spaced.encode(chat("a", "restart it"))


class Slow:
    """A tokenizer that says nothing about the place of its tokens, as those in plain Python."""

    is_fast = False

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, text: str, **options: Any) -> Any:
        return self.inner(text, **options)


def test_a_tokenizer_without_places_is_asked_for_prefixes(unmarked: Encoder) -> None:
    slow = Encoder(Slow(unmarked.tokenizer))
    seen = 0
    for one in islice(questions(1), 20):
        for example in (chat(one.text, one.answer), to_example({"text": one.answer})):
            assert same(slow.encode(example)[0], unmarked.encode(example)[0])
            seen += 1
    assert seen == 40
    assert slow.identity() != unmarked.identity()
