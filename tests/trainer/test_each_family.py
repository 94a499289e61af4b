"""Families that are special in some way are trained, or refused before the first step. All of them: `python -m tests.families`."""

from pathlib import Path

import pytest

from tests.families import configs
from tests.families.trying import REFUSED, TRAINED, WAYS, families, make, train

LOOKS_AHEAD = "the model MODEL looks ahead: what it computes at a token depends on those behind it, so it cannot learn to go on"
CASES = {
    ("bert", "lora"): (REFUSED, LOOKS_AHEAD),
    ("xmod", "lora"): (REFUSED, "the model MODEL does not compute what training gives it: Input language unknown"),
    ("openai-gpt", "lora"): (TRAINED, "gradient checkpointing: off, the model cannot recompute activations"),
    ("openai-gpt", "checkpointed"): (REFUSED, "the model MODEL cannot recompute activations"),
    ("falcon_h1", "lora"): (
        TRAINED,
        "adapter: none on 2 matrices that are not plain ones of the language model (a state space's out_proj)",
    ),
    ("inkling_text", "lora"): (TRAINED, "adapter: none on the experts of"),
    ("falcon", "lora"): (TRAINED, "adapter: rank 4, 3,712 of"),
    ("modernbert-decoder", "lora"): (TRAINED, "adapter: rank 4, "),
    ("rwkv", "lora"): (TRAINED, "packing: off, "),
    ("rwkv", "dpo"): (TRAINED, "packing: off, "),
    ("deepseek_v3", "full"): (TRAINED, "packing: off"),
    ("mixtral", "qlora"): (REFUSED, "method qlora does not fit MODEL: it is a mixture of experts"),
}
"""What is special: how it ends, and words of the refusal or of the log."""


def test_every_family_has_its_place() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert (configs.NOT_TRIED.keys() | configs.OTHERWISE.keys()) <= known
    assert len(families()) >= 160
    assert len(CASES) == 12
    assert {way for _, way in CASES} <= set(WAYS)


@pytest.mark.slow  # a second each, most of which is reading code of transformers
@pytest.mark.parametrize(("family", "way"), CASES)
def test_a_special_family_is_trained_or_refused(tmp_path: Path, family: str, way: str) -> None:
    ended = train(tmp_path / "work", make(tmp_path / "model", family), family, way)
    kind, words = CASES[family, way]
    assert (ended.kind, words in (ended.words if kind == REFUSED else ended.log)) == (kind, True), ended.words + ended.log
