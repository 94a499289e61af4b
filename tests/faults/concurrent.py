"""`python -m tests.faults.concurrent --seed 3`: commands side by side on one account, whose calls mix in an order chosen by the seed.

Afterwards the first of them is run again, alone, and the laws hold as after a fault.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.keeper import apart
from tests.faults.line import Line, ready

LONGEST_MESSAGE = 1500


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.concurrent", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--only", default="", help="the meetings with this in their name")
    asked = parser.parse_args()
    line, failed = ready(), False
    for meeting in meetings():
        if asked.only in meeting.name:
            counted = row(meeting, line, range(asked.seed, asked.seed + asked.seeds))
            sys.stdout.write(json.dumps(counted) + "\n")
            sys.stdout.flush()
            failed |= bool(counted["wrong"])
    sys.exit(failed)


def row(meeting: "Meeting", line: Line, seeds: Iterable[int]) -> dict[str, Any]:
    """Counts of one meeting's plays, and `said`: each that did not converge, and why."""
    counted, said = Counter(dict.fromkeys(["plays", "wrong"], 0)), []
    for seed in seeds:
        counted["plays"] += 1
        try:
            with tempfile.TemporaryDirectory(prefix="llmlab-faults-") as folder:
                apart(partial(meeting.play, line, Path(folder, "play"), Random(seed)))
        except AssertionError as error:
            counted["wrong"] += 1
            said.append(f"{meeting.name}, seed {seed}: {str(error)[-LONGEST_MESSAGE:]}")
            sys.stderr.write(f"{said[-1]}\n")
    return {"commands": meeting.name, **counted, "said": said}


@dataclass(frozen=True)
class Meeting:
    """Commands at once, and what holds afterwards. `Any` stands for types that are loaded after the line is laid."""

    name: str
    prepare: Callable[..., None]
    lines: tuple[tuple[str, ...], ...]
    law: Callable[..., None]

    def play(self, line: Line, folder: Path, chance: Random) -> None:
        from tests.faults.before import TEARDOWN
        from tests.faults.stage import build

        stage = build(line, folder)
        self.prepare(stage)
        outcomes = stage.keeper.run(*(stage.typed(*one) for one in self.lines), chance=chance)
        for outcome in outcomes:
            result, clock = outcome.result
            stage.clock.time = max(stage.clock.time, clock.time)
            assert "a bug in llmlab" not in result.err, result.err[-500:]
            assert not result.code or result.hint, result.err[-500:]
        self.law(stage, outcomes)
        stage.do(stage.typed(*TEARDOWN))
        left = {one for one in stage.account() if "llm-tuning-lab" in one}
        assert not left, sorted(left)


def meetings() -> tuple[Meeting, ...]:
    """Loaded late: the line must be laid before the first session."""
    from tests.faults import before, laws
    from tests.faults.stage import Stage
    from tests.faults.ways import Way

    def bootstrapped(stage: Stage, outcomes: list[object]) -> None:
        stage.do(stage.typed(*before.BOOTSTRAP))
        laws.whole_lab(stage, outcomes[0], Way.LOST)  # type: ignore[arg-type]

    def launched(stage: Stage, outcomes: list[object]) -> None:
        runs = stage.runs()
        assert len(stage.instances()) == len(runs) == len(outcomes)
        for run in runs:
            laws.owned(stage, run)

    def uploaded(stage: Stage, outcomes: list[object]) -> None:
        stage.do(stage.typed("upload", "data"))
        laws.whole_upload("datasets/data/", "data")(stage, outcomes[0], Way.LOST)  # type: ignore[arg-type]

    def fetched(stage: Stage, outcomes: list[object]) -> None:
        stage.do(stage.typed("fetch", "latest"))
        laws.whole_fetch(stage, outcomes[0], Way.LOST)  # type: ignore[arg-type]

    def gone(stage: Stage, _outcomes: list[object]) -> None:
        stage.do(stage.typed(*before.TEARDOWN))
        assert not stage.instances()

    def ended(stage: Stage, outcomes: list[object]) -> None:
        """At most one instance, which is whole, whoever came last; and one more stop ends it."""
        laws.owned(stage, before.the_run(stage))
        stage.do(stage.typed(*stop))
        laws.one_stop(stage, outcomes[0], Way.LOST)  # type: ignore[arg-type]

    stop = ("stop", "latest", "--now")
    resume = ("resume", "--yes", "latest", "--max-hours", "6")
    return (
        Meeting("two bootstraps", before.nothing, (before.BOOTSTRAP,) * 2, bootstrapped),
        Meeting("ten launches", before.ready, (before.LAUNCH,) * 10, launched),
        Meeting("two uploads", before.dataset, (("upload", "data"),) * 2, uploaded),
        Meeting("two fetches", before.finished, (("fetch", "latest"),) * 2, fetched),
        Meeting("a teardown during a launch", before.ready, (before.LAUNCH, before.TEARDOWN), gone),
        Meeting("a bootstrap during a teardown", before.lab, (before.BOOTSTRAP, before.TEARDOWN), gone),
        Meeting("a stop beside a resume", before.stopped, (resume, stop), ended),
        Meeting("two stops", before.running, (stop,) * 2, ended),
        Meeting("two resumes", before.stopped, (resume,) * 2, ended),
    )


if __name__ == "__main__":
    main()
