"""Modules that learn whole beside an adapter: for tokens that a model has rows for and has not met."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llmlab import footprint, recipe as recipes
from llmlab.contract import ADAPTER, TrainerExit
from llmlab.trainer.export import merge
from llmlab.trainer.model.adapter import adapt
from tests.trainer import architectures, work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import interrupted

ENDS = ["embed_tokens", "lm_head"]
RECIPE: dict[str, Any] = {"max_steps": 4, "learning_rate": 0.02, "lora": {"rank": 4, "dropout": 0.0, "modules_to_save": ENDS}}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # PEFT, of transformers
    pytest.mark.filterwarnings("ignore:.*tie:UserWarning"),  # PEFT, of what the merge takes care of
]


@pytest.mark.slow  # two trainings and a merge each
@pytest.mark.parametrize("way", ["tied", "apart, bf16", "dpo"])
def test_they_learn_resume_merge_and_open_elsewhere(tmp_path: Path, train: Train, way: str) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model = architectures.make(tmp_path / "model", "qwen2", tie_word_embeddings=way == "tied")
    recipe = RECIPE | {"apart, bf16": {"precision": "bf16"}, "dpo": {"objective": "dpo"}}.get(way, {})
    form = "preference" if way == "dpo" else "messages"
    whole, work = (folders.make(tmp_path / name, model, recipe=recipe, form=form) for name in ("whole", "work"))
    code, log = train(whole)
    assert code == 0, log
    assert "adapter: beside it the whole of embed_tokens, lm_head" in log
    assert "loss head: in chunks" in log
    assert "packing: on" in log
    interrupted(train, work, 1)
    assert folders.losses(work) == folders.losses(whole)
    assert folders.weights(work) == folders.weights(whole)
    adapter = Path(whole.output, ADAPTER)
    saved, base = load_file(adapter / "adapter_model.safetensors"), AutoModelForCausalLM.from_pretrained(model)
    table = saved["base_model.model.model.embed_tokens.weight"]
    assert table.dtype == torch.float32
    assert float((table - base.get_input_embeddings().weight.detach()).abs().max()) > 0.01
    assert PeftModel.from_pretrained(base, str(adapter)).peft_config["default"].modules_to_save == ENDS
    merged = merge.merge(str(model), adapter, tmp_path / "merged")  # which compares what both say
    assert merged.same_words == 1.0
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(again.get_input_embeddings().weight, table)
    assert not torch.equal(again.get_output_embeddings().weight, table)


def test_what_a_frozen_model_of_16_bits_has_of_them_learns_in_32(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    recipe = recipes.check({"model": "a/b", "lora": {"rank": 4, "modules_to_save": ENDS}})
    base = AutoModelForCausalLM.from_pretrained(architectures.make(tmp_path, "qwen2"), dtype=torch.bfloat16)
    size = footprint.shape(base.config.to_dict())
    assert size is not None
    adapted = adapt(base, recipe, None, lambda _text: None)
    assert footprint.trained(recipe, size) == adapted.get_nb_trainable_parameters()[0]
    assert {parameter.dtype for parameter in adapted.parameters() if parameter.requires_grad} == {torch.float32}
    assert base.get_input_embeddings()(torch.arange(3)).dtype == torch.bfloat16


def test_a_module_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model, recipe={**RECIPE, "lora": {**RECIPE["lora"], "modules_to_save": ["wte"]}})
    code, log = train(work)
    ended = folders.outcome(work)
    assert code == TrainerExit.SETUP_FAILED, log
    assert ended.detail == "the model lab:tiny has no module wte: its embeddings and its head are embed_tokens and lm_head"
    assert folders.hint(ended) == "llmlab launch --set 'lora.modules_to_save=[embed_tokens,lm_head]'"
