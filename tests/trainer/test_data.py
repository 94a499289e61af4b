"""The data folder to tokens: every line accounted for, the same whatever the number of processes, and read only once."""

import gzip
import hashlib
import json
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from llmlab import recipe as recipes
from llmlab.contract import DataFile, Manifest
from llmlab.dataset import Line, to_example
from llmlab.sandbox.examples import FORMATS
from llmlab.sandbox.model import make_tokenizer
from llmlab.sandbox.runbook import questions
from llmlab.trainer.data import load_examples, tokenize_shard, worker_pool
from llmlab.trainer.data.example_encoder import Encoder
from llmlab.trainer.data.load_examples import Data
from llmlab.trainer.data.tokenize_shard import Rules, place_of
from llmlab.trainer.failures import DataFailed

Rows = Sequence[object]
Load = Callable[..., Data]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(make_tokenizer(0))


@pytest.fixture
def load(tmp_path: Path, encoder: Encoder) -> Load:
    """Load rows (objects, or lines as they stand) through the real function."""

    def run(
        rows: Rows | Mapping[str, bytes],
        recipe: Mapping[str, Any] | None = None,
        *,
        skip_bad: bool = False,
        processes: int | None = None,
        cache: str = "cache",
        tick: Callable[[], None] = lambda: None,
        encoder: Encoder = encoder,
        facts: Mapping[str, Any] | None = None,
    ) -> Data:
        files = rows if isinstance(rows, Mapping) else {"train.jsonl": written(rows)}
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        entries = tuple(DataFile(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items())
        manifest = Manifest("demo", entries, "2026-11-23T12:00:00Z", {**({"skip_bad": True} if skip_bad else {}), **(facts or {})})
        asked = recipes.check({"model": "lab:tiny", "max_length": 256, **(recipe or {})})
        return load_examples.load(folder, manifest, encoder, asked, tmp_path / cache, tick, processes)

    return run


def written(rows: Rows) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def chats(count: int, form: str = "messages", seed: int = 5) -> list[Any]:
    asked = questions(seed)
    return [{**FORMATS[form](next(asked)), "id": index} for index in range(count)]


def texts(encoder: Encoder, made: Data) -> list[str]:
    return [encoder.tokenizer.decode(made.train.sequence(at)[0]) for at in range(len(made.train))]


def test_every_format_becomes_the_same_conversation(load: Load, encoder: Encoder) -> None:
    seen = 0
    for form in FORMATS:
        if form in {"text", "preference", "kto"}:
            continue
        made = load(chats(3, form), cache=form)
        assert len(made.train) == 3, form
        assert texts(encoder, made)[0].endswith("<|end|>\n")
        assert 0 < made.facts.trained < made.facts.tokens
        seen += 1
    assert seen == 5


def test_a_label_stays_with_its_answer(load: Load, encoder: Encoder) -> None:
    """Through tokenising, holding out and the files on the disk, and where a label follows a conversation of several answers."""
    rows = [{"prompt": f"q {number}", "completion": f"w {number}", "label": number % 3 == 0} for number in range(12)]
    earlier = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "q 12"}]
    rows.append({"messages": [*earlier, {"role": "assistant", "content": "w 12"}], "kto_tag": True})
    made = load(rows, {"objective": "kto", "batch_size": 2, "evaluation": {"share": 0.3}})
    assert made.held_out is not None
    seen = {}
    for tokens in (made.train, made.held_out):
        for item in range(len(tokens)):
            ids, mask = tokens.sequence(item)
            learned = encoder.tokenizer.decode(ids[mask.astype(bool)])
            number = int(learned.removeprefix("w ").split("<")[0])
            assert learned.startswith(f"w {number}<"), "loss is on the last answer alone"
            seen[number] = bool(tokens.good[item])
    assert seen == {number: number % 3 == 0 for number in range(13)}


def test_a_labelled_answer_without_loss_is_refused(load: Load) -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "w"}, {"role": "user", "content": "r"}]
    row = {"messages": [*said, {"role": "assistant", "content": "x", "weight": 0}], "label": True}
    with pytest.raises(DataFailed, match=r"messages\[3\]: the answer that the label is about is to carry no loss"):
        load([row], {"objective": "kto", "batch_size": 2})


