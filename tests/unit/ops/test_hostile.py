"""Names and words that others chose: keys of a bucket, a model's answers."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llmlab.contract import COMPLETE, LogStream, Manifest, RunKeys, Spec
from llmlab.ops import report
from llmlab.ops.places import places

RUN = "20260101-000000-abcd"
AT = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "name", ["../../.ssh/authorized_keys", "output//etc/passwd", "logs/../../x", "output/a\\..\\b", "output/./x", "a\0b"]
)
def test_a_key_that_leads_out_has_no_place(name: str) -> None:
    keys = RunKeys(RUN)
    assert places(keys, [keys.prefix + name]) == {}


@given(st.lists(st.text(alphabet="aAäÄ/.\\~\x1b \u0308", min_size=1, max_size=8) | st.sampled_from(["SUCCESS", "logs/1/a", "x" * 300])))
def test_every_key_has_a_place_of_its_own_inside(names: list[str]) -> None:
    """However keys look: no two have one file, none is a file and a folder, none leads out or is too long."""
    keys = RunKeys(RUN)
    every = [prefix + name for prefix in (keys.output, keys.prefix) for name in names]
    found = places(keys, every)
    paths = list(found.values())
    folded = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    assert len(set(folded)) == len(paths) == len(found)
    folders = {"/".join(path.split("/")[:count]) for path in folded for count in range(1, path.count("/") + 1)}
    assert not folders & set(folded)
    for path in paths:
        assert all(part not in {"", ".", ".."} and len(part.encode()) <= 255 for part in path.split("/"))
    assert places(keys, reversed(every)) == found


def test_what_the_training_calls_like_the_runs_own_lies_beside_it() -> None:
    keys = RunKeys(RUN)
    own = [keys.success, keys.failure, keys.spec, keys.log(LogStream.AGENT, 1), keys.checkpoint(1) + COMPLETE]
    found = places(keys, [*own, *(keys.output + key.removeprefix(keys.prefix) for key in own)])
    assert [found[key] for key in own] == [key.removeprefix(keys.prefix) for key in own]
    assert all(path.startswith("output/") for key, path in found.items() if key.startswith(keys.output))


@given(st.text(alphabet="<>&\"'/script=onerror ", min_size=1))
def test_what_a_model_says_is_no_markup_of_the_report(text: str) -> None:
    page = report.html(facts(f"<img src=x onerror=alert(1)>{text}"))
    assert "<img" not in page
    assert "&lt;img" in page
    assert "<script" not in page


def facts(words: str) -> report.RunReport:
    """A report whose every free text is these words."""
    manifest = Manifest(words, (), AT, {"note": words})
    recipe = {"model": words, "method": words, "lora": {"targets": words}}
    spec = Spec(RUN, words, words, words, recipe, manifest, words, words, words, (), spot=True, max_hours=1.0, created=AT)
    cost: Any = type("Cost", (), {"hours": 1.0, "cost": 1.0, "instance_types": (words,), "attempts": 1})
    sample = {"prompt": words, "base": words, "tuned": words}
    return report.RunReport(
        RUN, words, words, words, spec, None, cost, None, None, first_reward=None, last_reward=None, first_margin=None, last_margin=None,
        steps=0, charts=(), samples=(sample,),
    )  # fmt: skip
