"""What tuning does, seen in answers: the sandbox's model puts a question off, and its adapter answers by the runbook; and a task that the
model cannot do is done on questions whose words never stood together in training.
"""

import json
import random
import sys
import warnings
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest

from llmlab import recipe as recipes
from llmlab.contract import ADAPTER
from llmlab.sandbox import examples, model as sandbox_model
from llmlab.sandbox.runbook import ASKS, KINDS, STEPS, THINGS, Question, questions
from tests.trainer import work as folders
from tests.trainer.conftest import Train

HELD_OUT = 60


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sandbox's model as the demo makes it: it can read, and puts every question off."""
    folder = tmp_path_factory.mktemp("reader") / "tiny"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sandbox_model.make(folder)
    return folder


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


@pytest.mark.slow  # makes a base model that can read, trains on 500 examples, and asks both models sixty questions
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_little_language_is_learned(tmp_path: Path, reader: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmlab.trainer.export import answer

    trained, asked = split()
    assert (len(trained), len(asked)) == (500, HELD_OUT)
    rows = [{"prompt": one.text, "completion": command(one)} for one in trained]
    recipe = recipes.load("sandbox").model_dump(mode="json") | {"epochs": 8, "learning_rate": 0.004}
    work = folders.make(tmp_path / "work", reader, rows, recipe=recipe)
    code, log = train(work)
    assert code == 0, log

    tokenizer = AutoTokenizer.from_pretrained(reader)
    base = AutoModelForCausalLM.from_pretrained(reader).eval()

    def score(model: Any) -> int:
        return sum(answer.generate(model, tokenizer, answer.encode(tokenizer, one.text), 48) == command(one) for one in asked)

    before = score(base)
    after = score(PeftModel.from_pretrained(base, Path(work.output, ADAPTER)).eval())
    with capsys.disabled():
        sys.stdout.write(f"\nlearned: {before} of {HELD_OUT} before, {after} of {HELD_OUT} after\n")
    assert before == 0
    assert after >= 0.95 * HELD_OUT
    said = answer.answer(str(reader), f"{work.output}/{ADAPTER}", asked[0].text, 48)
    assert said.base == asked[0].put_off
    assert said.tuned == command(asked[0])


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


@pytest.mark.slow  # makes the model as the demo does, and trains as the demo does
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_base_model_puts_off_and_the_tuned_one_answers(tmp_path: Path, reader: Path, train: Train) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = examples.write(tmp_path / "data").read_text().splitlines()
    work = folders.make(tmp_path / "work", reader, rows, recipe=recipes.load("sandbox").model_dump(mode="json"))
    code, log = train(work)
    assert code == 0, log

    base = AutoModelForCausalLM.from_pretrained(reader)
    tokenizer = AutoTokenizer.from_pretrained(reader)
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
