"""Merging and asking on a real small model: the merged one says what base and adapter say, and only the right base is taken."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import ADAPTER, WHOLE_MODEL, WorkFolder
from llmlab.errors import LabError
from llmlab.trainer.export import answer, merge, provenance
from tests.trainer import work as folders
from tests.trainer.conftest import Train

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers
RECIPE = {"epochs": 3, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def adapter(trained: WorkFolder) -> Path:
    return Path(trained.output, ADAPTER)


def other(folder: Path, model: Path) -> Path:
    """A model like the base with one weight changed."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] += 0.5
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_merged_is_base_and_adapter(tmp_path: Path, model: Path, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "merged"
    assert merge.main([str(model), str(adapter), str(out), "--shard", "40KB"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["checked"]
    assert made["dtype"] == "float32"
    assert made["difference"] < 1e-4 * made["logit"]
    assert made["same_words"] == 1.0
    assert made["own_tokenizer"]
    assert len(list(out.glob("model-*.safetensors"))) > 1
    assert made["files"] == len([path for path in out.rglob("*") if path.is_file()])
    assert AutoTokenizer.from_pretrained(out).chat_template
    assert "FROM .\n" in (out / "Modelfile").read_text()
    assert provenance.read(out) == provenance.read(adapter)
    assert AutoModelForCausalLM.from_pretrained(out).num_parameters() == AutoModelForCausalLM.from_pretrained(model).num_parameters()
    with pytest.raises(LabError, match="is there already"):
        merge.merge(str(model), adapter, out)


def test_in_half_precision_it_is_within_rounding(tmp_path: Path, model: Path, adapter: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    half = tmp_path / "half"
    shutil.copytree(model, half)
    AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).save_pretrained(half)
    blank = tmp_path / "adapter"
    shutil.copytree(adapter, blank, ignore=shutil.ignore_patterns(provenance.FILE))
    made = merge.merge(str(half), blank, tmp_path / "merged")
    assert not made.checked, "nobody wrote down where this adapter is from"
    assert made.dtype == "bfloat16"
    assert 0 < made.difference < 0.1 * made.logit


def test_another_base_is_refused(tmp_path: Path, model: Path, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = other(tmp_path / "wrong", model)
    assert merge.main([str(wrong), str(adapter), str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert f"error: {wrong} is not the model that the adapter was trained on (lab:tiny)" in err
    assert "hint: llmlab merge 20261123-120000-abcd --base FOLDER" in err
    assert not (tmp_path / "out").exists()
    with pytest.raises(LabError, match="there is no adapter in"):
        merge.merge(str(model), tmp_path, tmp_path / "out")


def test_a_merge_that_is_not_the_same_is_not_kept(tmp_path: Path, model: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = merge._written

    def damaged(folder: Path) -> Any:
        loaded = written(folder)
        loaded.model.norm.weight.data.mul_(2)
        return loaded

    monkeypatch.setattr(merge, "_written", damaged)
    with pytest.raises(LabError, match=r"the merged model differs by .* so it was not kept"):
        merge.merge(str(model), adapter, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_whole_model_is_asked_beside_its_base(tmp_path: Path, model: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    work: WorkFolder = folders.make(tmp_path, model, count=8, recipe={**RECIPE, "method": "full"})
    assert train(work)[0] == 0
    question = ["How do I restart the old server?", "--most-tokens", "12"]
    assert answer.main([str(model), f"{work.output}/{WHOLE_MODEL}", *question]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["base"] != said["tuned"]


def test_a_large_model_is_not_asked_on_a_cpu(tmp_path: Path, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14_336, "vocab_size": 128_256}
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_attention_heads": 32, "num_key_value_heads": 8}))
    assert answer.main([str(tmp_path), str(adapter), "hi"]) == 1
    err = capsys.readouterr().err
    assert "has 8.0 billion parameters, and without a GPU up to 3 billion" in err
    assert f"hint: vllm serve {tmp_path} --enable-lora --max-lora-rank 8 --lora-modules tuned={adapter}" in err
    for change, hint in (({"use_dora": True}, "llmlab merge latest"), (None, f"vllm serve {tmp_path / 'tuned'}")):
        shutil.rmtree(tmp_path / "tuned", ignore_errors=True)
        shutil.copytree(adapter, tmp_path / "tuned")
        file = tmp_path / "tuned" / "adapter_config.json"
        if change is None:
            file.rename(tmp_path / "tuned" / "config.json")
        else:
            file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
        assert answer.main([str(tmp_path), str(tmp_path / "tuned"), "hi"]) == 1
        assert capsys.readouterr().err.endswith(f"hint: {hint}\n")
