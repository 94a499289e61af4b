"""Base models that are not as they should be: in shards, damaged, with half a tokenizer, with more rows than tokens or fewer."""

import json
import shutil
from pathlib import Path

import pytest

from llmlab.contract import TrainerExit, WorkFolder
from tests.trainer import work as folders
from tests.trainer.conftest import Train


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
