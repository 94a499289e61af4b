"""RESULTS.md says what proof.json counts, and each program of `make prove` is one whose words are understood."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import proofs
from tests import prove
from tests.prove import Done


def test_the_page_agrees_with_the_file() -> None:
    text = proofs.PAGE.read_text(encoding="utf-8")
    assert proofs.page(text, json.loads(proofs.FILE.read_text(encoding="utf-8"))) == text, "python -m benchmarks.proofs"


def test_every_part_has_its_place_on_the_page() -> None:
    assert set(prove.names()) == set(proofs.TITLES)


FAULTS = '{"command": "launch", "calls": 35, "cases": 245, "alike": 237, "wrong": 0, "played": [], "said": []}\n'
FUZZED = "#3\tINITED cov: 20 ft: 25 corp: 3/9b\n#90\tDONE   cov: 21 ft: 26 corp: 4/12b\nstat::number_of_executed_units: 90\n"
PLANTED = "a.py: a bug: caught by test_a\n20 bugs planted: 19 caught, 1 missed, 0 no longer applies\n"
KILLED = '{"objective": "kto", "kills": 10, "exact": ["loss"]}\n'
SCHEDULES = '{\n "schedules": 2,\n "violations": [\n  {"seed": 1}\n ]\n}\n'


@pytest.mark.parametrize(
    ("part", "out", "err", "rows"),
    [
        ("faults", FAULTS * 2, "", [{"command": "launch", "calls": 35, "cases": 245, "alike": 237, "wrong": 0}] * 2),
        ("fuzzers", "", FUZZED, [{"target": "keys", "inputs": 90, "edges": 21, "features": 26, "broken": 0}]),
        ("planted", PLANTED, "", [{"bugs": 20, "caught": 19, "missed": 1, "no longer applies": 0}]),
        ("schedules", SCHEDULES, "", [{"schedules": 2, "violations": 1}]),
        ("schedules", "", "it broke", []),
        ("runs", "..\n1 failed, 2 passed, 30 deselected in 93.12s\n", "", [{"tests": 3, "not passed": 1}]),
        ("runs", "..\n============ 2 passed, 1 skipped in 270.01s (0:04:30) ====\n", "", [{"tests": 3, "not passed": 1}]),
        ("runs", "", "it broke", []),
        ("objectives", f"\n{KILLED}.   [100%]\n1 passed in 93.12s\n", "", [{"objective": "kto", "kills": 10, "exact": ["loss"]}]),
    ],
)
def test_what_a_program_says_is_counted(part: str, out: str, err: str, rows: list[dict[str, Any]]) -> None:
    (read,) = (one.read for one in prove.PARTS if one.name == part)
    assert read(Done(("-m", "x", "keys"), 0, out, err)) == rows


def test_counts_take_the_place_of_those_before(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    file.write_text('{"faults": {"rows": [1]}, "schedules": {"rows": [2]}}')
    prove.keep("faults", {"rows": [3]}, file)
    assert json.loads(file.read_text()) == {"faults": {"rows": [3]}, "schedules": {"rows": [2]}}
