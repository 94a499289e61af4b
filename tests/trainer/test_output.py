"""What comes out loads where it is said to load: PEFT, transformers, and by vLLM's rules in vLLM."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmlab import recipe as recipes
from llmlab.contract import ADAPTER, SAMPLES_FILE, WHOLE_MODEL, DataFile, Manifest, WorkFolder
from llmlab.trainer.export import model_card, ollama, output, provenance
from llmlab.trainer.training.evaluate import SAMPLES
from tests.trainer import work as folders
from tests.trainer.conftest import Train

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers
LEARN = {"epochs": 3, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, model: Path, train: Train) -> WorkFolder:
    """A run that trained every weight."""
    made = folders.make(tmp_path_factory.mktemp("full"), model, count=8, recipe={**LEARN, "method": "full"})
    code, log = train(made)
    assert code == 0, log
    return made


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(3, 40)[None]).logits


def test_peft_and_transformers_load_the_adapter_and_agree(trained: WorkFolder, model: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = Path(trained.output, ADAPTER)
    before = logits(AutoModelForCausalLM.from_pretrained(model))
    by_peft = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), adapter))
    by_transformers = AutoModelForCausalLM.from_pretrained(model)
    by_transformers.load_adapter(str(adapter))
    assert torch.equal(by_peft, logits(by_transformers))
    assert (by_peft - before).abs().max() > 0.1
    assert AutoTokenizer.from_pretrained(adapter).chat_template == AutoTokenizer.from_pretrained(model).chat_template


def vllm_refuses(folder: Path, linear: set[str], most_rank: int) -> list[str]:
    """Why vLLM would not load an adapter, by what its sources ask for.

    vllm/lora/peft_helper.py: `r`, `lora_alpha` and `target_modules` are required, further modules and DoRA are not supported, nor is a
    bias, and no rank, of `rank_pattern` neither, may be over --max-lora-rank. vllm/lora/utils.py: a tensor is called
    `base_model.model.<module>.lora_A.weight` or `.lora_B.weight`. vllm/lora/lora_model.py: the last part of each module is the
    name of one of the model's linear layers.
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    reasons = [f"no {name}" for name in ("r", "lora_alpha", "target_modules") if name not in config]
    reasons += [f"{name} is set" for name in ("modules_to_save", "use_dora") if config.get(name)]
    reasons += [f"bias {config['bias']}"] if config.get("bias", "none") != "none" else []
    reasons += ["the rank is too high"] if max([config["r"], *config.get("rank_pattern", {}).values()]) > most_rank else []
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    assert names
    for name in names:
        prefix, *module, side, last = name.removeprefix("base_model.model.").split(".")
        if not name.startswith("base_model.model.") or side not in {"lora_A", "lora_B"} or last != "weight" or not prefix:
            reasons.append(f"{name} is no name of a LoRA weight")
        elif module[-1] not in linear:
            reasons.append(f"{module[-1]} is no linear layer")
    return reasons


def test_vllm_would_load_the_adapter(trained: WorkFolder) -> None:
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    adapter = Path(trained.output, ADAPTER)
    assert vllm_refuses(adapter, linear, 16) == []
    assert vllm_refuses(adapter, linear, 2) == ["the rank is too high"]
    assert vllm_refuses(adapter, linear - {"down_proj"}, 16) == ["down_proj is no linear layer"] * 4  # two layers, A and B


def test_the_card_says_when_vllm_would_not(trained: WorkFolder, model: Path, train: Train, tmp_path: Path) -> None:
    assert "--max-lora-rank 8 --lora-modules tuned=adapter" in Path(trained.output, "README.md").read_text()
    dora = folders.make(tmp_path, model, count=4, recipe={"max_steps": 1, "lora": {"rank": 4, "dora": True}})
    assert train(dora)[0] == 0
    assert "use_dora is set" in vllm_refuses(Path(dora.output, ADAPTER), {"q_proj"}, 16)
    assert "vLLM loads no adapter with DoRA: merge it first" in Path(dora.output, "README.md").read_text()
    beside = recipes.check({"model": "a/b", "lora": {"modules_to_save": ["lm_head"]}})
    assert "vLLM loads no adapter with modules trained whole: merge it first" in "\n".join(model_card._use(beside))


