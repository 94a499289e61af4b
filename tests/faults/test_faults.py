"""A sample of the fault table, the planted bugs, and commands side by side.

They are played in one process without threads, which can be forked, and which imports moto once for all of them (`sample`).
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.planted import PLANTS
from tests.faults.sample import LOST, SIDE_BY_SIDE
from tests.faults.ways import Way

LIMIT_SECONDS = 1800
pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT_SECONDS)]  # two minutes: some forty plays, each on an account of its own
ROOT = Path(__file__).parents[2]

Rows = Mapping[str, Mapping[str, Any]]
"""The plays of one part, by name."""


@pytest.fixture(scope="session")
def played() -> Mapping[str, Rows]:
    command = [sys.executable, "-m", "tests.faults.sample"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = {}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        found.setdefault(row["part"], {})[row["name"]] = row
    return found


def all_went_well(rows: Rows) -> bool:
    wrong = [words for row in rows.values() for words in row["said"]]
    assert not wrong, "\n".join(wrong)
    return True


def test_a_sample_of_every_command_converges(played: Mapping[str, Rows]) -> None:
    rows = played["table"]
    assert all_went_well(rows)
    assert len(rows) == 18
    assert [name for name, row in rows.items() if not row["cases"] + row["not reached"]] == []
    assert sum(row["cases"] for row in rows.values()) > 25


@pytest.mark.parametrize(("command", "call"), LOST)
def test_a_lost_answer_is_healed(played: Mapping[str, Rows], command: str, call: str) -> None:
    """Whatever of that command went wrong fails the sample above, too."""
    row = played["table"][command]
    healed = [case for case in row["played"] if case.startswith(call) and case.endswith(f", {Way.LOST_ONCE}")]
    assert healed
    assert not [words for words in row["said"] if any(case in words for case in healed)]


@pytest.mark.parametrize("name", PLANTS)
def test_planted_bugs_are_caught(played: Mapping[str, Rows], name: str) -> None:
    row = played["planted"][name]
    assert row["wrong"] > 0
    assert any(PLANTS[name].said in words for words in row["said"]), row["said"]


def test_a_sample_of_events_delivered_wrongly_ends_as_delivered_once(played: Mapping[str, Rows]) -> None:
    rows = played["deliveries"]
    assert all_went_well(rows)
    assert len(rows) == 10
    assert sum(row["plays"] for row in rows.values()) > 10


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_commands_side_by_side(played: Mapping[str, Rows], name: str) -> None:
    row = played["side by side"][name]
    assert all_went_well({name: row})
    assert row["plays"] == 1


def test_every_part_was_played_and_every_play_is_looked_at(played: Mapping[str, Rows]) -> None:
    assert set(played) == {"table", "planted", "deliveries", "side by side"}
    assert set(played["side by side"]) == set(SIDE_BY_SIDE)
    assert set(played["planted"]) == set(PLANTS)