def test_a_store_is_what_the_interface_says(load: Load) -> None:
    made = load([*chats(6), {"text": "restart the server"}], {"evaluation": {"share": 0.3}})
    assert made.held_out is not None
    assert len(made.train) + len(made.held_out) == 7
    for tokens in (made.train, made.held_out):
        kinds = [str(one.dtype) for one in (tokens.ids, tokens.mask, tokens.offsets, tokens.trained)]
        assert kinds == ["uint32", "uint8", "int64", "int64"]
        assert tokens.offsets[0] == 0
        assert tokens.offsets[-1] == len(tokens.ids) == len(tokens.mask) == tokens.lengths().sum()
        for at in range(len(tokens)):
            ids, mask = tokens.sequence(at)
            assert len(ids) == tokens.lengths()[at]
            assert mask.sum() == tokens.trained[at] > 0
            assert not mask[0]
        with pytest.raises(ValueError, match="read-only"):
            tokens.ids[0] = 1
        again = pickle.loads(pickle.dumps(tokens))
        assert np.array_equal(again.ids, tokens.ids)


PARTS = {"splits": {"train": {"files": ["train.jsonl"]}, "valid": {"files": ["valid.jsonl"]}, "test": {"files": ["test.jsonl"]}}}


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])  # starting processes takes seconds
def test_valid_is_held_out_and_test_is_never_read(load: Load, processes: int) -> None:
    files = {"test.jsonl": b"not even rows", "train.jsonl": written(chats(9)), "valid.jsonl": written(chats(4, seed=6))}
    made = load(files, {"evaluation": {"share": 0.5}}, facts=PARTS, processes=processes)
    assert made.held_out is not None
    assert (len(made.train), len(made.held_out)) == (9, 4), "nothing more of the training data is held out"
    assert "data: 4 examples held out for evaluation, which are the files named valid" in list(made.lines(256))


@pytest.mark.parametrize("marked", [False, True])
def test_an_answer_that_was_cut_off_is_learned_without_its_end(load: Load, encoder: Encoder, marked: bool) -> None:
    row = next(iter(chats(1)))
    if marked:
        row["messages"][-1]["cut"] = True
    made = load([row])
    ids, mask = made.train.sequence(0)
    learned = encoder.tokenizer.decode(ids[mask == 1])
    assert learned == row["messages"][-1]["content"] + ("" if marked else "<|end|>")
    assert made.facts.cut == marked


def test_the_cut_answer_of_several_is_the_one_without_an_end(load: Load, encoder: Encoder) -> None:
    turns = [("a", "yes", {}), ("b", "yes", {"cut": True}), ("c", "yes", {})]
    messages = [
        one for asked, said, more in turns for one in ({"role": "user", "content": asked}, {"role": "assistant", "content": said, **more})
    ]
    ids, mask = load([{"messages": messages}]).train.sequence(0)
    assert encoder.tokenizer.decode(ids[mask == 1]) == "yes<|end|>yesyes<|end|>"


def test_rows_of_logs_that_teach_nothing_are_left_out_and_counted(load: Load) -> None:
    failed = {"request": {"messages": [{"role": "user", "content": "a"}]}, "response": {"type": "error", "error": {"message": "no"}}}
    made = load([*chats(2), failed])
    assert (made.facts.examples, made.facts.left_out, made.facts.bad) == (2, 1, 0)
    assert any("1 rows of logs left out" in line for line in made.lines(256))


def test_a_reason_names_the_line_that_the_user_has(load: Load) -> None:
    row = {"messages": [{"role": "user", "content": "a"}], "origin": {"file": "sub/session.jsonl", "line": 17}}
    with pytest.raises(DataFailed, match=r"^sub/session\.jsonl:17: no assistant message"):
        load([*chats(2), row])


def test_a_label_is_refused(load: Load) -> None:
    with pytest.raises(DataFailed, match=r"train\.jsonl:1: an unpaired preference \(label\)"):
        load([{"prompt": "a", "completion": "b", "label": False}])