def test_a_full_model_loads_with_its_tokenizer(full: WorkFolder, model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(full.output, WHOLE_MODEL)
    assert not Path(full.output, ADAPTER).exists()
    before, after = (logits(AutoModelForCausalLM.from_pretrained(one)) for one in (model, folder))
    assert (after - before).abs().max() > 0.1
    assert AutoTokenizer.from_pretrained(folder).chat_template
    text = (folder / "README.md").read_text()
    assert "library_name: transformers" in text
    assert "All weights of `lab:tiny`, trained with llmlab in run" in text
    assert "vllm serve model" in text
    assert "FROM .\n" in (folder / "Modelfile").read_text()


def test_the_recipes_own_template_is_what_it_learns_answers_and_hands_back(model: Path, train: Train, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    text = "{% for m in messages %}<|{{ m.role }}|> {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|> {% endif %}"
    template = {"file": "mine.jinja", "sha256": hashlib.sha256(text.encode()).hexdigest(), "text": text}
    recipe = {"max_steps": 2, "chat_template": template, "evaluation": {"prompts": ["2+2?"], "prompt_tokens": 2}}
    own = folders.make(tmp_path / "own", model, count=4, recipe=recipe)
    models = folders.make(tmp_path / "models", model, count=4, recipe={**recipe, "chat_template": None})
    for work in (own, models):
        code, log = train(work)
        assert code == 0, log
    adapter = Path(own.output, ADAPTER)
    assert AutoTokenizer.from_pretrained(adapter).chat_template == text
    assert folders.losses(own) != folders.losses(models)
    assert folders.progress(own).tokens != folders.progress(models).tokens
    card_text = (adapter / "README.md").read_text()
    assert f"`mine.jinja`, SHA-256 `{template['sha256']}`" in card_text
    assert "chat_template: mine.jinja" in card_text
    assert text not in card_text
    assert '<|assistant|> """' in (adapter / "Modelfile").read_text()


def test_the_card_holds_data_recipe_versions_and_curves(trained: WorkFolder) -> None:
    text = Path(trained.output, "README.md").read_text()
    assert text == Path(trained.output, ADAPTER, "README.md").read_text()
    spec = json.loads(Path(trained.spec).read_text())
    assert f"`{spec['data']['files'][0]['sha256']}`" in text
    assert "rank: 4" in text
    assert "| step | loss | learning rate | held-out loss | held-out perplexity |" in text
    last = folders.losses(trained)[-1]
    assert f"| {last[0]} | {last[1]:.4f} |" in text
    assert f"| loss, first step | {folders.losses(trained)[0][1]:.4f} |" in text
    assert "transformers 5." in text
    assert f"fingerprint of its weights: `{provenance.fingerprint(Path(trained.model))}`" in text
    assert text.count("data: ") == text.count("data: `") == 0, "the counts are a list, without the log's prefix"


def test_a_long_card_is_kept_short() -> None:
    assert model_card.spread(range(5)) == [0, 1, 2, 3, 4]
    chosen = model_card.spread(range(1000))
    assert (len(chosen), chosen[0], chosen[-1]) == (model_card.POINTS, 0, 999)
    manifest = Manifest("demo", tuple(DataFile(f"{at}.jsonl", 1, "0") for at in range(25)), "")
    assert "| and 5 more | | |" in "\n".join(model_card._files(manifest.files))
    qlora = recipes.check({"model": "a/b", "method": "qlora", "lora": {"rank": 40}})
    said = "\n".join(model_card._use(qlora))
    assert "--max-lora-rank 64" in said
    assert "trained over the base model in 4 bits" in said
    assert list(model_card._curves([])) == ["No step was trained."]


def test_samples_are_the_base_models_and_those_of_the_weights_that_came_out(tmp_path: Path, model: Path, train: Train) -> None:
    prompts = ["How do I restart the old server?", "Hello"]
    made = folders.make(tmp_path / "run", model, count=16, recipe={**LEARN, "evaluation": {"prompts": prompts, "prompt_tokens": 8}})
    assert train(made)[0] == 0
    first, second = (json.loads(line) for line in Path(made.output, SAMPLES_FILE).read_text().splitlines())
    assert (first["prompt"], second["prompt"]) == tuple(prompts)
    assert first["base"] != first["tuned"]
    told = [{"step": step, "prompt": "p", "text": text} for step, text in ((0, "a"), (4, "b"), (8, "c"))]
    (tmp_path / SAMPLES).write_text("".join(json.dumps(one) + "\n" for one in told))
    for best, tuned in ((4, "b"), (None, "c"), (5, "c")):
        assert json.loads(output.samples(tmp_path, best)) == {"prompt": "p", "base": "a", "tuned": tuned}
    assert output.samples(tmp_path / "nowhere", None) == ""
    assert (
        model_card.best_step([{"step": 0, "eval_loss": 3.0}, {"step": 2, "eval_loss": 1.0}, {"step": 4, "eval_loss": 1.0}, {"step": 5}])
        == 2
    )
    assert model_card.best_step([{"step": 1, "loss": 2.0}]) is None


# ---------------------------------------------------------------- where it comes from


def test_the_origin_of_an_adapter(trained: WorkFolder) -> None:
    found = provenance.read(Path(trained.output, ADAPTER))
    assert found is not None
    assert (found.base, found.run, found.method, found.objective) == ("lab:tiny", "20261123-120000-abcd", "lora", "sft")
    assert found.fingerprint == provenance.fingerprint(Path(trained.model)) != ""
    assert provenance.read(Path(trained.output)) is None


def test_a_fingerprint_is_of_the_weights(tmp_path: Path, model: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    own = provenance.fingerprint(model)
    AutoModelForCausalLM.from_pretrained(model).save_pretrained(tmp_path / "cut", max_shard_size="40KB")
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) > 1
    assert provenance.fingerprint(tmp_path / "cut") == own, "how it is cut into files does not matter"
    shutil.copytree(model, tmp_path / "other")
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][3] += 1e-3
    save_file(tensors, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    assert provenance.fingerprint(tmp_path / "other") != own
    (tmp_path / "other" / "model.safetensors").write_bytes(b"broken")
    assert provenance.fingerprint(tmp_path / "other") == ""
    assert provenance.fingerprint(tmp_path / "nowhere") == ""
    assert provenance.folder_of(str(model)) == model
    assert provenance.folder_of("nobody/nothing") is None


# ---------------------------------------------------------------- Ollama

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% else %}{{ raise_exception('no system') }}{% endif %}{% endfor %}"
)
COUNTING = "{% for m in messages %}{{ loop.index }}:{{ m.role }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}>{% endif %}"


