"""Every shipped recipe is estimated, fits the GPU its comment names, and starts on a shrunken random model of its own architecture."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from llmlab import recipe as recipes
from llmlab.contract import ADAPTER, WHOLE_MODEL
from llmlab.footprint import Shape
from llmlab.ops.estimate import ROOM, memory
from llmlab.ops.model_size import from_config
from tests.trainer import work as folders
from tests.trainer.conftest import Train

QWEN2 = {
    "model_type": "qwen2", "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
    "intermediate_size": 8960, "vocab_size": 151_936, "tie_word_embeddings": True,
}  # fmt: skip
QWEN3 = {
    "model_type": "qwen3", "hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
    "head_dim": 128, "intermediate_size": 12_288, "vocab_size": 151_936, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    "intermediate_size": 28_672, "vocab_size": 128_256, "tie_word_embeddings": False,
}  # fmt: skip
TINY = {
    "model_type": "llama", "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 352, "vocab_size": 768, "tie_word_embeddings": True,
}  # fmt: skip
MODELS: dict[str, tuple[dict[str, Any], float]] = {
    "Qwen/Qwen2.5-1.5B-Instruct": (QWEN2, 1.54e9),
    "Qwen/Qwen3-8B": (QWEN3, 8.19e9),
    "meta-llama/Llama-3.3-70B-Instruct": (LLAMA, 70.6e9),
    "lab:tiny": (TINY, 0.65e6),
}
"""Each recipe's model: what its published config.json says, and the parameters its model card names."""
GPU_GIB = {"16": 14.6, "24": 22.0, "48": 44.4, "80": 79.1}
"""GB as they are sold to GiB as they are found: T4, A10G, L40S, A100."""
NAMES = sorted(recipes.shipped())


def test_what_ships() -> None:
    assert NAMES == ["dpo", "full-1b", "grpo", "kto", "lora-1b", "lora-8b", "qlora-70b", "qlora-8b", "sandbox"]
    loaded = [recipes.load(name) for name in NAMES]
    assert {one.model for one in loaded} == set(MODELS)
    assert {(one.objective, one.method) for one in loaded} == {
        ("sft", "lora"), ("sft", "qlora"), ("sft", "full"), ("dpo", "lora"), ("kto", "lora"), ("grpo", "lora"),
    }  # fmt: skip


def test_no_case_is_missing() -> None:
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_the_gpu_its_comment_names(name: str) -> None:
    recipe = recipes.load(name)
    config, parameters = MODELS[recipe.model]
    size = from_config(config)
    assert size is not None
    assert size.parameters == pytest.approx(parameters, rel=0.02)
    parts = memory(recipe, size)
    assert set(parts) - {"generation"} == {"weights", "gradients and optimizer", "activations", "loss head", "CUDA"}
    assert ("generation" in parts) == (recipe.objective == "grpo")
    assert all(amount > 0 for part, amount in parts.items() if part != "weights")
    sold = re.search(r"(\d+) GB", recipes.shipped()[name].read_text())
    assert bool(sold) == (name != "sandbox")
    assert sum(parts.values()) < (GPU_GIB[sold[1]] if sold else GPU_GIB["16"]) * ROOM


def test_the_estimate_moves_with_the_recipe() -> None:
    size = from_config(QWEN3)
    assert size is not None

    def of(**changed: Any) -> dict[str, float]:
        return memory(recipes.check({"model": "Qwen/Qwen3-8B", **changed}), size)

    lora, full = of(), of(method="full")
    assert full["gradients and optimizer"] == pytest.approx(size.parameters * 16 / 2**30)
    assert of(method="qlora")["weights"] < lora["weights"] / 2
    assert of(lora={"rank": 32})["gradients and optimizer"] == pytest.approx(2 * lora["gradients and optimizer"])
    assert of(lora={"targets": ["q_proj"]})["gradients and optimizer"] < lora["gradients and optimizer"] / 5
    assert of(objective="dpo")["activations"] == pytest.approx(2 * lora["activations"])
    assert of(gradient_checkpointing=False)["activations"] > 9 * lora["activations"]
    assert of(max_length=32_768)["loss head"] == lora["loss head"], "logits are held by the chunk"
    assert memory(recipes.check({"model": "a/b", "method": "full"}), size, over=8)["gradients and optimizer"] * 8 == pytest.approx(
        full["gradients and optimizer"]
    )


def shrunken(folder: Path, config: dict[str, Any]) -> Path:
    """Two layers of the same architecture with random weights, and the sandbox's tokenizer and chat template."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from llmlab.sandbox.model import make_tokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = make_tokenizer(0)
        small = AutoConfig.for_model(
            **config  # a few rows more than tokens, as real models have; loading a tokenizer as Qwen2's own adds one
            | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
            | {"intermediate_size": 88, "vocab_size": len(tokenizer) + 8, "max_position_embeddings": 512},
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        AutoModelForCausalLM.from_config(small).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


SMALLER: dict[str, Any] = {"device": "cpu", "max_length": 128, "batch_size": 2, "accumulate": 2, "max_steps": 2, "save_steps": None}


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_on_a_small_model_of_its_architecture(tmp_path: Path, train: Train, name: str) -> None:
    recipe = recipes.load(name)
    method = {"qlora": "lora"}.get(recipe.method, recipe.method)  # 4-bit kernels need a GPU
    model = shrunken(tmp_path / "model", MODELS[recipe.model][0])
    form = {"dpo": "preference", "kto": "kto"}.get(recipe.objective, "messages")
    values = recipe.model_dump(mode="json") | SMALLER | {"method": method}
    values["grpo"] |= {"num_generations": 2, "max_completion_length": 8}
    work = folders.make(tmp_path / "work", model, form=form, count=24, recipe=values)
    code, log = train(work)
    assert code == 0, log
    losses = folders.losses(work)
    assert [step for step, _, _ in losses] == [1, 2]
    assert Path(work.output, WHOLE_MODEL if method == "full" else ADAPTER, "Modelfile").is_file()


def test_an_unusual_architecture_has_a_width_for_every_module() -> None:
    shape = Shape(1000, 2, 16, 100, 64, 16, 8, 100)
    assert (shape.width("k_proj"), shape.width("fc1")) == (24, 32)
