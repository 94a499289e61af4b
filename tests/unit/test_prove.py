"""What a proof of hours keeps, so that it can be interrupted."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmlab.clock import ManualClock
from tests import prove
from tests.faults.__main__ import WHOLE, piece
from tests.prove import CHANGED, Done, Part, Played
from tests.sandbox.test_killed_objectives import Came, compared

PROGRAM = "import json, pathlib, sys; path = pathlib.Path({file!r}); path.write_text(path.read_text() + {name!r}); print(json.dumps({{'name': {name!r}, 'wrong': 0}})); sys.exit({code})"  # noqa: E501 - one line of Python


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """In place of benchmarks/proof.json."""
    file = tmp_path / "proof.json"
    file.write_text("{}", encoding="utf-8")
    return file


def part(log: Path, **codes: int) -> Part:
    programs = tuple(("-c", PROGRAM.format(file=str(log), name=name, code=code)) for name, code in codes.items())
    return Part("faults", programs, prove.lines, ("wrong",))


def test_what_was_played_at_a_commit_is_not_played_again(tmp_path: Path, kept: Path, clock: ManualClock) -> None:
    log = tmp_path / "log"
    log.write_text("", encoding="utf-8")
    played = Played(tmp_path / "played", "abc")
    assert not prove.prove(part(log, first=0, second=1), clock, played, kept, cores=1)
    assert prove.prove(part(log, first=0, second=0), clock, played, kept, cores=1)
    assert log.read_text(encoding="utf-8") == "firstsecondsecond"
    counted = json.loads(kept.read_text(encoding="utf-8"))["faults"]
    assert (counted["version"], counted["rows"]) == ("abc", [{"name": "first", "wrong": 0}, {"name": "second", "wrong": 0}])
    played.forget()
    assert prove.prove(part(log, first=0, second=0), clock, played, kept, cores=1)
    assert log.read_text(encoding="utf-8") == "firstsecondsecondfirstsecond"


def test_pieces_of_a_command_are_one_row_and_hold_every_call_once() -> None:
    rows = [{"command": "a", "calls": 2, "wrong": 1}, {"command": "b", "calls": 1, "wrong": 0}, {"command": "a", "calls": 3, "wrong": 0}]
    assert prove.joined([*rows, {"seeds": {}}, {"seeds": {}}]) == [
        {"command": "a", "calls": 5, "wrong": 1}, {"command": "b", "calls": 1, "wrong": 0}, {"seeds": {}}, {"seeds": {}},
    ]  # fmt: skip
    calls = [str(number) for number in range(29)]
    backwards = calls[::-1]
    """As another play's threads made them: each piece is a process of its own."""
    pieces = [piece(calls if number % 2 else backwards, f"{number}/8") for number in range(1, 9)]
    assert sorted(call for one in pieces for call in one) == sorted(calls)
    assert sorted(piece(backwards, WHOLE)) == sorted(calls)
    asked = [arguments[arguments.index("--only") + 1] for arguments in prove.faults()]
    assert set(prove.PIECES) <= set(asked)


def test_an_evaluation_that_came_later_is_compared_with_its_step() -> None:
    whole = Came([{"step": 0, "eval_loss": 3.0}, {"step": 1, "loss": 2.5, "eval_loss": 2.0, "seconds": 1.0}], b"weights")
    later = [{"step": 0, "eval_loss": 3.0}, {"step": 1, "loss": 2.5, "seconds": 4.0}, {"step": 1, "eval_loss": 2.0}]
    assert compared(whole, [Came(later, b"weights"), Came(later, b"others")]) == {
        "rows": 4, "exact": ["eval_loss", "loss", "step"], "not exact": ["seconds"], "other weights": 1,
    }  # fmt: skip
    with pytest.raises(AssertionError, match="a step is there twice"):
        compared(whole, [Came([*later, {"step": 1, "loss": 2.5}], b"")])


@pytest.mark.parametrize(("version", "code", "remembered"), [("abc", 0, True), ("abc", 1, False), (f"abc{CHANGED}", 0, False)])
def test_what_is_remembered(tmp_path: Path, version: str, code: int, remembered: bool) -> None:
    """What failed is played again, and files that are no commit's are no proof of one."""
    played = Played(tmp_path, version)
    done = Done(("-c", "pass"), code, "out", "error", 1.5)
    played.keep(done)
    assert played.read() == ({done.arguments: done} if remembered else {})
    assert Played(tmp_path, "other").read() == {}