def templated(model: Path, template: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = template
    tokenizer.bos_token = "<|start|>"
    return tokenizer


def test_a_modelfile_says_what_the_chat_template_says(model: Path) -> None:
    chatml = ollama.modelfile(templated(model, CHATML), ".")
    assert "FROM .\n" in chatml
    assert (
        'TEMPLATE """{{ if not .System }}<|im_start|>system\nYou are helpful.<|im_end|>\n{{ end }}{{ range .Messages }}'
        '{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n{{ else }}'
        '{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n{{ else }}'
        '{{ if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n{{ end }}{{ end }}{{ end }}{{ end }}'
        '<|im_start|>assistant\n"""\n'
    ) in chatml
    assert 'PARAMETER stop "<|end|>"' in chatml
    llama = ollama.words_of(templated(model, LLAMA))
    assert llama is not None
    assert llama.ask == "<|start_header_id|>assistant<|end_header_id|>\n\n"
    assert llama.around["user"] == ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>")


def test_no_template_is_better_than_a_wrong_one(model: Path) -> None:
    for template in (MISTRAL, COUNTING, "{{ undefined.thing }}", CHATML.replace("helpful", "{{ '{{' }}")):
        text = ollama.modelfile(templated(model, template), "base", ".", base="base")
        assert "TEMPLATE" not in text.replace("# No TEMPLATE", "")
        assert "ADAPTER .\n" in text
        assert "# FROM is the folder of the base model base" in text
    assert ollama.words_of(templated(model, "")) is None


def test_the_sandboxs_own_template_has_words(trained: WorkFolder) -> None:
    text = Path(trained.output, ADAPTER, "Modelfile").read_text()
    assert "FROM tiny\nADAPTER .\n" in text
    assert "<|start|>assistant\n{{ .Content }}<|end|>\n" in text
