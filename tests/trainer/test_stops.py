"""What a base model without conversations is taught to end an answer with stops it, here and where it is served."""

from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import ADAPTER
from llmlab.recipe import Recipe
from llmlab.trainer.device import Device
from llmlab.trainer.export import base_files, merge, ollama
from llmlab.trainer.model import stop_tokens
from llmlab.trainer.model.load import load_model, load_tokenizer
from tests.trainer import bases, work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_output import CHATML, COUNTING, LLAMA

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers
END, ANOTHER = "<|end|>", "<|start|>"
"""What the template puts behind an answer, and what the base stops at."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """As Qwen2.5's base: a template for conversations, and in every file the end of a document."""
    folder = bases.written_by_4(tmp_path_factory.mktemp("stops") / "base", model)
    number = number_of(folder, ANOTHER)
    for name, change in (
        ("generation_config.json", {"eos_token_id": number}),
        ("config.json", {"eos_token_id": number}),
        ("tokenizer_config.json", {"eos_token": ANOTHER}),
        ("special_tokens_map.json", {"eos_token": ANOTHER}),
    ):
        bases.write(folder / name, {**bases.read(folder / name), **change})
    return folder


def test_what_comes_out_stops_where_answers_end(tmp_path: Path, base: Path, train: Train) -> None:
    work = folders.make(tmp_path / "run", base, count=4, recipe={"max_steps": 1})
    code, log = train(work)
    assert code == 0, log
    assert f"answers end with {END}, at which the base model does not stop: generation_config.json names it" in log
    adapter = Path(work.output, ADAPTER)
    merge.merge(str(base), adapter, tmp_path / "merged")
    own = bases.read(base / "generation_config.json")
    for folder in (adapter, tmp_path / "merged"):
        told = bases.read(folder / "generation_config.json")
        assert told == {**own, "eos_token_id": [own["eos_token_id"], number_of(base, END)]}
        assert bases.digests(folder, bases.TOKENIZER) == bases.digests(base, bases.TOKENIZER)
        assert [line for line in (folder / "Modelfile").read_text().splitlines() if "stop" in line] == [
            f'PARAMETER stop "{ANOTHER}"', f'PARAMETER stop "{END}"',
        ]  # fmt: skip
    card = (adapter / "README.md").read_text()
    assert f"Answers end with `{END}`, at which the base model does not stop" in card
    assert f"--lora-modules tuned={ADAPTER} --generation-config {ADAPTER}`" in card


def test_what_is_asked_meanwhile_stops_there_too(tmp_path: Path, base: Path) -> None:
    """Samples, held-out prompts and GRPO's completions: TRL ends these at what the model's generation config names."""
    work, recipe = folders.make(tmp_path / "run", base, count=4), Recipe(model="lab:tiny")
    tokenizer = load_tokenizer(recipe, work)
    loaded = load_model(recipe, work, Device("cpu", "float32"), tokenizer)
    assert loaded.generation_config.eos_token_id == [number_of(base, ANOTHER), number_of(base, END)]


@pytest.mark.parametrize(
    ("template", "behind"), [(CHATML, "<|im_end|>"), (LLAMA, "<|eot_id|>"), (COUNTING, ""), ("", ""), ("{{ undefined.thing }}", "")]
)
def test_the_token_behind_an_answer(model: Path, template: str, behind: str) -> None:
    tokenizer = opened(model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>", "<|eot_id|>", "<|im_start|>", "<|start_header_id|>"]})
    tokenizer.chat_template = template or None
    assert stop_tokens.taught(tokenizer) == [END, *filter(None, [behind])]
    assert [f'PARAMETER stop "{one}"' in ollama.modelfile(tokenizer, ".") for one in (END, behind)] == [True, bool(behind)]


@pytest.mark.parametrize("known", [None, 3, "one", True, [3, "two", 2]])
def test_whatever_the_base_says(tmp_path: Path, model: Path, known: object) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "out").mkdir()
    bases.write(tmp_path / "base" / "generation_config.json", {"eos_token_id": known, "top_p": 0.5})
    tokenizer = opened(model)
    assert base_files.write_generation_config(tmp_path / "out", tmp_path / "base", tokenizer) == [END]
    told = bases.read(tmp_path / "out" / "generation_config.json")
    assert told == {"eos_token_id": [*stop_tokens.ids(known), tokenizer.eos_token_id], "top_p": 0.5}
    for text in ("[]", "{", ""):
        (tmp_path / "base" / "generation_config.json").write_text(text)
        assert base_files.write_generation_config(tmp_path / "out", tmp_path / "base", tokenizer) == [END]
        assert bases.read(tmp_path / "out" / "generation_config.json") == {"eos_token_id": [tokenizer.eos_token_id]}


def number_of(folder: Path, token: str) -> int:
    number: int = opened(folder).convert_tokens_to_ids(token)
    return number


def opened(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
