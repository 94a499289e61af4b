"""What the laptop says of a dataset and a template before a run is what the trainer makes of them: the same rows, sequences and tokens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from llmlab import recipe as recipes
from llmlab.dataset import find, trial as trials
from llmlab.dataset.check import check, lines_of, parts
from llmlab.dataset.rendering import template as templating
from llmlab.dataset.rendering.model_files import ModelFiles
from llmlab.dataset.trial import Trial, try_on
from llmlab.errors import LabError
from llmlab.sandbox.model import TEMPLATE, make_tokenizer
from llmlab.trainer.data.example_encoder import Encoder
from llmlab.trainer.data.tokenize_shard import Rules, make
from llmlab.trainer.model import added_tokens
from tests.trainer import test_families as families
from tests.trainer.test_templates import CONTROL, TALKS, said, templates

ALTERNATE = (
    "{%- for m in messages -%}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('Conversation roles must alternate user/assistant') -}}{%- endif -%}"
    "{{- '<|start|>' + m.role + '\\n' + m.content + '<|end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|start|>assistant\\n' -}}{%- endif -%}"
)
# Shows thoughts in the last answer alone, and empty ones where there are none: Qwen3.
FORGETS = (
    "{%- for m in messages -%}{{- '<|start|>' + m.role + '\\n' -}}{%- if m.role == 'assistant' and loop.last -%}"
    "{{- '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n' -}}{%- endif -%}{{- m.content + '<|end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|start|>assistant\\n' -}}{%- endif -%}"
)
OWN = {
    "own": TEMPLATE, "open": families.OPEN, "turns": families.TURNS, "channels": families.CHANNELS, "endless": families.ENDLESS,
    "text": families.CALLING.replace("JOIN", "+"), "alternate": ALTERNATE, "forgets": FORGETS,
    **{f"always, {name}": source for name, source in families.ALWAYS.items()},
}  # fmt: skip


def row(messages: list[Any], tools: list[Any] | None = None) -> dict[str, Any]:
    return {"messages": messages} | ({"tools": tools} if tools else {})


ROWS: list[dict[str, Any]] = [
    *(row(messages, tools) for messages, tools in TALKS.values()),
    row([said("user", "Is it up?"), said("user", "Is it?"), said("assistant", "Yes.")]),
    row([said("assistant", "Hello."), said("user", "Is it up?"), said("assistant", "<think")]),
    row([said("user", "Is it up?"), said("assistant", "Yes."), said("assistant", "Still.")]),
    row([said("user", "Is it up?"), said("assistant", ""), said("user", "Is it?"), said("assistant", "<thead>")]),
    row([families.USER, said("assistant", "", tool_calls=[families.call("Oslo"), families.call("Rome")]), families.RESULT], families.GET),
    row([said("user", "Is it up?"), said("assistant", "Yes.", weight=0), said("user", "é ✓"), said("assistant", "日本 ok")]),
    {"prompt": "restart the server", "completion": "done"},
    {"text": "restart the server, then wait"},
    row([said("user", "many"), said("assistant", "restart the server " * 300)]),
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = make_tokenizer(0)
    made.add_special_tokens({"additional_special_tokens": [*CONTROL, *families.CONTROL], "bos_token": "<s>"})
    return made


def tried(
    folder: Path,
    tokenizer: Any,
    source: str | dict[str, str],
    rows: list[dict[str, Any]],
    change: Callable[[Path], None] = lambda _: None,
    tokens: tuple[str, ...] = (),
) -> tuple[Trial, Any, list[tuple[int, str]]]:
    """What the laptop says, what the trainer makes, and which lines it refuses, with the reasons; of the model's folder, once changed."""
    tokenizer.chat_template = source
    tokenizer.save_pretrained(folder / "model")
    change(folder / "model")
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in rows))
    found = find(data)
    trial = try_on(found, check(found, max_length=512), ModelFiles(folder / "model", more_tokens=tokens))
    trainers = AutoTokenizer.from_pretrained(folder / "model")
    added_tokens.add_to(trainers, recipes.check({"model": "a/b", "method": "full", "additional_special_tokens": tokens}))
    encoder = Encoder(trainers).suited("dpo" if "chosen" in rows[0] else "sft", templating.LONG_AGO)
    (part,) = parts(found.files)
    lines = list(lines_of(part))
    made = make(lines, encoder, Rules(512, split=False, share=0.0, skip_bad=True))
    alone = [(line.number, make([line], encoder, Rules(512, split=False, share=0.0, skip_bad=False))) for line in lines]
    return trial, made.facts, [(number, block.reason) for number, block in alone if block.bad_at is not None]


