"""What a run hands back carries the base model's own files, changed only where the run changed something."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import ADAPTER, WHOLE_MODEL
from llmlab.trainer.export import base_files, merge
from tests.trainer import bases, work as folders
from tests.trainer.conftest import Train

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers
RECIPE = {"max_steps": 1}
TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
OTHER = "{% for m in messages %}<{{ m.content }}>{% endfor %}"


@dataclass(frozen=True)
class Results:
    base: Path
    adapter: Path
    merged: Path
    whole: Path


@pytest.fixture(scope="module", params=bases.FORMS)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path, train: Train) -> Results:
    """A base in one of the forms, and all that a run makes of one."""
    root = tmp_path_factory.mktemp("results")
    base = bases.FORMS[request.param](root / "base", model)
    lora = folders.make(root / "lora", base, count=4, recipe=RECIPE)
    full = folders.make(root / "full", base, count=4, recipe={**RECIPE, "method": "full"})
    for work in (lora, full):
        code, log = train(work)
        assert code == 0, log
        assert "warning: the tokenizer" not in log
    adapter = Path(lora.output, ADAPTER)
    merge.merge(str(base), adapter, root / "merged")
    return Results(base, adapter, root / "merged", Path(full.output, WHOLE_MODEL))


def test_the_tokenizer_is_the_bases_byte_for_byte(results: Results) -> None:
    from transformers import AutoTokenizer

    names = (*bases.TOKENIZER, "generation_config.json")
    own, told = bases.digests(results.base, names), bases.said(AutoTokenizer.from_pretrained(results.base))
    assert len(own) >= 4
    assert told[-1] is None, "the base has nothing to pad with, which training needs for itself alone"
    for folder in (results.adapter, results.merged, results.whole):
        assert bases.digests(folder, names) == own
        assert bases.said(AutoTokenizer.from_pretrained(folder)) == told


def test_the_config_of_a_whole_model_is_the_bases_byte_for_byte(results: Results) -> None:
    own = bases.digests(results.base, ("config.json",))
    assert bases.read(results.base / "config.json")["use_cache"] is True
    assert not (results.adapter / "config.json").exists(), "with one it would pass for a whole model"
    assert bases.digests(results.merged, ("config.json",)) == bases.digests(results.whole, ("config.json",)) == own


# ---------------------------------------------------------------- what a run changed


def opened(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(params=bases.FORMS)
def base(request: pytest.FixtureRequest, tmp_path: Path, model: Path) -> Path:
    return bases.FORMS[request.param](tmp_path / "base", model)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def changed(base: Path, out: Path) -> set[str]:
    """Files that are not the base's."""
    every = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    return {name for name in every if not (base / name).is_file() or (base / name).read_bytes() != (out / name).read_bytes()}


def test_another_template_is_all_that_changes(base: Path, out: Path) -> None:
    tokenizer = opened(base)
    tokenizer.chat_template = TEMPLATE
    assert base_files.write_tokenizer(out, tokenizer, [base])
    assert bases.said(opened(out)) == bases.said(tokenizer)
    if (base / "chat_template.jinja").is_file():
        assert changed(base, out) == {"chat_template.jinja"}
        return
    assert changed(base, out) == {"tokenizer_config.json"}
    told, own = bases.read(out / "tokenizer_config.json"), bases.read(base / "tokenizer_config.json")
    assert list(told) == list(own)
    assert told == {**own, "chat_template": TEMPLATE}


def test_a_template_with_line_ends_of_windows_is_the_same_template(base: Path, out: Path) -> None:
    """Jinja takes every line end for one of Unix: https://jinja.palletsprojects.com/en/stable/api/#jinja2.Environment."""
    tokenizer = opened(base)
    tokenizer.chat_template = TEMPLATE.replace("%}", "%}\r\n")
    assert base_files.write_tokenizer(out, tokenizer, [base])
    assert bases.said(opened(out)) == bases.said(tokenizer)
    assert "tokenizer.json" not in changed(base, out)


def test_another_template_stands_wherever_the_base_has_one(tmp_path: Path, model: Path, out: Path) -> None:
    base = bases.written_by_4(tmp_path / "base", model)
    (base / "chat_template.jinja").write_text(OTHER)
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates/tool_use.jinja").write_text(OTHER)
    bases.write(base / "chat_template.json", {"chat_template": OTHER})
    tokenizer = opened(base)
    assert base_files.write_tokenizer(out, tokenizer, [base])
    assert changed(base, out) == set(), "several templates are the base's own files, too"
    tokenizer.chat_template = TEMPLATE
    assert base_files.write_tokenizer(out, tokenizer, [base])
    assert bases.said(opened(out)) == bases.said(tokenizer)
    assert OTHER not in "".join(file.read_text() for file in out.rglob("chat_template*"))
    assert bases.read(out / "tokenizer_config.json")["chat_template"] == TEMPLATE
    assert not list(out.glob("additional_chat_templates/*"))