def test_pairs_are_items_of_two(load: Load, encoder: Encoder) -> None:
    made = load(chats(4, "preference"), {"objective": "dpo"})
    assert (made.train.width, len(made.train), len(made.train.trained)) == (2, 4, 8)
    assert made.train.lengths().sum() == len(made.train.ids)
    chosen, rejected = (encoder.tokenizer.decode(made.train.sequence(at)[0]) for at in (0, 1))
    assert chosen != rejected
    assert chosen.split("<|start|>assistant")[0] == rejected.split("<|start|>assistant")[0]


@pytest.mark.slow  # starts processes, three times
def test_the_result_is_the_same_on_any_number_of_processes(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "PART", 2000)
    monkeypatch.setattr(tokenize_shard, "MOST_LINES", 7)
    plain = written(chats(60))
    files = {"a.jsonl": plain, "b.jsonl.gz": gzip.compress(plain, mtime=0), "c.jsonl.zst": zstandard.compress(written(chats(40, "alpaca")))}
    made = [load(files, {"evaluation": {"share": 0.2}}, processes=count, cache=f"of-{count}") for count in (1, 2, 3)]
    assert made[0].facts.examples == 160
    assert made[0].facts == made[1].facts == made[2].facts
    for side in ("train", "held_out"):
        first, *others = (getattr(one, side) for one in made)
        for other in others:
            assert all(np.array_equal(getattr(first, name), getattr(other, name)) for name in ("ids", "mask", "offsets", "trained"))


@pytest.mark.slow  # as above
def test_a_bad_line_is_named_by_file_and_line_on_any_number_of_processes(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "PART", 2000)
    rows = [*chats(50), "", '{"text": 7}', *chats(20), "{broken"]
    for processes in (1, 2):
        with pytest.raises(DataFailed, match=r"^train.jsonl:52: text is a number, not a string$") as failed:
            load(rows, processes=processes)
        assert failed.value.hint == "llmlab upload data/ --skip-bad"
        made = load(rows, skip_bad=True, processes=processes, cache=f"skip-{processes}")
        assert (made.facts.examples, made.facts.bad) == (70, 2)


def test_the_first_bad_line_is_told_whether_the_template_or_the_reader_finds_it(load: Load) -> None:
    late = {"messages": [{"role": "assistant", "content": "x"}]}
    for rows in ([*chats(2), late, '{"text": 7}'], [*chats(2), '{"text": 7}', late]):
        unmarked = make_tokenizer(0)
        unmarked.chat_template = (
            "{% for m in messages %}{{ m.role + m.content }}{% endfor %}{% if add_generation_prompt %}assistant{% endif %}"
        )
        with pytest.raises(DataFailed, match=r"^train.jsonl:3: "):
            load(rows, encoder=Encoder(unmarked))


def test_tokens_are_made_once(load: Load, tmp_path: Path) -> None:
    rows = chats(20)
    first = load(rows)
    (tmp_path / "data" / "train.jsonl").unlink()  # it is not read again
    manifest_only = {"train.jsonl": written(rows)}
    ticks: list[int] = []
    second = load(manifest_only, tick=lambda: ticks.append(1))
    assert not ticks
    assert second.facts == first.facts
    assert len(list((tmp_path / "cache").iterdir())) == 1
    load(rows, {"max_length": 128})
    load(rows, {"evaluation": {"share": 0.5}})
    load([*rows, *chats(1, seed=9)])
    assert len(list((tmp_path / "cache").iterdir())) == 4
    load(rows, {"learning_rate": 0.1})
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_a_damaged_cache_is_made_again(load: Load, tmp_path: Path) -> None:
    rows = chats(20)
    first = load(rows)
    ids = first.train.ids.copy()
    (place,) = (tmp_path / "cache").iterdir()
    seen = 0
    for file in sorted(one for one in place.rglob("*") if one.is_file()):
        for damage in (b"", file.read_bytes()[:-1], None):
            if file.stat().st_size == 0:
                continue
            file.unlink()
            if damage is not None:
                file.write_bytes(damage)
            assert np.array_equal(load(rows).train.ids, ids), file
            seen += 1
    assert seen > 10


