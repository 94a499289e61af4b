"""What of an adapter's fields does not go together."""

from typing import Any

import pytest

from llmlab import recipe as recipes
from llmlab.errors import UsageError

MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "with lora.dropout 0.05": ({"lora": {"dropout": 0.05}}, "lora.dropout=0"),
    "with lora.dora": ({"lora": {"dora": True}}, "lora.dora=false"),
    "with method qlora, which leaves parameters in 16 bits": ({"method": "qlora"}, "method=lora"),
}


@pytest.mark.parametrize("words", MISFITS)
def test_parameters_and(words: str) -> None:
    changed, mends = MISFITS[words]
    lora = {"target_parameters": ["mlp.experts.down_proj"], **changed.get("lora", {})}
    with pytest.raises(UsageError) as caught:
        recipes.check({"model": "a/b", **changed, "lora": lora})
    assert caught.value.message == f"lora.target_parameters learn as they are, and not {words} (the recipe)"
    assert caught.value.hint == f"llmlab launch --set {mends}"
    assert len(MISFITS) == 3


def test_alone_or_without_an_adapter_they_fit() -> None:
    for changed in ({}, {"method": "full", "lora": {"dropout": 0.5}}):
        lora = {"target_parameters": ["down_proj"], **changed.get("lora", {})}  # type: ignore[attr-defined]
        assert recipes.check({"model": "a/b", **changed, "lora": lora}).lora.target_parameters == ("down_proj",)


def test_a_module_is_trained_whole_or_with_an_adapter() -> None:
    lora = {"targets": ["q_proj", "lm_head"], "modules_to_save": ["embed_tokens", "lm_head"]}
    with pytest.raises(UsageError, match=r"^lm_head cannot be trained whole, by lora\.modules_to_save, and with an adapter") as caught:
        recipes.check({"model": "a/b", "lora": lora})
    assert caught.value.hint == "llmlab launch --set 'lora.modules_to_save=[embed_tokens]'"
    assert recipes.check({"model": "a/b", "method": "full", "lora": lora}).method == "full"
    with pytest.raises(UsageError, match=r"engine trl is not tried with lora\.modules_to_save"):
        recipes.check({"model": "a/b", "engine": "trl", "lora": {"modules_to_save": ["lm_head"]}})
