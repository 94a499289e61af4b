"""The sandbox's model and examples show what tuning does: a question put off before, and answered by the runbook after."""

import json
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from llmlab import recipe
from llmlab.contract import ADAPTER
from llmlab.sandbox import examples, model as sandbox_model
from llmlab.sandbox.runbook import Question, questions
from tests.trainer import work as folders
from tests.trainer.conftest import Train

ASKED = tuple(islice(questions(99), 20))
"""None of them with the seed of the examples or of the model."""


def answers(model: Any, tokenizer: Any, asked: tuple[Question, ...]) -> list[str]:
    said = []
    for one in asked:
        talk = [{"role": "user", "content": one.text}]
        coded = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        ids = model.generate(**coded, max_new_tokens=64, do_sample=False)
        said.append(tokenizer.decode(ids[0, coded["input_ids"].shape[1] :], skip_special_tokens=True))
    return said


@pytest.mark.slow  # makes the model as the demo does, and trains as the demo does: half a minute in all
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_base_model_puts_off_and_the_tuned_one_answers(tmp_path: Path, train: Train) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "tiny"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sandbox_model.make(folder)
    rows = examples.write(tmp_path / "data").read_text().splitlines()
    work = folders.make(tmp_path / "work", folder, rows, recipe=recipe.load("sandbox").model_dump(mode="json"))
    code, log = train(work)
    assert code == 0, log

    base = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert sum(one.put_off == said for one, said in zip(ASKED, answers(base, tokenizer, ASKED), strict=True)) >= 19
    tuned = PeftModel.from_pretrained(base, Path(work.output, ADAPTER)).eval()
    assert sum(one.answer == said for one, said in zip(ASKED, answers(tuned, tokenizer, ASKED), strict=True)) >= 19
    losses = [loss for _, loss, _ in folders.losses(work)]
    assert losses[0] > 2
    assert losses[-1] < 0.2


def test_examples_are_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    seen = 0
    for form in examples.FORMATS:
        one, two, other = (examples.write(tmp_path / name, seed=seed, rows=5, form=form) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
        assert one.read_bytes() == two.read_bytes() != other.read_bytes()
        assert len([json.loads(line) for line in one.read_text().splitlines()]) == 5
        seen += 1
    assert seen == 8
