"""A trainer that works shows it in every phase; one that hangs shows nothing."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmlab.clock import ManualClock
from llmlab.contract import WorkFolder
from llmlab.trainer.control import MOVED_SECONDS, Control
from llmlab.trainer.io_activity import COUNTS, WORTH_BYTES, Moving
from tests.trainer import work as folders
from tests.trainer.conftest import Train


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 25, 12, 0, tzinfo=UTC))


@pytest.fixture
def control(tmp_path: Path, clock: ManualClock) -> Control:
    made = Control(WorkFolder(str(tmp_path)), clock)
    made.phase("loading")
    return made


def moves(control: Control) -> int:
    return folders.progress(control.work).moves


def test_what_moved_is_told_now_and_then(control: Control, clock: ManualClock) -> None:
    for _ in range(100):
        clock.sleep(MOVED_SECONDS / 10)
        control.report_activity()
    assert moves(control) == 10
    control.phase("training")
    assert moves(control) == 10


@pytest.mark.parametrize(("phase", "size", "tells"), [
    ("loading", WORTH_BYTES, True),
    ("tokenizing", WORTH_BYTES, True),
    ("saving", WORTH_BYTES, True),
    ("loading", WORTH_BYTES - 1, False),
    ("training", WORTH_BYTES, False),
    ("evaluating", WORTH_BYTES, False),
])  # fmt: skip
def test_bytes_speak_where_no_step_does(control: Control, clock: ManualClock, tmp_path: Path, phase: str, size: int, tells: bool) -> None:
    counts = tmp_path / "io"
    counts.write_text("rchar: 100\nwchar: 5\nread_bytes: 7\nwrite_bytes: 0\ncancelled_write_bytes: 9\n")
    moving = Moving(control, counts)
    control.phase(phase)
    counts.write_text(f"rchar: 100\nwchar: 5\nread_bytes: {7 + size}\nwrite_bytes: 0\ncancelled_write_bytes: 9\n")
    clock.sleep(MOVED_SECONDS)
    moving.look()
    moving.look()
    assert moves(control) == (1 if tells else 0)


@pytest.mark.skipif(not COUNTS.exists(), reason="the kernel counts a process's reads on Linux alone")
def test_the_kernel_counts_what_a_process_reads(control: Control, clock: ManualClock, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"0" * WORTH_BYTES)
    moving = Moving(control)
    clock.sleep(MOVED_SECONDS)
    file.read_bytes()
    moving.look()
    assert moves(control) == 1


def test_an_evaluation_moves_with_its_batches(model: Path, train: Train, tmp_path: Path) -> None:
    class Slow(ManualClock):
        """Ten seconds pass whenever somebody looks."""

        def now(self) -> datetime:
            self.sleep(MOVED_SECONDS)
            return super().now()

    work = folders.make(tmp_path, model, recipe={"evaluation": {"share": 0.5}, "save_minutes": 1000})
    code, log = train(work, Slow(datetime(2026, 11, 25, 12, 0, tzinfo=UTC)))
    assert code == 0, log
    assert "held out" in log
    assert folders.progress(work).moves >= 2
