"""What `doctor --gpu` trains is made by the standard library alone: the trainer loads it, reads its examples and learns them."""

import json
from pathlib import Path

from llmlab.ops import gpu_check, tiny_model
from tests.trainer import work as folders
from tests.trainer.conftest import Train


def test_it_is_trained_by_its_own_recipe_and_learns(tmp_path: Path, train: Train) -> None:
    model, data = tiny_model.make(tmp_path)
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    recipe = gpu_check.recipe().model_dump(mode="json") | {"device": "cpu", "max_steps": 12}
    work = folders.make(tmp_path / "work", model, rows, recipe=recipe)
    code, log = train(work)
    assert code == 0, log
    assert "packing: on" in log
    assert "loss head: in chunks" in log
    losses = [loss for _, loss, _ in folders.losses(work)]
    assert len(losses) == 12
    assert losses[-1] < 0.8 * losses[0], losses


def test_its_tokenizer_gives_back_every_letter_and_its_weights_are_the_same_each_time(tmp_path: Path) -> None:
    from safetensors import safe_open
    from transformers import AutoTokenizer

    model, _ = tiny_model.make(tmp_path / "one")
    again, _ = tiny_model.make(tmp_path / "other")
    assert (model / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    with safe_open(model / "model.safetensors", "pt") as weights:
        assert set(weights.keys()) == set(tiny_model._shapes())
        spread = float(weights.get_tensor("model.layers.0.mlp.up_proj.weight").float().std())
    assert abs(spread - 0.06) < 0.002, "bf16 whose bytes lie otherwise is noise of another size"
    tokenizer = AutoTokenizer.from_pretrained(model)
    text = "What? Größe 7 → 8\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.convert_tokens_to_ids("<|end|>") == tokenizer.eos_token_id == 257