def test_leaving_is_heard_and_leaves_nothing_behind(load: Load, tmp_path: Path) -> None:
    class LeavingError(Exception):
        pass

    def leave() -> None:
        raise LeavingError

    for processes in (1, 2):
        with pytest.raises(LeavingError):
            load(chats(20), tick=leave, processes=processes)
        assert not list((tmp_path / "cache").iterdir())


# ---------------------------------------------------------------- held out


def test_added_data_and_order_move_nothing_between_the_sides(load: Load, encoder: Encoder) -> None:
    rows = chats(120)
    share = {"evaluation": {"share": 0.25}}
    one = load(rows, share)
    other = load([*chats(80, seed=6), *reversed(rows)], share)
    assert one.held_out is not None
    assert other.held_out is not None
    assert 15 <= one.facts.held_out <= 45
    assert set(texts(encoder, one)) <= set(texts(encoder, other))
    assert not set(texts(encoder, one)) & {encoder.tokenizer.decode(other.held_out.sequence(at)[0]) for at in range(len(other.held_out))}


def test_a_larger_share_holds_out_what_a_smaller_one_does() -> None:
    places = [place_of(to_example(row)) for row in chats(500)]
    assert len({*places}) > 300
    for share in (0.1, 0.3, 0.5):
        assert abs(sum(place < share for place in set(places)) / len(set(places)) - share) < 0.06


def test_the_same_content_stands_on_the_same_side_in_any_format() -> None:
    asked = list(islice(questions(3), 20))
    for one in asked:
        assert place_of(to_example(FORMATS["messages"](one))) == place_of(to_example(FORMATS["messages"](one) | {"id": 7}))


def test_an_empty_held_out_part_is_told_and_an_empty_training_part_refused(load: Load) -> None:
    row = next(row for row in chats(50) if place_of(to_example(row)) > 0.5)
    made = load([row], {"evaluation": {"share": 0.3}})
    assert made.held_out is None
    assert "warning: no example is held out: 30% of 1 fell on none, so there is no evaluation loss" in list(made.lines(256))
    held = next(row for row in chats(50) if place_of(to_example(row)) < 0.3)
    with pytest.raises(DataFailed, match="all 3 examples of the dataset demo are held out") as failed:
        load([held] * 3, {"evaluation": {"share": 0.3}})
    assert failed.value.hint == "llmlab launch --set evaluation.share=0"


# ---------------------------------------------------------------- too long


def long_chat(turns: int, system: bool = True) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be brief."}] if system else []
    for at in range(turns):
        messages += [{"role": "user", "content": f"Restart server {at}?"}, {"role": "assistant", "content": f"Restarted server {at}."}]
    return {"messages": messages}


def test_long_examples_are_left_out_and_counted(load: Load) -> None:
    made = load([*chats(3), long_chat(40)])
    assert (made.facts.examples, made.facts.too_long, made.facts.split) == (3, 1, 0)
    assert made.facts.longest > 256
    assert any("1 longer than 256 tokens left out" in line for line in made.lines(256))


def test_long_conversations_are_split_between_turns(load: Load, encoder: Encoder) -> None:
    made = load([long_chat(40)], {"too_long": "split"})
    assert (made.facts.examples, made.facts.split, made.facts.too_long, made.facts.answers_lost) == (1, 1, 0, 0)
    every = texts(encoder, made)
    assert len(every) > 2
    assert made.train.lengths().max() <= 256
    assert all(text.startswith("<|start|>system\nBe brief.<|end|>\n<|start|>user\n") for text in every)
    assert all(text.endswith("<|end|>\n") for text in every)
    assert [sum(f"Restarted server {at}." in text for text in every) for at in range(40)] == [1] * 40


def test_what_fits_not_even_alone_is_left_out_and_counted(load: Load, encoder: Encoder) -> None:
    row = long_chat(3)
    row["messages"][3]["content"] = "Restart it, and " * 200  # the second question
    made = load([row], {"too_long": "split"})
    assert (made.facts.split, made.facts.answers_lost, made.facts.sequences) == (1, 1, 2)
    assert [("server 0." in text, "server 1." in text, "server 2." in text) for text in texts(encoder, made)] == [
        (True, False, False),
        (False, False, True),
    ]
    row["messages"] = row["messages"][:1] + row["messages"][3:5]
    with pytest.raises(DataFailed, match=r"every example is longer than 256 tokens \(the longest has"):
        load([row], {"too_long": "split"})