def agrees(trial: Trial, facts: Any, refused: list[tuple[int, str]]) -> None:
    assert [(problem.line, problem.reason) for problem in trial.refusals] == refused
    assert (trial.refused, trial.counted) == (facts.bad, True)
    fit = {length: int(length) <= 512 for length in trial.lengths}
    assert sum(count for length, count in trial.lengths.items() if fit[length]) == facts.examples
    assert sum(count for length, count in trial.sequences_by_length.items() if fit[length]) == facts.sequences
    assert sum(count for length, count in trial.tokens_by_length.items() if fit[length]) == facts.tokens
    assert trial.longest_tokens == max(facts.longest, *(trial.longest_tokens * (not facts.too_long), 0))
    assert trial.examples - facts.examples == facts.too_long


@pytest.mark.parametrize("name", OWN)
def test_the_laptop_counts_what_is_trained(tmp_path: Path, tokenizer: Any, name: str) -> None:
    trial, facts, refused = tried(tmp_path, tokenizer, OWN[name], ROWS)
    agrees(trial, facts, refused)
    assert facts.too_long == 1
    assert trial.tools_ignored == facts.tools_ignored
    assert trial.thoughts_ignored == facts.thoughts_ignored
    if name == "forgets":
        assert trial.several >= 3
        assert trial.sequences > trial.examples
    if name == "alternate":
        assert "messages[0] and messages[1] are both of the user: make them one" in dict(refused)[6]
        assert "Conversation roles must alternate user/assistant" in dict(refused)[6]
        assert "it takes no system message: put its words in front of the first question" in dict(refused)[3]


def test_tokens_of_the_recipe_are_one_each_on_the_laptop_too(tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"messages": [{"role": "user", "content": "a <tool> b"}, {"role": "assistant", "content": "<tool>c</tool> <tool>"}]}] * 2
    name = next(iter(OWN))
    before, facts, refused = tried(tmp_path / "before", tokenizer, OWN[name], rows)
    agrees(before, facts, refused)
    after, facts, refused = tried(tmp_path / "after", tokenizer, OWN[name], rows, tokens=("<tool>", "</tool>"))
    agrees(after, facts, refused)
    assert after.longest_tokens < before.longest_tokens


USING = "{{- '<|start|>tools\n' + (tools | tojson) + '<|end|>\n' -}}" + TEMPLATE
BOTH = {"default": TEMPLATE, "tool_use": USING}


def _in_a_list(folder: Path) -> None:
    """As transformers wrote several templates before 4.50, and models of then have them."""
    config = folder / "tokenizer_config.json"
    told = json.loads(config.read_text())
    told["chat_template"] = [{"name": name, "template": source} for name, source in BOTH.items()]
    config.write_text(json.dumps(told))
    for file in (folder / "chat_template.jinja", *(folder / "additional_chat_templates").iterdir()):
        file.unlink()


def _beside_the_configs(folder: Path) -> None:
    """Files count, and not what the configuration says as well."""
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": ALTERNATE}))


@pytest.mark.parametrize("change", [lambda _: None, _in_a_list, _beside_the_configs], ids=["files", "list", "both"])
def test_of_several_templates_the_laptop_takes_what_the_trainer_takes(tmp_path: Path, tokenizer: Any, change: Any) -> None:
    agrees(*tried(tmp_path, tokenizer, BOTH, ROWS, change))
    files, theirs = ModelFiles(tmp_path / "model"), AutoTokenizer.from_pretrained(tmp_path / "model")
    assert files.chat_template == theirs.chat_template == BOTH
    for tools in (None, [families.GET]):
        assert files.get_chat_template(tools) == theirs.get_chat_template(tools=tools) == (USING if tools else TEMPLATE)


INSTRUCTS = (
    "{%- for m in messages -%}{%- if m.role == 'user' -%}{{- bos_token + '[INST] ' + m.content + ' [/INST]' -}}"
    "{%- elif m.role == 'assistant' -%}{{- ' ' + m.content + ' ' + eos_token -}}{%- endif -%}{%- endfor -%}"
)


