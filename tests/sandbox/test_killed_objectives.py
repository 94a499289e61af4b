"""Each objective of TRL's trainers, its machines taken back at random moments, with and without notice: it ends like a run that nobody
disturbed. Machines really boot, agents upload and the watchdog starts again.

What was exact and what was not is counted over every row and column of the metrics, and told as a JSON line, which `make prove` keeps.
"""

import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmlab.contract import AttemptEnd, EndReason, RunKeys
from llmlab.sandbox.examples import write
from tests.sandbox.whole_runs import Lab

pytestmark = [pytest.mark.slow, pytest.mark.hours, pytest.mark.timeout(5400)]  # a dozen machines for each objective, one after another
KILLS = 10
MOST_OF_A_RUN = 5
"""Kills of one run, so that its attempts last."""
NOTICES = (0, 0, 40)
"""Seconds between the notice and the end, drawn; 0 is a machine that is gone at once."""
SPEED = {"tokens_per_second", "mfu", "memory_gib", "seconds", "seconds_by_phase"}
"""What metrics say of the machine and not of the training."""
VOWELS = "def reward(completions, **others):\n    return [float(sum(map(one.count, 'aeiou'))) for one in completions]\n"


class Case(NamedTuple):
    """An objective: the form of its data and its settings, one word of `--set` each."""

    form: str
    settings: tuple[str, ...]


CASES = {
    "sft": Case("messages", ("engine=trl", "epochs=6")),
    "dpo": Case("preference", ("engine=trl", "objective=dpo", "epochs=6")),
    "kto": Case("kto", ("objective=kto", "epochs=6")),
    "grpo": Case(
        "prompt-completion",
        (
            "objective=grpo", "epochs=1", "grpo.num_generations=4", "grpo.max_completion_length=8", "grpo.beta=0.1",
            "grpo.rewards=[similarity, {file: reward.py, weight: 0.1}]",
        ),
    ),
}  # fmt: skip
SETTINGS = ("batch_size=4", "accumulate=2", "save_steps=3", "lora.dropout=0.1", "evaluation.share=0.2", "evaluation.steps=5")


class Came(NamedTuple):
    """What came out of a run."""

    rows: list[dict[str, Any]]
    adapter: bytes


def launch(lab: Lab, case: str) -> str:
    """A new run of an objective, on data of its form."""
    settings = [word for setting in (*SETTINGS, *CASES[case].settings) for word in ("--set", setting)]
    lab.run("launch", "--yes", "--data", case, "--recipe", "sandbox", *settings, "--spot", "--max-hours", "1")
    return max(lab.bucket.runs())


@pytest.mark.parametrize("case", CASES)
def test_killed_at_ten_random_moments(lab: Lab, tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / case, rows=60, form=CASES[case].form)
    Path("reward.py").write_text(VOWELS)
    wanted = ("--objective", case) if case == "kto" else ()
    lab.run("upload", tmp_path / case, "--name", case, *wanted)
    whole = launch(lab, case)
    assert lab.marker(whole).reason is EndReason.COMPLETED
    last, draw = lab.marker(whole).step, random.Random(case)
    expected, came, notices = outcome(lab, whole), list[Came](), list[int]()
    told = lab.run("status", whole, "--json").json["run"]
    for name in ("reward", "margin"):
        assert told[name] == next((row[name] for row in reversed(expected.rows) if name in row), None)
    while len(notices) < KILLS:
        run, drawn = disturbed(lab, case, last, draw)
        notices += drawn
        done = lab.marker(run)
        assert (done.reason, done.attempts, done.step) == (EndReason.COMPLETED, len(drawn) + 1, last)
        came.append(outcome(lab, run))
    counted = compared(expected, came)
    told = {"objective": case, "steps": last, "kills": len(notices), "without notice": notices.count(0), **counted}
    with capfd.disabled():
        sys.stdout.write("\n" + json.dumps(told) + "\n")
    assert len(expected.rows) > last, "evaluations beside the steps"
    assert set(counted["not exact"]) <= SPEED
    assert counted["other weights"] == 0
    assert {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "eval_loss"} <= set(counted["exact"])


def outcome(lab: Lab, run: str) -> Came:
    return Came(lab.metrics(run), lab.adapter(run))


def compared(expected: Came, came: Iterable[Came]) -> dict[str, Any]:
    """Steps compared, the columns in which all of them are alike to the last bit, the others, and runs whose weights are not."""
    beside_them = by_step(expected.rows)
    columns = {name for row in beside_them for name in row}
    differ, rows, other = set[str](), 0, 0
    for one in came:
        pairs = list(zip(by_step(one.rows), beside_them, strict=True))
        assert all(row.keys() == beside.keys() for row, beside in pairs)
        differ |= {name for row, beside in pairs for name in row if row[name] != beside[name]}
        rows, other = rows + len(pairs), other + (one.adapter != expected.adapter)
    return {"rows": rows, "exact": sorted(columns - differ), "not exact": sorted(differ), "other weights": other}


def by_step(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each step: an evaluation that a notice left no time for is done by the next machine, and stands in a row of its own."""
    whole: dict[int, dict[str, Any]] = {}
    for row in rows:
        assert not (row.keys() & whole.get(row["step"], {}).keys()) - {"step"}, "a step is there twice"
        whole[row["step"]] = whole.get(row["step"], {}) | row
    return list(whole.values())


def disturbed(lab: Lab, case: str, last: int, draw: random.Random) -> tuple[str, list[int]]:
    """A run whose machines were taken back, one after another, and the seconds of notice of each; fewer where one was through before."""
    run, notices = launch(lab, case), list[int]()
    for attempt, step in enumerate(sorted(draw.sample(range(1, last - 1), MOST_OF_A_RUN)), start=1):
        lab.until(f"the machine of attempt {attempt}", lambda number=attempt: len(lab.instances(run)) >= number, run)
        lab.until_trained(run, step)  # by an earlier machine, where its notice left it time: then this one is taken as it boots
        notice = draw.choice(NOTICES)
        taken, end = lab.sandbox.interrupt(run, notice_seconds=notice), RunKeys(run).attempt_end(attempt)
        lab.until(f"the end of attempt {attempt}", lambda key=end: lab.bucket.load(AttemptEnd, key) or run in lab.bucket.over(), run)
        written = lab.bucket.load(AttemptEnd, end)
        if run in lab.bucket.over() or (written and written.reason is EndReason.COMPLETED):
            break  # its last steps were quicker than the kill; that it is over is listed seconds after its attempt's end
        assert len(taken) == 1
        notices.append(notice)
    return run, notices
