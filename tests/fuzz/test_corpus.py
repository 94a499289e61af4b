"""The corpus holds: every meaningful input, and every one that once broke a law."""

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tests.fuzz.targets import TARGETS, UNLED

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CORPUS).as_posix())
def test_every_input_keeps_its_laws(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", sorted(UNLED))
@given(data=st.data())
@settings(max_examples=30)
def test_what_coverage_cannot_lead_is_bent_at_random(target: str, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([path for path in FILES if path.parent.name == target])).read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    put = data.draw(st.binary(max_size=8))
    TARGETS[target](whole[:at] + put + whole[at + data.draw(st.integers(0, 8)) :])


def test_every_target_has_inputs() -> None:
    assert {path.parent.name for path in FILES} == set(TARGETS)
    assert len(FILES) > 120
