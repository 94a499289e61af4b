"""The commit of a Hugging Face model, and what is said where nobody tells it."""

import threading
from collections.abc import Callable

import pytest

from llmlab import recipe as recipes
from llmlab.ops.hub import Hub, NoAnswer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RECIPE = recipes.check({"model": "Qwen/Qwen3-8B", "revision": "v1/x"})


def fails(_: str) -> bytes:
    raise NoAnswer("it answers 401")


def test_a_revision_becomes_its_commit_at_the_hub_that_the_environment_names() -> None:
    asked = []

    def answers(address: str) -> bytes:
        asked.append(address)
        return f'{{"sha": "{COMMIT}"}}'.encode()

    pinned, note = Hub({"HF_ENDPOINT": "https://hub.example/"}, answers).pin(RECIPE)
    assert (pinned.revision, note) == (COMMIT, "")
    assert pinned.model_copy(update={"revision": "v1/x"}) == RECIPE
    assert asked == ["https://hub.example/api/models/Qwen/Qwen3-8B/revision/v1%2Fx"]
    assert Hub({}, answers).pin(pinned) == (pinned, "")
    uploaded = recipes.check({"model": "lab:tiny"})
    assert Hub({}, answers).pin(uploaded) == (uploaded, "")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("fetch", "why"),
    [
        (fails, "it answers 401"),
        (lambda _: b"<html>", "its answer cannot be read"),
        (lambda _: b'{"sha": "main"}', "its answer is no commit"),
        (lambda _: b"[]", "its answer cannot be read"),
    ],
)
def test_what_is_no_commit_is_told_and_leaves_the_recipe(fetch: Callable[[str], bytes], why: str) -> None:
    kept, note = Hub({}, fetch).pin(RECIPE)
    assert kept == RECIPE
    assert note == f"the commit of Qwen/Qwen3-8B at v1/x is not known ({why}), so a later attempt may get another one"


def test_a_hub_that_does_not_answer_is_not_waited_for() -> None:
    over = threading.Event()

    def hangs(_: str) -> bytes:
        over.wait()
        return b""

    kept, note = Hub({}, hangs, seconds=0.01).pin(RECIPE)
    over.set()
    assert kept == RECIPE
    assert "it has not answered within 0.01 s" in note