def test_a_long_way_through_tools_keeps_its_beginning(load: Load, encoder: Encoder) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Look."}]
    for at in range(30):
        messages += [{"role": "assistant", "content": f"step {at}", "tool_calls": [call]}, {"role": "tool", "content": f"seen {at}"}]
    made = load([{"messages": [*messages, {"role": "assistant", "content": "done"}]}], {"too_long": "split"})
    (text,) = texts(encoder, made)
    assert "step 0" in text
    kept = text.count("<call>")
    assert made.facts.answers_lost == 31 - kept


def test_long_texts_become_windows_in_which_each_token_is_predicted_once(load: Load, encoder: Encoder) -> None:
    text = "restart the server, then wait " * 200
    (whole,) = encoder.encode(to_example({"text": text}))
    made = load([{"text": text}], {"too_long": "split"})
    assert made.train.lengths().max() <= 256
    assert made.facts.trained == whole.trained == len(whole.ids) - 1
    predicted = np.concatenate([ids[mask == 1] for ids, mask in map(made.train.sequence, range(len(made.train)))])
    assert np.array_equal(predicted, whole.ids[1:])


def test_a_preference_is_never_split(load: Load) -> None:
    row = {"prompt": "a", "chosen": "yes " * 400, "rejected": "no"}
    made = load([row, *chats(2, "preference")], {"objective": "dpo", "too_long": "split"})
    assert (len(made.train), made.facts.too_long, made.facts.split) == (2, 1, 0)


# ---------------------------------------------------------------- what is wrong with the data


@pytest.mark.parametrize(
    ("rows", "recipe", "reason", "hint"),
    [
        ([], {}, "the dataset has no examples", "llmlab validate data/"),
        (["", "  "], {}, "the dataset has no examples", "llmlab validate data/"),
        ([{"text": ""}], {}, "the dataset has no examples, only 1 empty texts", "llmlab validate data/"),
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], {}, "train.jsonl:1: a preference", "llmlab launch --set objective=dpo"),
        ([{"text": "a"}], {"objective": "dpo"}, "train.jsonl:1: a row of text cannot", "llmlab launch --set objective=sft"),
        ([{"text": "restart " * 999}], {}, r"every example is longer than 256 tokens \(the longest", "llmlab launch --set max_length="),
        ([{"messages": [{"role": "user", "content": "a"}]}], {}, "train.jsonl:1: no assistant message", "llmlab upload data/ --skip-bad"),
        ([{"messages": [{"role": "system", "content": "a"}]}], {}, "train.jsonl:1: no assistant message", "llmlab upload data/ --skip-bad"),
        ([{"messages": [{"role": "king", "content": "a"}]}], {}, "role is 'king', not one of", "llmlab upload data/ --skip-bad"),
        ([{"messages": [{"role": "assistant", "content": 7}]}], {}, "content is a number, not a string", "llmlab upload data/ --skip-bad"),
        (['{"text": "\\ud800"}'], {}, "train.jsonl:1: half a character", "llmlab upload data/ --skip-bad"),
        (['{"text": ' + "[" * 5000 + "]" * 5000 + "}"], {}, "train.jsonl:1: ", "llmlab upload data/ --skip-bad"),
    ],
)
def test_data_that_cannot_be_trained_on_says_why(load: Load, rows: Rows, recipe: dict[str, Any], reason: str, hint: str) -> None:
    with pytest.raises(DataFailed, match=reason) as failed:
        load(rows, recipe)
    assert failed.value.hint.startswith(hint)
    if "--skip-bad" in hint:
        with pytest.raises(DataFailed, match="the dataset has no examples, only 1 bad lines"):
            load(rows, recipe, skip_bad=True)


