"""Each objective of TRL's trainers, its machines taken back at random moments, with and without notice: it ends like a run that nobody
disturbed. Machines really boot, agents upload and the watchdog starts again.
"""

import random
from pathlib import Path

import pytest

from llmlab.contract import AttemptEnd, EndReason, RunKeys
from llmlab.sandbox.examples import write
from tests.sandbox.whole_runs import Lab

pytestmark = [pytest.mark.slow, pytest.mark.hours, pytest.mark.timeout(3000)]  # a dozen machines for each objective, one after another
KILLS = 10
MOST_OF_A_RUN = 5
"""Kills of one run, so that its attempts last."""
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sft": ("messages", ("engine=trl",)),
    "dpo": ("preference", ("engine=trl", "objective=dpo")),
    "kto": ("kto", ("objective=kto",)),
}
SETTINGS = ("epochs=6", "batch_size=4", "accumulate=2", "save_steps=3", "lora.dropout=0.1")


def launch(lab: Lab, case: str) -> str:
    """A new run of an objective, on data of its form."""
    settings = [word for setting in (*SETTINGS, *CASES[case][1]) for word in ("--set", setting)]
    lab.run("launch", "--yes", "--data", case, "--recipe", "sandbox", *settings, "--spot", "--max-hours", "1")
    return max(lab.bucket.runs())


@pytest.mark.parametrize("case", CASES)
def test_killed_at_ten_random_moments(lab: Lab, tmp_path: Path, case: str) -> None:
    write(tmp_path / case, rows=60, form=CASES[case][0])
    wanted = ("--objective", case) if case == "kto" else ()
    lab.run("upload", tmp_path / case, "--name", case, *wanted)
    whole = launch(lab, case)
    assert lab.marker(whole).reason is EndReason.COMPLETED
    last, draw, killed = lab.marker(whole).step, random.Random(case), 0
    while killed < KILLS:
        run = disturbed(lab, case, last, draw)
        killed += MOST_OF_A_RUN
        done = lab.marker(run)
        assert (done.reason, done.attempts, done.step) == (EndReason.COMPLETED, MOST_OF_A_RUN + 1, last)
        assert lab.losses(run) == lab.losses(whole)
        assert lab.adapter(run) == lab.adapter(whole)


def disturbed(lab: Lab, case: str, last: int, draw: random.Random) -> str:
    """A run whose machines were taken back, one after another."""
    run = launch(lab, case)
    for attempt, step in enumerate(sorted(draw.sample(range(1, last - 1), MOST_OF_A_RUN)), start=1):
        lab.until(f"the machine of attempt {attempt}", lambda number=attempt: len(lab.instances(run)) >= number, run)
        lab.until_trained(run, step)  # by an earlier machine, where its notice left it time: then this one is taken as it boots
        assert len(lab.sandbox.interrupt(run, notice_seconds=draw.choice((0, 0, 40)))) == 1
        end = RunKeys(run).attempt_end(attempt)
        lab.until(f"the end of attempt {attempt}", lambda key=end: lab.bucket.load(AttemptEnd, key), run)
    return run
