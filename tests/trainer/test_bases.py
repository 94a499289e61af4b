"""Base models that are not as they should be: in shards, damaged, with half a tokenizer, with more rows than tokens or fewer."""

import json
import re
import shutil
from pathlib import Path

import pytest

from llmlab.contract import ADAPTER, TrainerExit, WorkFolder
from llmlab.trainer import device as machines
from llmlab.trainer.device import Device
from tests.trainer import architectures, work as folders
from tests.trainer.conftest import Train

PLAIN = {"max_steps": 2, "lora": {"rank": 4, "dropout": 0.0}}


def owned(work: WorkFolder, model: Path) -> Path:
    """A copy of the model that a test may change."""
    folder = Path(work.model)
    folder.unlink()
    shutil.copytree(model, folder)
    return folder


def shard(folder: Path) -> list[Path]:
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="60KB")
    (folder / "model.safetensors").unlink()
    return sorted(folder.glob("model-*.safetensors"))


@pytest.mark.slow  # seconds of writing and reading a model in pieces
def test_a_model_in_shards(tmp_path: Path, model: Path, train: Train) -> None:
    seen = []
    for sharded in (False, True):
        work = folders.make(tmp_path / str(sharded), model)
        folder = owned(work, model)
        if sharded:
            assert len(shard(folder)) > 2
        code, log = train(work)
        assert code == 0, log
        seen.append(folders.losses(work))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("harm", ["missing", "truncated"])
def test_a_shard_that_is_not_there_or_not_whole(tmp_path: Path, model: Path, train: Train, harm: str) -> None:
    work = folders.make(tmp_path, model)
    victim = shard(owned(work, model))[1]
    if harm == "missing":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-100])
    code, log = train(work)
    assert code == TrainerExit.SETUP_FAILED, log
    told = folders.outcome(work)
    assert told.detail.startswith("the model lab:tiny cannot be used")
    assert folders.hint(told) == "llmlab upload MODEL_FOLDER --model tiny"
    assert "\n" not in told.detail


def without(folder: Path, *names: str) -> None:
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / file
        if path.is_file():
            kept = {key: value for key, value in json.loads(path.read_text()).items() if key not in names}
            path.write_text(json.dumps(kept))


def test_a_tokenizer_without_a_padding_token(tmp_path: Path, model: Path, train: Train) -> None:
    """Nothing is padded with loss, so the end token does, and answers still end with it."""
    seen = []
    for bare in (False, True):
        work = folders.make(tmp_path / str(bare), model, recipe={"packing": False})
        folder = owned(work, model)
        if bare:
            without(folder, "pad_token")
        code, log = train(work)
        assert code == 0, log
        seen.append(folders.losses(work))
    assert seen[0] == seen[1]


def test_a_tokenizer_without_padding_and_end(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model)
    without(owned(work, model), "pad_token", "eos_token")
    code, log = train(work)
    assert code == TrainerExit.SETUP_FAILED, log
    assert "neither a padding nor an end token" in folders.outcome(work).detail


@pytest.mark.parametrize("rows_more", [-16, 0, 64])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_vocabulary_and_embedding_differ(tmp_path: Path, model: Path, train: Train, rows_more: int, method: str) -> None:
    """More rows than tokens are usual; fewer cannot be."""
    import warnings

    from transformers import AutoModelForCausalLM

    work = folders.make(tmp_path, model, recipe={"method": method})
    folder = owned(work, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = AutoModelForCausalLM.from_pretrained(folder)
        size = base.config.vocab_size
        base.resize_token_embeddings(size + rows_more, mean_resizing=False)
        base.save_pretrained(folder)
    code, log = train(work)
    if rows_more < 0:
        assert code == TrainerExit.SETUP_FAILED, log
        assert f"has {size} tokens and its model only {size - 16}" in folders.outcome(work).detail
    else:
        assert code == 0, log
        assert len(folders.losses(work)) == 4


# ------------------------------------------------------------ what gets an adapter


def adapted(work: WorkFolder) -> set[str]:
    """The modules of the adapter that came out, by the last part of their names, and whether one is outside the language model."""
    from safetensors import safe_open

    with safe_open(Path(work.output, ADAPTER, "adapter_model.safetensors"), "pt") as file:
        return {name.partition(".lora_")[0] for name in file.keys()}  # noqa: SIM118 - of safetensors


@pytest.mark.parametrize("kind", ["phimoe", "llama4_text"])
def test_a_router_gets_no_adapter(tmp_path: Path, train: Train, kind: str) -> None:
    """It is a linear layer that returns several tensors."""
    work = folders.make(tmp_path / "work", architectures.make(tmp_path / "model", kind), recipe=PLAIN)
    code, log = train(work)
    assert code == 0, log
    assert re.search(r"adapter: none on 2 matrices that are not plain ones of the language model \(\w+Router\)", log)
    assert not [name for name in adapted(work) if "router" in name or name.endswith("mlp.gate")]
    assert [name for name in adapted(work) if name.endswith("q_proj")]


def test_of_a_model_with_eyes_the_language_model_alone_is_trained(tmp_path: Path, train: Train) -> None:
    work = folders.make(tmp_path / "work", architectures.make(tmp_path / "model", "gemma3"), recipe=PLAIN)
    code, log = train(work)
    assert code == 0, log
    assert "matrices that are not plain ones of the language model (vision_tower)" in log
    assert adapted(work)
    assert all("language_model" in name for name in adapted(work))


def test_experts_without_an_adapter_are_named(tmp_path: Path, train: Train) -> None:
    lines = {}
    for kind in ("gpt_oss", "qwen3_moe"):
        work = folders.make(tmp_path / f"{kind}-work", architectures.make(tmp_path / kind, kind), recipe=PLAIN)
        code, log = train(work)
        assert code == 0, log
        lines[kind] = "adapter: none on the experts of 2 layers, which stay as they are" in log
    assert lines == {"gpt_oss": True, "qwen3_moe": False}


def test_experts_are_not_trained_in_4_bits(tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would stay in 16 bits, which no estimate counts."""
    monkeypatch.setattr(machines, "choose", lambda *_arguments: Device("cpu", "bfloat16"))
    work = folders.make(tmp_path / "work", architectures.make(tmp_path / "model", "qwen3_moe"), recipe={**PLAIN, "method": "qlora"})
    code, log = train(work)
    ended = folders.outcome(work)
    assert code == TrainerExit.SETUP_FAILED, log
    assert ended.detail == "method qlora does not fit lab:tiny: it is a mixture of experts, and 4 bits leave the experts in 16"
    assert folders.hint(ended) == "llmlab launch --set method=lora"
