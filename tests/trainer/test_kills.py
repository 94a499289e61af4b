"""Killed at random moments of training and of saving, and resumed: the weights of the run that nobody killed, bit by bit."""

import random
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import ADAPTER, WHOLE_MODEL, EndReason, TrainerExit, WorkFolder
from llmlab.trainer.training import checkpoints
from tests.trainer import work as folders
from tests.trainer.stable import Done, Stable

RECIPES: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "epochs": 3, "batch_size": 2, "accumulate": 2, "save_steps": 1, "keep_checkpoints": 2},
    "full": {"method": "full", "epochs": 4, "batch_size": 4, "save_steps": 1, "evaluation": {"share": 0.2, "steps": 3}},
}
"""Saving at every step, so that many are killed in the thread that saves. Dropout is on; an epoch's last step is short."""
COUNT = 14
AT_MOST = 4
"""Kills of one run before it is left to end, so that some are killed while they resume."""
START, END = 0.2, 0.9
"""Shares of a run between which it is killed: before there is nothing yet to lose, and behind many a run has ended already."""
KILLS = {signal.SIGKILL: {"lora": 35, "full": 15}, signal.SIGTERM: {"lora": 14, "full": 6}}
"""At least; twice as many at most, until so many `PHASES` were met."""
PHASES = {signal.SIGKILL: 3, signal.SIGTERM: 1}


@dataclass
class Tally:
    """What was going on when they were killed, and how many runs ended and were compared."""

    phases: Counter[str] = field(default_factory=Counter)
    ended: int = 0

    def note(self, work: WorkFolder, done: Done) -> None:
        output = Path(work.output)
        if done.codes[0] == TrainerExit.STOPPED_ON_REQUEST:
            phase = "saved and left"
        elif any((output / name).exists() for name in (f".{ADAPTER}.new", f".{WHOLE_MODEL}.new", ADAPTER, WHOLE_MODEL)):
            phase = "writing what comes out"
        elif done.staging:
            phase = "saving"
        elif checkpoints.find(Path(work.checkpoints)).newest is None:
            phase = "before the first save"
        else:
            phase = "training"
        self.phases[phase] += 1


@pytest.mark.slow  # fifty kills and twenty signals, each a start of some tenths of a second
@pytest.mark.parametrize("kind", KILLS, ids=["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("method", ["lora", *(pytest.param(name, marks=pytest.mark.hours) for name in RECIPES if name != "lora")])
def test_killed_at_random_moments(
    tmp_path: Path, model: Path, stable: Stable, capsys: pytest.CaptureFixture[str], method: str, kind: signal.Signals
) -> None:
    whole = folders.make(tmp_path / "whole", model, recipe=RECIPES[method], count=COUNT)
    done, log = stable.run(whole)
    assert done.codes == [0], log
    draw, tally = random.Random(f"{method} {kind}"), Tally()
    for number in count():
        enough = tally.phases.total() >= KILLS[kind][method] and len(tally.phases) >= PHASES[kind]
        if enough or tally.phases.total() >= 2 * KILLS[kind][method]:
            break
        work = folders.make(tmp_path / str(number), model, recipe=RECIPES[method], count=COUNT)
        for attempt in count():
            after = None if attempt >= AT_MOST else draw.uniform(START * done.seconds, END * done.seconds)
            ended, log = stable.run(work, after=after, signal=int(kind))
            if ended.codes == [0]:
                break
            assert ended.codes[0] in ({-kind} | ({TrainerExit.STOPPED_ON_REQUEST} if kind == signal.SIGTERM else set())), log
            assert ended.codes[0] < 0 or folders.outcome(work).reason is EndReason.INSTANCE_LOST
            tally.note(work, ended)
        assert folders.losses(work) == folders.losses(whole)
        assert folders.evaluated(work) == folders.evaluated(whole)
        assert folders.weights(work) == folders.weights(whole)
        assert checkpoints.find(Path(work.checkpoints)).damaged == ()
        tally.ended += 1
    with capsys.disabled():
        told = ", ".join(f"{phase} {number}" for phase, number in tally.phases.most_common())
        sys.stdout.write(f"\n{kind.name}, {method}: {tally.phases.total()} kills ({told}), {tally.ended} runs compared\n")
    assert tally.phases.total() >= KILLS[kind][method]
    assert tally.ended >= KILLS[kind][method] // AT_MOST
    assert len(tally.phases) >= PHASES[kind]
