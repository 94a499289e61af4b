"""What a manifest and a recipe say before a machine is paid for: refused where no training could begin, said where less is learned."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llmlab import recipe as recipes
from llmlab.contract import Manifest
from llmlab.dataset.lengths import fitting, steps
from llmlab.errors import DataError
from llmlab.ops.suited import check


def manifest(**facts: Any) -> Manifest:
    return Manifest("sums", (), "2026-11-23T12:00:00Z", facts)


def recipe(**fields: Any) -> recipes.Recipe:
    return recipes.check({"model": "lab:tiny", **fields})


@pytest.mark.parametrize(
    ("kinds", "objective", "reason", "hint"),
    [
        ({"preference": 40}, "sft", "all 40 examples of sums are preferences", "llmlab launch --data sums --set objective=dpo"),
        ({"chat": 40}, "dpo", "none of the 40 examples of sums is a preference", "llmlab launch --data sums --set objective=sft"),
        ({"text": 3}, "dpo", "none of the 3 examples", "llmlab launch --data sums --set objective=sft"),
        ({"chat": 3, "text": 1}, "dpo", "none of the 4 examples", "llmlab launch --data sums --set objective=sft"),
        (
            {"chat": 1, "preference": 1},
            "sft",
            "1 of the 2 examples of sums are preferences",
            "llmlab upload data/ --name sums",
        ),
        (
            {"chat": 1, "preference": 1},
            "dpo",
            "no objective learns from together",
            "llmlab upload data/ --name sums",
        ),
        ({"kto": 2, "chat": 1}, "sft", "2 of the 3 examples of sums have a label and the others chat", "llmlab upload data/ --name sums"),
        ({"kto": 2, "chat": 1}, "kto", "2 of the 3 examples of sums have a label and the others chat", "llmlab upload data/ --name sums"),
        ({"kto": 2}, "dpo", "all 2 examples of sums have a label", "llmlab launch --data sums --set objective=kto --set batch_size=2"),
        ({"kto": 2}, "sft", "all 2 examples of sums have a label", "llmlab launch --data sums --set objective=kto --set batch_size=2"),
        ({"chat": 2}, "kto", "none of the 2 examples of sums has a label", "llmlab launch --data sums --set objective=sft"),
        ({"preference": 2}, "kto", "all 2 examples of sums are preferences", "llmlab launch --data sums --set objective=dpo"),
    ],
)
def test_what_the_objective_does_not_learn_from_is_refused_with_what_does(
    kinds: dict[str, int], objective: str, reason: str, hint: str
) -> None:
    with pytest.raises(DataError, match=reason) as raised:
        check(recipe(objective=objective, batch_size=2 if objective == "kto" else 1), manifest(kinds=kinds))
    assert raised.value.hint == hint


@pytest.mark.parametrize("facts", [{}, {"kinds": {}}, {"kinds": 3}, {"kinds": {"chat": "many"}, "lengths": [1], "splits": "all"}])
def test_a_manifest_that_says_less_passes(facts: dict[str, Any]) -> None:
    for objective in ("sft", "dpo"):
        assert check(recipe(objective=objective), manifest(**facts)) == ()


def test_labels_that_all_say_the_same_are_refused() -> None:
    learns = recipe(objective="kto", batch_size=2)
    with pytest.raises(DataError, match="every label of sums says that the answer is bad"):
        check(learns, manifest(kinds={"kto": 3}, labels={"bad": 3}))
    assert check(learns, manifest(kinds={"kto": 3}, labels={"bad": 2, "good": 1})) == ()
    assert check(learns, manifest(kinds={"kto": 3})) == (), "an upload that does not say"


def test_what_learns_passes_without_a_word() -> None:
    assert check(recipe(), manifest(kinds={"chat": 3, "text": 2}, lengths={"8": 5})) == ()
    assert check(recipe(objective="dpo"), manifest(kinds={"preference": 3}, lengths={"8": 3})) == ()


def test_what_does_not_fit_is_counted() -> None:
    data = manifest(kinds={"chat": 400}, lengths={"100": 300, "512": 72, "544": 20, "4096": 8}, longest_tokens=4000)
    words = "372 of 400 examples fit into max_length 512; 28 would be {}, by an estimate of 4 bytes a token"
    assert check(recipe(max_length=512), data) == (words.format("left out"),)
    assert check(recipe(max_length=512, too_long="split"), data) == (words.format("split"),)
    assert check(recipe(max_length=4096), data) == ()
    counted = manifest(**{**data.facts, "tokenizer": "model/"})
    assert check(recipe(max_length=512), counted) == ("372 of 400 examples fit into max_length 512; 28 would be left out",)


def test_nothing_that_fits_is_refused_where_it_was_measured_and_said_where_it_was_estimated() -> None:
    data = manifest(lengths={"100": 2, "120": 1}, longest_tokens=120)
    assert check(recipe(max_length=64), data)[0].startswith("0 of 3 examples fit into max_length 64; 3 would be left out, by an estimate")
    measured = manifest(**{**data.facts, "tokenizer": "model/"})
    with pytest.raises(DataError, match=r"every example of sums is longer than max_length 64 \(the longest has 120 tokens\)") as raised:
        check(recipe(max_length=64), measured)
    assert raised.value.hint == "llmlab launch --data sums --set max_length=150"
    assert "3 would be split" in check(recipe(max_length=64, too_long="split"), measured)[0]


def test_parts_are_said_and_none_to_train_on_is_refused() -> None:
    def part(**examples: int) -> Manifest:
        return manifest(splits={name: {"files": [f"{name}.jsonl"], "examples": count} for name, count in examples.items()})

    (words,) = check(recipe(), part(train=8, valid=2, test=3))
    assert words == "2 examples of files named valid are held out and 3 of files named test are not trained on"
    assert check(recipe(), part(train=8, test=3)) == ("3 of files named test are not trained on",)
    with pytest.raises(DataError, match="all examples of sums stand in files of the part valid and test"):
        check(recipe(), part(valid=2, test=3))


@given(st.lists(st.integers(0, 2_000_000), max_size=40), st.integers(0, 40))
def test_lengths_in_steps_lose_nobody_and_are_exact_at_powers_of_two(lengths: list[int], power: int) -> None:
    counted = steps(Counter(lengths))
    assert sum(counted.values()) == len(lengths)
    assert fitting(counted, 1 << power) == sum(length <= 1 << power for length in lengths)
    for most in (3, 255, 300, 5000):
        assert fitting(counted, most) <= sum(length <= most for length in lengths) <= fitting(counted, most + most // 8 + 1)


def test_lengths_of_any_dataset_are_few() -> None:
    assert len(steps(dict.fromkeys(range(0, 1_000_000, 97), 1) | dict.fromkeys(range(9000), 1))) < 257 + 16 * 13


@pytest.mark.parametrize(("fields", "steps"), [({"max_steps": 20}, 20), ({"epochs": 2, "accumulate": 8}, 26)])
def test_a_warm_up_longer_than_the_training_is_said(fields: dict[str, Any], steps: int) -> None:
    data = manifest(examples=100)
    words = f"the learning rate never reaches its peak: warmup_steps is {steps}, and the training has about {steps} steps"
    assert words in check(recipe(warmup_steps=steps, **fields), data)
    assert check(recipe(warmup_steps=steps - 1, **fields), data) == ()