def _pieces() -> Any:
    """A tokenizer as sentencepiece's, which puts a space before every text; written as Llama 2's is."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    words = [
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *"abcdefghijklmnopqrstuvwxyzYSIN?.,[]/<>",
        "▁t",
        "he",
        "▁the",
        "re",
        "▁s",
        "Ye",
        "▁Ye",
    ]
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", *words])}
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("r", "e"), ("▁", "s"), ("Y", "e"), ("▁", "Ye")]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    return made


@pytest.mark.parametrize(
    ("model_type", "legacy"), [("llama", True), ("llama", False), ("llama", None), ("", False), ("phi3", False), ("mistral", True)]
)
def test_a_tokenizer_that_minds_where_a_text_is_cut_counts_alike(tmp_path: Path, model_type: str, legacy: bool | None) -> None:
    """transformers reads the vocabulary of such a model and puts its own rules around it, unless the kind of model has others."""

    def change(folder: Path) -> None:
        _pieces().save(str(folder / "tokenizer.json"))
        told = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
        told |= {} if legacy is None else {"legacy": legacy}
        (folder / "tokenizer_config.json").write_text(json.dumps(told))
        if model_type:
            (folder / "config.json").write_text(json.dumps({"model_type": model_type}))

    agrees(*tried(tmp_path, make_tokenizer(0), INSTRUCTS, ROWS, change))
    glued = INSTRUCTS.replace("' [/INST]'", "' t'").replace("' ' + m.content", "m.content")
    trial, facts, refused = tried(
        tmp_path, make_tokenizer(0), glued, [*ROWS[:-1], row([said("user", "Is it?"), said("assistant", "he.")])], change
    )
    agrees(trial, facts, refused)
    assert dict(refused)[14].startswith("the tokens around the edge of an answer")


def test_processes_find_what_one_finds(tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the parts: the same counts, places and refusals; those kept with their words are the first, of several parts as of one."""
    trial, _, refused = tried(tmp_path, tokenizer, ALTERNATE, ROWS * 3)
    found = find(tmp_path / "data.jsonl")
    report, files = check(found, max_length=512), ModelFiles(tmp_path / "model")
    monkeypatch.setattr(trials, "PART", 2048)
    assert len(list(parts(found.files, trials.PART))) > 5
    done: list[float] = []
    assert try_on(found, report, files, processes=2, progress=lambda so_far, _all: done.append(so_far)) == trial
    assert done == sorted(done)
    assert done[-1] == found.size
    assert try_on(found, report, files, processes=1) == trial
    assert len(refused) > 6
    monkeypatch.setattr(trials, "MOST_KEPT", 4)
    short = try_on(found, report, files)
    assert short.refusals == trial.refusals[:4]
    assert short.refused == trial.refused


def test_a_template_that_never_ends_stops_processes_too(tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row alone makes it go on, so that a process of the pool meets it."""
    loop = "{% if messages[0].content == 'many' %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}"
    endless = loop + FORGETS
    tokenizer.chat_template = endless
    tokenizer.save_pretrained(tmp_path / "model")
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in ROWS * 3))
    found = find(data)
    report = check(found)
    monkeypatch.setattr(trials, "PART", 2048)
    with pytest.raises(LabError, match="chat template"):
        try_on(found, report, ModelFiles(tmp_path / "model"), processes=2)


def test_preferences_and_the_loss_of_each_token(tmp_path: Path, tokenizer: Any) -> None:
    pairs = [
        {"prompt": "Is it up?", "chosen": "Yes.", "rejected": "No idea, restart it."},
        {"prompt": "?", "chosen": "a", "rejected": "b" * 400},
    ]
    trial, facts, refused = tried(tmp_path, tokenizer, families.TURNS, pairs)
    agrees(trial, facts, refused)
    assert not trial.several
    trial, facts, refused = tried(tmp_path, tokenizer, TEMPLATE, [one for one in ROWS[:-1] if "text" not in one])
    agrees(trial, facts, refused)
    assert trial.trained_tokens == facts.trained


@pytest.mark.slow  # thirty templates and some, each with a tokenizer saved and read: a third of a minute
def test_published_templates_without_their_twins_are_the_same(tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL, whose twins help to tell answers from prompts, is on the machine and not on the laptop."""
    seen, differ = 0, []
    for name, source in templates().items():
        (tmp_path / name).mkdir()
        with_twins = tried(tmp_path / name, tokenizer, source, ROWS[:12])
        agrees(*with_twins)
        with monkeypatch.context() as patched:
            patched.setattr(templating, "twins", dict)
            found = find(tmp_path / name / "data.jsonl")
            if try_on(found, check(found, max_length=512), ModelFiles(tmp_path / name / "model")) != with_twins[0]:
                differ.append(name)
        seen += 1
    assert seen > 25
    assert differ == []
