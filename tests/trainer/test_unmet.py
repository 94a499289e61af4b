"""A base whose rows of control tokens are zero, as Llama 3's: what an adapter cannot teach is refused before the first step."""

from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import TrainerExit
from tests.trainer import work as folders
from tests.trainer.conftest import Train

WHOLE = "lora.modules_to_save=[embed_tokens,lm_head]"


@pytest.fixture(scope="module")
def unmet(tmp_path_factory: pytest.TempPathFactory, model: Path) -> "Base":
    return Base(tmp_path_factory.mktemp("unmet"), model)


class Base:
    """The model with the rows of some tokens emptied."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root, self.model = root, model

    def __call__(self, *tokens: str) -> Path:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = self.root / "-".join(token.strip("<|>") for token in tokens)
        if not folder.exists():
            tokenizer, model = AutoTokenizer.from_pretrained(self.model), AutoModelForCausalLM.from_pretrained(self.model)
            with torch.no_grad():
                for end in (model.get_input_embeddings(), model.get_output_embeddings()):
                    end.weight[tokenizer.convert_tokens_to_ids(list(tokens))] = 1e-23
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return folder


def test_what_it_is_to_say_and_cannot_learn_is_refused(tmp_path: Path, unmet: Base, train: Train) -> None:
    work = folders.make(tmp_path, unmet("<|end|>"), count=4, recipe={"max_steps": 1})
    code, log = train(work)
    ended = folders.outcome(work)
    assert code == TrainerExit.SETUP_FAILED, log
    assert ended.detail == "the model lab:tiny has never met <|end|>, which it is to say, and an adapter cannot teach it"
    assert folders.hint(ended) == f"llmlab launch --set '{WHOLE}'"


@pytest.mark.parametrize(
    "recipe", [{"lora": {"rank": 4, "modules_to_save": ["embed_tokens", "lm_head"]}}, {"method": "full"}], ids=["beside", "full"]
)
def test_rows_that_learn_are_said(tmp_path: Path, unmet: Base, train: Train, recipe: dict[str, Any]) -> None:
    work = folders.make(tmp_path, unmet("<|end|>"), count=4, recipe={"max_steps": 1, **recipe})
    code, log = train(work)
    assert code == 0, log
    assert "the model has never met <|end|>: it learns them now" in log


def test_what_it_only_reads_is_a_warning(tmp_path: Path, unmet: Base, train: Train) -> None:
    work = folders.make(tmp_path, unmet("<|start|>"), count=4, recipe={"max_steps": 1})
    code, log = train(work)
    assert code == 0, log
    assert "warning: the model has never met <|start|>: they mean nothing to it, and all the same" in log


def test_a_model_that_has_met_all_says_nothing(tmp_path: Path, model: Path, train: Train) -> None:
    code, log = train(folders.make(tmp_path, model, count=4, recipe={"max_steps": 1}))
    assert code == 0, log
    assert "never met" not in log
