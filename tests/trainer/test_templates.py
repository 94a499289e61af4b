"""The chat templates that models are published with, as TRL carries them: each shows the answers, and loss is on nothing but them."""

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llmlab.dataset import BadRow, Example, Format
from llmlab.dataset.rendering.template import TokenizerTemplate, twins
from llmlab.sandbox.model import make_tokenizer
from llmlab.trainer.data.example_encoder import Encoder

CONTROL = [
    *("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<end_of_turn>"),
    *("<start_of_turn>", "<|user|>", "<|assistant|>", "<|system|>", "<|observation|>", "<|return|>", "<|call|>", "<|message|>"),
    *("<|channel|>", "<turn|>", "<|turn>", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|eot|>"),
    *(
        *(f"<\uff5c{name}\uff5c>" for name in ("end\u2581of\u2581sentence", "Assistant", "User")),
        "<end_of_utterance>",
        "</s>",
        "<bos>",
        "<|endoftext|>",
    ),
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "restart",
            "description": "restarts",
            "parameters": {"type": "object", "properties": {"server": {"type": "string"}}},
        },
    }
]
CALL = {"id": "call12345", "type": "function", "function": {"name": "restart", "arguments": {"server": "old"}}}


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


TALKS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "one turn": ([said("user", "Is it up?"), said("assistant", "Yes, it is.")], []),
    "two turns": (
        [said("user", "Is it up?"), said("assistant", "Yes, it is."), said("user", "And now?"), said("assistant", "Still so.")],
        [],
    ),
    "system": ([said("system", "Be brief."), said("user", "Is it up?"), said("assistant", "Yes, it is.")], []),
    "thoughts": (
        [
            said("user", "Is it up?"),
            said("assistant", "Yes, it is.", reasoning_content="a look at it"),
            said("user", "And now?"),
            said("assistant", "Still so.", reasoning_content="another look"),
        ],
        [],
    ),
    "tools": (
        [
            said("user", "Restart it."),
            said("assistant", "", tool_calls=[CALL]),
            said("tool", "done", tool_call_id="call12345", name="restart"),
            said("assistant", "It is up."),
        ],
        TOOLS,
    ),
}


def templates() -> dict[str, str]:
    folder = Path(str(getattr(find_spec("trl"), "origin", ""))).parent / "chat_templates"
    every = sorted(file for file in folder.glob("*.jinja") if not file.stem.endswith("_training"))
    return {file.stem: file.read_text(encoding="utf-8") for file in every}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = make_tokenizer(0)
    made.add_special_tokens({"additional_special_tokens": CONTROL, "bos_token": "<s>", "eos_token": "<|endoftext|>"})
    return made


def example(name: str, trained: list[int] | None = None) -> Example:
    messages, tools = TALKS[name]
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    return Example(Format.MESSAGES, messages, trained or answers, tools)


def test_published_templates_carry_loss_on_the_answers_alone(tokenizer: Any) -> None:
    seen: Counter[str] = Counter()
    refused: dict[str, list[str]] = {}
    reasons: list[str] = []
    for stem, source in templates().items():
        tokenizer.chat_template = source
        encoder = Encoder(tokenizer)
        for name, (messages, tools) in TALKS.items():
            try:
                drafts = encoder.drafter.drafts(example(name))
            except BadRow as error:
                refused.setdefault(name, []).append(stem)
                reasons.append(str(error))
                continue
            answers = [message["content"] for message in messages if message["role"] == "assistant"]
            asked = [message["content"] for message in messages if message["role"] != "assistant"]
            learned = "".join(draft.answers for draft in drafts)
            assert [learned.count(answer) for answer in answers if answer] == [1] * sum(map(bool, answers)), (stem, name)
            assert not any(text in learned for text in asked), (stem, name)
            text = encoder.template.render(messages, tools)
            assert drafts[-1].text in {text, text + encoder.template.stop} or stem == "gptoss", (stem, name)
            assert all(encoder.drafter.stops(draft) for draft in drafts), (stem, name)
            for draft, sequence in zip(drafts, encoder.encode(example(name)), strict=True):
                assert 0 < sequence.trained < len(sequence.ids), (stem, name)
                assert sequence.ids.tolist() == tokenizer(draft.text, add_special_tokens=False)["input_ids"], (stem, name)
            seen[name] += 1
    assert len(templates()) == 41
    assert seen == {"one turn": 41, "two turns": 41, "system": 40, "thoughts": 41, "tools": 28}
    assert all("the chat template" in reason for reason in reasons)
    assert refused["system"] == ["gemma"]


def test_a_single_answer_of_several_can_be_trained(tokenizer: Any) -> None:
    seen = 0
    for source in templates().values():
        tokenizer.chat_template = source
        encoder = Encoder(tokenizer)
        (draft,) = encoder.drafter.drafts(example("two turns", [3]))
        assert "Still so." in draft.answers
        assert "Yes, it is." not in draft.answers
        seen += 1
    assert seen == 41


def test_the_twins_marks_are_taken_only_where_they_fit(tokenizer: Any) -> None:
    messages, tools = TALKS["thoughts"]
    fits = 0
    for source in twins():
        tokenizer.chat_template = source
        template = TokenizerTemplate(tokenizer)
        try:
            text = template.render(messages, tools)
        except BadRow:
            continue
        marks = template.twin_marks(messages, tools, text)
        fits += bool(marks)
        assert not template.twin_marks(messages, tools, text + " ")
    assert len(twins()) == 31
    assert fits == 26


def test_the_masks_are_those_of_the_twins_but_for_what_the_prompt_says_already(tokenizer: Any) -> None:
    """TRL also trains role headers, an opened thought that the prompt holds when the model is asked, and line ends behind an answer."""
    prompt = re.compile(r"(<\uff5c(Assistant|tool\u2581outputs\u2581end)\uff5c>|<\|start\|>assistant|<think>|</think>|\s)*")
    stems = {source: stem for stem, source in templates().items()}
    seen: Counter[str] = Counter()
    for source, twin in twins().items():
        tokenizer.chat_template = source
        ours = Encoder(tokenizer)
        tokenizer.chat_template = twin
        theirs = Encoder(tokenizer)
        for name, (messages, tools) in TALKS.items():
            try:
                tokenizer.chat_template = source
                drafts = ours.drafter.drafts(example(name))
                tokenizer.chat_template = twin
                text, marks = theirs.template.marked(messages, tools)
            except BadRow:
                continue
            if len(drafts) > 1 or drafts[0].text != text:
                seen["other texts"] += 1
                continue
            seen["one text"] += 1
            both = [{at for start, end in spans for at in range(start, end)} for spans in (drafts[0].spans or (), marks)]
            if any(text[at].strip() for at in both[0] - both[1]):
                seen[stems[source]] += 1
            assert prompt.fullmatch("".join(text[at] for at in sorted(both[1] - both[0]))), (stems[source], name)
    # Of diffusion_gemma, a prompt behind a result has no header, so that the model is asked to say it
    assert seen == {"one text": 124, "other texts": 17, "diffusion_gemma": 1}


def test_the_date_of_a_template_is_the_datasets_not_the_days(tokenizer: Any) -> None:
    seen = 0
    for source in templates().values():
        if "strftime_now" in source:
            tokenizer.chat_template = source
            one, other = (TokenizerTemplate(tokenizer).render(TALKS["system"][0], []) for _ in range(2))
            assert one == other
            seen += "2024" in one
    assert seen == 2