def test_several_templates_may_take_the_place_of_one(base: Path, out: Path) -> None:
    tokenizer = opened(base)
    tokenizer.chat_template = {"default": TEMPLATE, "tool_use": OTHER}
    assert base_files.write_tokenizer(out, tokenizer, [base])
    assert opened(out).chat_template == tokenizer.chat_template
    assert "tokenizer.json" not in changed(base, out)


def test_no_template_takes_its_place(base: Path, out: Path) -> None:
    tokenizer = opened(base)
    tokenizer.chat_template = None
    assert base_files.write_tokenizer(out, tokenizer, [base])
    assert opened(out).chat_template is None


def test_tokens_that_a_run_added_are_added_to_the_bases_files(base: Path, out: Path) -> None:
    tokenizer = opened(base)
    tokenizer.add_tokens(["<|extra|>"], special_tokens=True)
    tokenizer.add_tokens(["llmlab"])
    assert base_files.write_tokenizer(out, tokenizer, [base])
    text = "I use llmlab<|extra|> daily"
    assert opened(out)(text)["input_ids"] == tokenizer(text)["input_ids"] != opened(base)(text)["input_ids"]
    told, own = bases.read(out / "tokenizer.json"), bases.read(base / "tokenizer.json")
    assert told["added_tokens"][: len(own["added_tokens"])] == own["added_tokens"]
    assert {**told, "added_tokens": None} == {**own, "added_tokens": None}
    assert changed(base, out) <= {"tokenizer.json", "tokenizer_config.json"}


@pytest.mark.parametrize(
    ("model_type", "told", "named"),
    [("gpt2", {}, "GPT2Tokenizer"), ("phi3", {"tokenizer_class": "Qwen2Tokenizer"}, "PreTrainedTokenizerFast")],
)
def test_an_adapter_names_the_class_that_the_models_config_tells(
    tmp_path: Path, model: Path, out: Path, model_type: str, told: dict[str, str], named: str
) -> None:
    base = bases.written_by_4(tmp_path / "base", model)
    bases.write(base / "tokenizer_config.json", {"eos_token": "<|end|>", "chat_template": TEMPLATE, **told})
    bases.write(base / "config.json", {"model_type": model_type})
    tokenizer = opened(base)
    assert base_files.write_tokenizer(out, tokenizer, [base])
    assert bases.said(opened(out)) == bases.said(tokenizer)
    assert changed(base, out) == {"tokenizer_config.json"}
    assert bases.read(out / "tokenizer_config.json") == {**bases.read(base / "tokenizer_config.json"), "tokenizer_class": named}
    (tmp_path / "whole").mkdir()
    shutil.copy(base / "config.json", tmp_path / "whole")
    assert base_files.write_tokenizer(tmp_path / "whole", tokenizer, [base])
    assert changed(base, tmp_path / "whole") == set()


def test_where_the_bases_files_are_of_no_use_transformers_writes_its_own(tmp_path: Path, model: Path, out: Path) -> None:
    from llmlab.sandbox.model import make_tokenizer

    tokenizer = make_tokenizer(3)
    wrong = bases.written_by_4(tmp_path / "wrong", model)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tokenizer.json").write_text('{"model": []}')
    for bases_of in ([None], [tmp_path / "nowhere"], [wrong], [None, broken]):
        assert not base_files.write_tokenizer(out, tokenizer, bases_of)
        assert bases.said(opened(out)) == bases.said(tokenizer)
        assert not (out / "merges.txt").exists(), "nothing of the other tokenizer is left"


def test_what_an_older_llmlab_handed_back_is_mended_by_merging(tmp_path: Path, model: Path, out: Path) -> None:
    base = bases.written_by_4(tmp_path / "base", model)
    tokenizer = opened(base)
    tokenizer.pad_token = tokenizer.eos_token
    older = tmp_path / "older"
    tokenizer.save_pretrained(older)
    assert changed(base, older) >= {"tokenizer.json", "tokenizer_config.json"}
    assert base_files.write_tokenizer(out, opened(older), [base, older])
    assert changed(base, out) == set()


# ---------------------------------------------------------------- configs

GEMMA = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "eos_token_id": [1, 106],
    "model_type": "gemma3",
    "text_config": {"hidden_size": 32, "model_type": "gemma3_text", "num_hidden_layers": 2, "rope_theta": 5000.0, "head_dim": 8},
    "torch_dtype": "bfloat16",
    "vision_config": {"hidden_size": 32, "model_type": "siglip_vision_model", "num_hidden_layers": 1},
}