def test_unusual_data_is_trained_on_as_it_is(load: Load, encoder: Encoder) -> None:
    rows = [
        {
            "messages": [
                {"role": "assistant", "content": "first"},
                {"role": "user", "content": "second"},
                {"role": "assistant", "content": "x"},
            ]
        },
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]},
        {"messages": [{"role": "tool", "content": "no call before it"}, {"role": "assistant", "content": "d"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]},
        {"messages": [{"role": "user", "content": "é漢字🙂\u200b\x00"}, {"role": "assistant", "content": "🙂"}]},
    ]
    made = load(rows)
    assert made.facts.examples == 5
    assert "🙂<|end|>" in texts(encoder, made)[4]
    assert made.train.trained[3] == 1  # the end of an empty answer: nothing is what it says


def test_duplicates_count_each_time(load: Load) -> None:
    made = load(chats(1) * 9)
    assert made.facts.examples == len(made.train) == 9


@pytest.mark.slow  # tokenises millions of characters
def test_an_enormous_line_costs_no_more_than_its_length(load: Load) -> None:
    made = load(
        [
            *chats(2),
            {"text": "restart the server " * 300_000},
            {"messages": [{"role": "user", "content": "x" * 3_000_000}, {"role": "assistant", "content": "y"}]},
        ]
    )
    assert (made.facts.examples, made.facts.too_long) == (2, 2)
    assert made.facts.longest > 1_000_000


def test_what_is_ignored_or_odd_is_told(load: Load) -> None:
    tool = {"type": "function", "function": {"name": "look"}}
    blind = make_tokenizer(0)
    blind.chat_template = (
        "{% for m in messages %}{{ '## ' + m.role + ' ' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '## assistant ' }}{% endif %}"
    )
    answer = {"role": "assistant", "content": "It is up.", "reasoning_content": "a long look at it"}
    rows = [{"messages": [{"role": "user", "content": "say <|pad|>"}, answer], "tools": [tool]}]
    made = load([*chats(1), *rows], encoder=Encoder(blind))
    assert (made.facts.tools_ignored, made.facts.thoughts_ignored, made.facts.control, made.facts.endless) == (1, 1, 1, 2)
    assert made.facts.control_first == "train.jsonl:2"
    warnings = [line for line in made.lines(256) if line.startswith("warning: ")]
    assert len(warnings) == 4


def test_files_that_are_missing_or_not_data_are_named(load: Load, tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(DataFailed, match="the dataset demo has no files"):
        load({"notes.txt": b"x"})
    manifest = Manifest("demo", (DataFile("gone.jsonl", 1, "0"),), "2026-11-23T12:00:00Z", {})
    with pytest.raises(DataFailed, match=r"gone.jsonl of the dataset demo is missing on the machine"):
        load_examples.load(tmp_path, manifest, encoder, recipes.check({"model": "lab:tiny"}), tmp_path / "cache", lambda: None)


@pytest.mark.slow  # starts processes
def test_workers_end_when_they_who_started_them_were_killed(tmp_path: Path) -> None:
    """A process of its own tokenises on two others and is killed while they work."""
    program = """
import os, sys
from llmlab.sandbox.model import make_tokenizer
from llmlab.trainer.data import worker_pool
from llmlab.trainer.data.tokenize_shard import Rules
from llmlab.trainer.data.example_encoder import Encoder
from llmlab.dataset import Line
def lines():
    while True:
        yield 0, [Line(1, {"text": "restart"})]
def tick():
    pass
if __name__ == "__main__":
    for _ in worker_pool.run(lines(), Encoder(make_tokenizer(0)), Rules(256, False, 0.0, False), 2, tick):
        print(*open(f"/proc/self/task/{os.getpid()}/children").read().split(), flush=True)
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        children = [int(one) for one in process.stdout.readline().split()]
        process.kill()
    assert len(children) >= 2
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        select.select([], [], [], 0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_memory_does_not_grow_with_a_block(encoder: Encoder) -> None:
    """What waits for the tokenizer is bounded in lines and characters."""
    making = tokenize_shard._Making(encoder, Rules(256, split=False, share=0.0, skip_bad=False))
    most = 0
    for number, row in enumerate(chats(2000), start=1):
        making.add(Line(number, row))
        most = max(most, len(making.pending))
        if making.is_full:
            making.flush()
    assert most <= tokenize_shard.MOST_LINES
