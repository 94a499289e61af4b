"""What a run may be called: never something that a command would read as something else."""

import re

import pytest
from hypothesis import given, strategies as st

from llmlab import contract
from llmlab.contract import RUN_ID
from llmlab.contract.run_names import is_part_of_an_id

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", fullmatch=True)


@pytest.mark.parametrize("name", ["faq-v2", "faq_v2", "FAQ", "a.b", "qwen3-1.7b", "abcde", "run-wmru", "x" * 40])
def test_a_name_is_letters_digits_dots_dashes_and_underscores(name: str) -> None:
    assert not contract.name_fault(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"), ("latest", "newest run"), ("Latest", "newest run"), ("x" * 41, "has 41 characters"), ("a/b", "holds more"),
        ("a@b", "holds more"), ("a\x1b[31m", "holds more"), ("abcdef\n", "holds more"), ("größe", "holds more"), ("-faq-v2", "begins with"),
        ("..", "begins with"), ("a b", "holds more"), ("20261129-161107-wmru", "run id"), ("161107-wmru", "run id"), ("wmru", "run id"),
        ("faq", "run id"), ("2026", "run id"), ("1", "run id"), ("7-ab", "run id"),
    ],
)  # fmt: skip
def test_what_reads_as_something_else_is_no_name(name: str, why: str) -> None:
    assert why in contract.name_fault(name)


@given(run=st.from_regex(RUN_ID, fullmatch=True).filter(str.isascii), start=st.integers(0, 19), length=st.integers(1, 20))
def test_no_part_of_a_run_id_is_a_name(run: str, start: int, length: int) -> None:
    assert is_part_of_an_id(run[start : start + length])


@given(
    name=NAMES.filter(lambda name: not contract.name_fault(name)),
    run=st.from_regex(RUN_ID, fullmatch=True),
    number=st.integers(1, 10**9 - 1),
)
def test_keys_of_names_are_read_back(name: str, run: str, number: int) -> None:
    assert name not in run
    assert contract.parse_name_claim(contract.name_claim(name, number)) == (name, number)
    assert contract.parse_named(contract.named(run, name)) == (run, name)
    assert re.match(r"names/|named/", contract.name_claims(name))


@pytest.mark.parametrize("key", ["names/a/x.json", "names/a.json", "names/a/b/1.json", "named/a/1.json", "names/a/1.json\n"])
def test_another_key_is_no_claim(key: str) -> None:
    assert contract.parse_name_claim(key) == ("", 0)