def saved_as(out: Path, *, whole: bool = False, **changes: Any) -> None:
    """The config as transformers 5 saves it while training."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(out.parent / "base")
    part = config if whole else getattr(config, "text_config", config)
    for name, value in {"use_cache": False, "dtype": "float32", **changes}.items():
        setattr(part, name, value)
    part.save_pretrained(out)


def test_of_a_model_that_sees_the_language_part_is_in_the_bases_words(tmp_path: Path, out: Path) -> None:
    (tmp_path / "base").mkdir()
    bases.write(tmp_path / "base/config.json", GEMMA)
    saved_as(out, architectures=["Gemma3ForCausalLM"], eos_token_id=[1, 106])
    assert "rope_parameters" in bases.read(out / "config.json")
    base_files.write_config(out, tmp_path / "base")
    told = bases.read(out / "config.json")
    assert told["architectures"] == ["Gemma3ForCausalLM"]
    assert (told["model_type"], told["rope_theta"], told["torch_dtype"], told["eos_token_id"]) == (
        "gemma3_text",
        5000.0,
        "bfloat16",
        [1, 106],
    )
    assert not {"rope_parameters", "vision_config", "text_config", "use_cache"} & told.keys()


@pytest.mark.parametrize("whole", [True, False])
def test_a_model_that_still_sees_gets_what_prepares_pictures(tmp_path: Path, out: Path, whole: bool) -> None:
    (tmp_path / "base").mkdir()
    bases.write(tmp_path / "base/config.json", GEMMA)
    bases.write(tmp_path / "base/preprocessor_config.json", {"image_processor_type": "Gemma3ImageProcessor", "size": {"height": 28}})
    bases.write(tmp_path / "base/processor_config.json", {"processor_class": "Gemma3Processor"})
    saved_as(out, whole=whole, **({} if whole else {"architectures": ["Gemma3ForCausalLM"], "eos_token_id": [1, 106]}))
    base_files.write_config(out, tmp_path / "base")
    prepares = ("preprocessor_config.json", "processor_config.json")
    assert bases.digests(out, prepares) == (bases.digests(tmp_path / "base", prepares) if whole else {})
    assert len(bases.digests(out, ("config.json",)).items() & bases.digests(tmp_path / "base", ("config.json",)).items()) == whole


def test_weights_that_came_out_whole_are_not_said_to_be_quantized(tmp_path: Path, model: Path, out: Path) -> None:
    base = bases.written_by_4(tmp_path / "base", model)
    own = bases.read(base / "config.json")
    bases.write(base / "config.json", {**own, "quantization_config": {"quant_method": "fp8"}})
    saved_as(out)
    config = bases.read(out / "config.json")
    config.pop("quantization_config")
    bases.write(out / "config.json", config)
    base_files.write_config(out, base)
    assert bases.read(out / "config.json") == own


def test_a_config_whose_vocabulary_grew_is_the_bases_but_for_its_size(tmp_path: Path, model: Path, out: Path) -> None:
    base = bases.written_by_4(tmp_path / "base", model)
    saved_as(out, vocab_size=600)
    base_files.write_config(out, base)
    assert bases.read(out / "config.json") == bases.read(base / "config.json") | {"vocab_size": 600}


def test_a_config_of_other_layers_keeps_what_training_did_not_mean(tmp_path: Path, model: Path, out: Path) -> None:
    base = bases.written_by_4(tmp_path / "base", model)
    saved_as(out, num_hidden_layers=5)
    base_files.write_config(out, base)
    told = bases.read(out / "config.json")
    assert (told["num_hidden_layers"], told["use_cache"], told["dtype"]) == (5, True, "float32")


def test_a_config_that_only_training_could_read_is_left_as_it_was_saved(tmp_path: Path, model: Path, out: Path) -> None:
    base = bases.written_by_4(tmp_path / "base", model)
    saved_as(out)
    bases.write(base / "config.json", {"model_type": "of nobody", "use_cache": True, "quantization_config": {}, "text_config": {}})
    base_files.write_config(out, base)
    told = bases.read(out / "config.json")
    assert (told["model_type"], told["use_cache"]) == ("llama", True)


def test_without_a_generation_config_of_the_base_there_is_none(tmp_path: Path, model: Path, out: Path) -> None:
    (tmp_path / "base").mkdir()
    tokenizer = opened(model)
    bases.write(tmp_path / "base" / "config.json", {"eos_token_id": tokenizer.eos_token_id})
    (out / "generation_config.json").write_text(json.dumps({"eos_token_id": 1}))
    base_files.write_generation_config(out, None, tokenizer)
    assert (out / "generation_config.json").is_file(), "nothing is known of the base"
    base_files.write_generation_config(out, tmp_path / "base", tokenizer)
    assert not (out / "generation_config.json").exists()
