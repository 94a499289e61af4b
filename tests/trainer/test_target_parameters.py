"""Adapters on parameters that no matrix of its own holds, such as a mixture's experts: trained, resumed, counted, merged, opened."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from llmlab import footprint, recipe as recipes
from llmlab.contract import ADAPTER, TrainerExit
from llmlab.trainer.export import merge
from llmlab.trainer.model.adapter import adapt
from tests.trainer import architectures, work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import interrupted

EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
RECIPE: dict[str, Any] = {"max_steps": 4, "learning_rate": 0.02, "lora": {"rank": 4, "dropout": 0.0, "target_parameters": EXPERTS}}
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers


def learned(folder: Path) -> dict[str, float]:
    """The norm of each second matrix of the adapter's, which starts from zero."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    return {name: float(tensor.norm()) for name, tensor in tensors.items() if "lora_B" in name}


@pytest.mark.slow  # two trainings and a merge
def test_experts_learn_resume_and_merge(tmp_path: Path, train: Train) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = architectures.make(tmp_path / "model", "gpt_oss")
    whole, work = (folders.make(tmp_path / name, model, recipe=RECIPE) for name in ("whole", "work"))
    code, log = train(whole)
    assert code == 0, log
    assert "adapter: also on mlp.experts.gate_up_proj, mlp.experts.down_proj" in log
    assert "adapter: none on the experts" not in log
    interrupted(train, work, 1)
    assert folders.losses(work) == folders.losses(whole)
    assert folders.weights(work) == folders.weights(whole)
    adapter = Path(whole.output, ADAPTER)
    norms = learned(adapter)
    assert len([name for name in norms if "experts" in name]) == 4
    assert min(norms.values()) > 0
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), str(adapter))
    assert set(tuned.peft_config["default"].target_parameters) == set(EXPERTS)
    merged = merge.merge(str(model), adapter, tmp_path / "merged")  # which compares what both say
    assert merged.same_words == 1.0


def test_a_parameter_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, train: Train) -> None:
    lora = {**RECIPE["lora"], "target_parameters": ["mlp.experts.gate_proj"]}
    for kind, has, hint in (
        ("gpt_oss", "its experts are mlp.experts.down_proj, mlp.experts.gate_up_proj", "[mlp.experts.down_proj,mlp.experts.gate_up_proj]"),
        ("llama", "it holds no experts as parameters", "[]"),
    ):
        work = folders.make(tmp_path / kind, architectures.make(tmp_path / f"{kind}-model", kind), recipe={**RECIPE, "lora": lora})
        code, log = train(work)
        ended = folders.outcome(work)
        assert code == TrainerExit.SETUP_FAILED, log
        assert ended.detail == f"the model lab:tiny has no parameter mlp.experts.gate_proj: {has}"
        assert folders.hint(ended) == f"llmlab launch --set {shlex.quote(f'lora.target_parameters={hint}')}"


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning")  # PEFT looks for them among modules alone
@pytest.mark.parametrize(("kind", "parameters"), [("qwen3_moe", []), ("gpt_oss", []), ("gpt_oss", EXPERTS), ("gpt_oss", EXPERTS[:1])])
def test_an_estimate_counts_the_experts_adapters(tmp_path: Path, kind: str, parameters: list[str]) -> None:
    """PEFT puts them on Qwen 3's experts and router by itself, as they were matrices before."""
    from transformers import AutoModelForCausalLM

    recipe = recipes.check({"model": "a/b", "lora": {"rank": 4, "target_parameters": parameters}})
    base = AutoModelForCausalLM.from_pretrained(architectures.make(tmp_path, kind))
    size = footprint.shape(base.config.to_dict())
    assert size is not None
    adapted = adapt(base, recipe, None, lambda _text: None)
    assert footprint.trained(recipe, size) == adapted.get_nb_trainable_parameters()[0]
    experts = sum(parameter.numel() for parameter in base.parameters() if parameter.ndim == 3 and not parameter.requires_grad)
    held = footprint.parts(recipe, size, checkpointing=False).get("adapted experts", 0)
    assert held == (2 * experts * (size.layers + 1) / size.layers if kind == "qwen3_moe" or parameters else 0)
