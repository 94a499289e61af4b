"""Special tokens that a recipe adds: one id each, rows that begin as the mean and learn, and files that open elsewhere."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llmlab import recipe as recipes
from llmlab.contract import ADAPTER, WHOLE_MODEL, TrainerExit
from llmlab.errors import UsageError
from llmlab.trainer.export import answer, merge
from llmlab.trainer.model import added_tokens
from tests.trainer import work as folders
from tests.trainer.conftest import Train
from tests.trainer.test_resume import interrupted

NEW = ["<tool>", "</tool>"]
ENDS = ["embed_tokens", "lm_head"]
WHOLE = "llmlab launch --set 'lora.modules_to_save=[embed_tokens,lm_head]'"
RECIPE: dict[str, Any] = {"max_steps": 4, "learning_rate": 0.02, "additional_special_tokens": NEW}
BESIDE = RECIPE | {"lora": {"rank": 4, "dropout": 0.0, "modules_to_save": ENDS}}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # PEFT, of transformers
    pytest.mark.filterwarnings("ignore:.*tie:UserWarning"),  # PEFT, of what the merge takes care of
]


def rows(count: int = 12) -> list[dict[str, Any]]:
    """Questions whose answers say the tokens."""
    return [
        {"messages": [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": f"<tool>{n}</tool>"}]}
        for n in range(count)
    ]


@pytest.mark.slow  # two trainings and a merge
def test_they_learn_beside_an_adapter_resume_merge_and_open_elsewhere(tmp_path: Path, model: Path, train: Train) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    whole, work = (folders.make(tmp_path / name, model, recipe=BESIDE, rows=rows()) for name in ("whole", "work"))
    code, log = train(whole)
    assert code == 0, log
    interrupted(train, work, 1)
    assert folders.losses(work) == folders.losses(whole)
    assert folders.weights(work) == folders.weights(whole)
    adapter = Path(whole.output, ADAPTER)
    before, after = AutoTokenizer.from_pretrained(model), AutoTokenizer.from_pretrained(adapter)
    assert [len(after.encode(token, add_special_tokens=False)) for token in NEW] == [1, 1]
    assert all(len(before.encode(token, add_special_tokens=False)) > 1 for token in NEW)
    assert "base.resize_token_embeddings(max(rows, " in (adapter / "README.md").read_text(encoding="utf-8")
    merged = merge.merge(str(model), adapter, tmp_path / "merged")  # which compares what both say
    assert (merged.same_words, merged.own_tokenizer) == (1.0, True)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert opened.config.vocab_size == opened.get_input_embeddings().weight.shape[0] == len(after)
    said = answer.answer(str(model), str(adapter), "<tool>1</tool>", most_tokens=4)
    assert said.prompt == "<tool>1</tool>"


@pytest.mark.slow  # two trainings
def test_they_learn_with_every_weight(tmp_path: Path, model: Path, train: Train) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    recipe = RECIPE | {"method": "full", "learning_rate": 0.001}
    whole, work = (folders.make(tmp_path / name, model, recipe=recipe, rows=rows()) for name in ("whole", "work"))
    code, log = train(whole)
    assert code == 0, log
    interrupted(train, work, 1)
    assert folders.losses(work) == folders.losses(whole)
    output = Path(whole.output, WHOLE_MODEL)
    opened, tokenizer = AutoModelForCausalLM.from_pretrained(output), AutoTokenizer.from_pretrained(output)
    assert opened.config.vocab_size == opened.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert len(tokenizer.encode("<tool>", add_special_tokens=False)) == 1


def test_an_adapter_alone_is_refused(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model, recipe=RECIPE, rows=rows(4))
    code, log = train(work)
    ended = folders.outcome(work)
    assert code == TrainerExit.SETUP_FAILED, log
    assert ended.detail == "the model lab:tiny has never met <tool>, </tool>, and an adapter alone cannot teach them"
    assert folders.hint(ended) == WHOLE


def test_one_of_both_ends_alone_is_refused(tmp_path: Path, model: Path, train: Train) -> None:
    lora = {"rank": 4, "modules_to_save": ["lm_head"]}
    code, log = train(work := folders.make(tmp_path, model, recipe=RECIPE | {"lora": lora}, rows=rows(4)))
    assert code == TrainerExit.SETUP_FAILED, log
    assert folders.hint(folders.outcome(work)) == WHOLE


def test_a_token_that_the_tokenizer_has_needs_nothing(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model, count=4, recipe={"max_steps": 1, "additional_special_tokens": ["<|end|>"]})
    code, log = train(work)
    assert code == 0, log


def test_new_rows_are_the_mean_of_all(model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, loaded = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    before = loaded.get_input_embeddings().weight.detach().clone()
    tokenizer.add_tokens(NEW, special_tokens=True)
    added_tokens.widen(loaded, tokenizer)
    for end in (loaded.get_input_embeddings(), loaded.get_output_embeddings()):
        assert end.weight.shape[0] == len(tokenizer) == len(before) + len(NEW)
    after = loaded.get_input_embeddings().weight.detach()
    assert torch.equal(after[: len(before)], before)
    assert torch.equal(after[len(before) :], before.float().mean(0).bfloat16().expand(len(NEW), -1))


@pytest.mark.parametrize("tokens", [[""], [" a"], ["<tool>", "<tool>"], ["a" * 200]])
def test_what_is_no_token_is_refused(tokens: list[str]) -> None:
    with pytest.raises(UsageError, match="additional_special_tokens"):
        recipes.check({"model": "a/b", "additional_special_tokens": tokens})
