"""The script for the day a GPU is there: what a part found out is kept whatever becomes of it, and all that a CPU can play is played."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.training.gpu import running
from benchmarks.training.gpu.__main__ import main
from benchmarks.training.gpu.plan import PARTS
from benchmarks.training.gpu.running import Job, Part, Skipped, Tell

HERE = Path(__file__).parent.parent.parent
NOT_ON_A_CPU = {"compiled"}


def done(_job: Job, tell: Tell) -> None:
    tell.check("it", True, "is so")


def raises(_job: Job, tell: Tell) -> None:
    tell.check("it", False, "is not so")
    raise ValueError("an odd number")


def hangs(_job: Job, tell: Tell) -> None:
    """With a child, which must not be left behind."""
    child = subprocess.Popen(["tail", "-f", "/dev/null"])
    tell.figure("child", pid=child.pid)
    select.select([], [], [])


def dies(_job: Job, tell: Tell) -> None:
    tell.figure("last", words=1)
    os.kill(os.getpid(), 9)


def leaves_out(_job: Job, _tell: Tell) -> None:
    raise Skipped("it is not installed")


def played(tmp_path: Path, *parts: Part, seconds: float = 600) -> list[dict[str, object]]:
    report = tmp_path / "report.jsonl"
    running.play(parts, Job("cpu", tmp_path, tmp_path), report, seconds, lambda _line: None)
    return [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]


def part(run: Callable[[Job, Tell], None], share: float = 1, cpu: str = "") -> Part:
    return Part(run.__name__, share, run, cpu)


def test_what_a_part_found_out_is_kept_however_it_ends_and_the_next_ones_go_on(tmp_path: Path) -> None:
    rows = played(tmp_path, part(raises), part(dies), part(leaves_out), part(done))
    assert [(row["part"], row["end"]) for row in rows if "end" in row] == [
        ("raises", "failed"),
        ("dies", "failed"),
        ("leaves_out", "skipped"),
        ("done", "done"),
    ]
    assert {"part": "dies", "figure": "last", "words": 1} in rows
    assert running.wrong(rows) == [
        "raises: it: is not so",
        "raises: failed: ValueError: an odd number",
        "dies: failed: SIGKILL: without a word",
    ]


def test_a_part_that_takes_longer_than_its_share_is_ended_with_what_it_started(tmp_path: Path) -> None:
    rows = played(tmp_path, part(hangs), part(done, share=299))
    assert [(row["part"], row["end"]) for row in rows if "end" in row] == [("hangs", "killed"), ("done", "done")]
    child = next(int(str(row["pid"])) for row in rows if row.get("figure") == "child")
    try:
        watched = os.pidfd_open(child)
    except ProcessLookupError:
        return
    over, _, _ = select.select([watched], [], [], 60)  # a kill takes effect in its own time
    os.close(watched)
    assert over


def test_what_a_cpu_cannot_do_is_skipped_by_name_with_the_reason(tmp_path: Path) -> None:
    assert played(tmp_path, part(done, cpu="it has no such thing")) == [
        {"part": "done", "end": "skipped", "seconds": 0.0, "why": "it has no such thing"}
    ]


def test_the_newest_run_of_a_report_is_read_and_a_line_that_was_cut_is_not(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    report.write_text('{"part": "plan", "began": "1"}\n{"part": "a", "end": "done"}\n{"part": "plan", "began": "2"}\n{"part": "b", "e')
    assert running.read(report) == [{"part": "plan", "began": "2"}]


def test_the_dry_run_shows_every_part_and_seconds_that_make_the_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry-run", "--minutes", "10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| ")][1:]
    assert [row[1] for row in cells] == [one.name for one in PARTS]
    assert sum(int(row[2]) for row in cells) == 600
    assert "at most 600 s in all; what a part leaves over goes to those after it" in lines
    assert {one.name for one in PARTS if one.cpu} == NOT_ON_A_CPU


@pytest.mark.slow  # a dozen trainings
def test_every_part_that_a_cpu_can_do_holds_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.training.gpu", "--cpu", "--minutes", "60", "--report", str(tmp_path / "report.jsonl")]
    ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, timeout=1800)
    rows = running.read(tmp_path / "report.jsonl")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    ends = {str(row["part"]): (row["end"], row.get("why", "")) for row in rows if "end" in row}
    assert set(ends) == {one.name for one in PARTS}
    assert {name for name, (end, _) in ends.items() if end != "done"} <= NOT_ON_A_CPU | {"qlora"}, ends
    assert sum("passed" in row for row in rows) >= 40


def test_the_plain_kernel_of_attention_is_seen_where_it_runs(tmp_path: Path) -> None:
    """Else no check of the plan that it does not run could fail."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from benchmarks.training.gpu.parts import attention

    job = Job("cpu", tmp_path, tmp_path)
    assert not any(attention.PLAIN in name for name in attention.operators(job, 4, 2, 16, packed=False, dtype="bfloat16"))
    with sdpa_kernel(SDPBackend.MATH):
        assert any(attention.PLAIN in name for name in attention.operators(job, 4, 2, 16, packed=False, dtype="bfloat16"))
