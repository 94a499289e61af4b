"""A task that the base model cannot do is learned by an adapter, and done on questions whose words never stood together in training."""

import random
import sys
import warnings
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest

from llmlab import recipe as recipes
from llmlab.contract import ADAPTER
from llmlab.sandbox import model as sandbox_model
from llmlab.sandbox.runbook import ASKS, KINDS, STEPS, THINGS, Question, questions
from tests.trainer import work as folders
from tests.trainer.conftest import Train

HELD_OUT = 60


def command(one: Question) -> str:
    """The question in a little language: its words in another order, one of them twice, and a word that depends on the task."""
    return f"{one.task}({one.thing}, {one.kind}); {STEPS[one.task][2]}: check({one.thing})."


def split() -> tuple[list[Question], list[Question]]:
    """Questions to train on and to hold out. No kind and thing of the latter stand together in the former."""
    draw = random.Random(7)
    pairs = list(product(KINDS, THINGS))
    held = set(draw.sample(pairs, 40))
    train = [one for one in islice(questions(8), 800) if (one.kind, one.thing) not in held][:500]
    asked = [Question(draw.choice(sorted(STEPS)), *draw.choice(sorted(held)), draw.choice(ASKS)) for _ in range(HELD_OUT)]
    return train, asked


@pytest.mark.slow  # makes a base model that can read, trains on 500 examples, and asks both models sixty questions: under a minute
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_little_language_is_learned(tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmlab.trainer.results import answer

    folder = tmp_path / "tiny"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sandbox_model.make(folder)
    trained, asked = split()
    assert (len(trained), len(asked)) == (500, HELD_OUT)
    rows = [{"prompt": one.text, "completion": command(one)} for one in trained]
    recipe = recipes.load("sandbox").model_dump(mode="json") | {"epochs": 8, "learning_rate": 0.004}
    work = folders.make(tmp_path / "work", folder, rows, recipe=recipe)
    code, log = train(work)
    assert code == 0, log

    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoModelForCausalLM.from_pretrained(folder).eval()

    def score(model: Any) -> int:
        return sum(answer.generate(model, tokenizer, answer.encode(tokenizer, one.text), 48) == command(one) for one in asked)

    before = score(base)
    after = score(PeftModel.from_pretrained(base, Path(work.output, ADAPTER)).eval())
    with capsys.disabled():
        sys.stdout.write(f"\nlearned: {before} of {HELD_OUT} before, {after} of {HELD_OUT} after\n")
    assert before == 0
    assert after >= 0.95 * HELD_OUT
    said = answer.answer(str(folder), f"{work.output}/{ADAPTER}", asked[0].text, 48)
    assert said.base == asked[0].put_off
    assert said.tuned == command(asked[0])
