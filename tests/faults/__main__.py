"""`python -m tests.faults`: every call of every command broken in every way, as a table of counts; `--share 0.05 --seed 7` plays a sample.

Each case that did not converge is told with its command, call and way, and makes the exit code 1.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.faults.line import ready

if TYPE_CHECKING:
    from llmlab.aws.session import Aws
    from tests.faults.line import Line
    from tests.faults.scenarios import Scenario
    from tests.faults.table import Case


def main() -> None:
    asked = _arguments()
    line = ready()
    from tests.faults.keeper import apart
    from tests.faults.planted import PLANTS, Buggy
    from tests.faults.scenarios import SCENARIOS

    plant = PLANTS.get(asked.planted)
    account = (lambda: Buggy(plant)) if plant else None
    if plant:
        asked.only, asked.call, asked.way = plant.scenario, plant.call, plant.way
    failed = False
    for scenario in SCENARIOS:
        if asked.only in {"", scenario.name, *scenario.name.split(":")}:
            chance = Random(f"{asked.seed} {scenario.name}")
            counted = apart(partial(row, scenario, line, partial(_picked, asked, chance), account, asked.part))
            sys.stdout.write(json.dumps(counted) + "\n")
            sys.stdout.flush()
            failed |= bool(counted["wrong"])
    sys.exit(failed)


def _picked(asked: argparse.Namespace, chance: Random, cases: "list[Case]") -> "list[Case]":
    wanted = [case for case in cases if case.call.startswith(asked.call) and asked.way in {"", case.way}]
    return [case for case in wanted if chance.random() < asked.share]


WHOLE = "1/1"
Pick = Callable[["list[Case]"], "list[Case]"]
"""Which of a scenario's cases are played."""


def piece(calls: Sequence[str], part: str) -> Sequence[str]:
    """The calls of a part such as `2/8`: the second of eight pieces, which hold every call once, in whatever order threads made them."""
    number, pieces = map(int, part.split("/"))
    named = sorted(calls)
    return named[(number - 1) * len(named) // pieces : number * len(named) // pieces]


def row(scenario: "Scenario", line: "Line", pick: Pick, account: "Callable[[], Aws] | None" = None, part: str = WHOLE) -> dict[str, Any]:
    """Counts of one scenario's cases; `played`, which they were; and `said`: each that did not converge, and why."""
    from tests.faults.table import Case, Verdict, cases, play
    from tests.faults.ways import Way

    counted = Counter(dict.fromkeys(["calls", "cases", *Way, "alike", "not reached", "wrong"], 0))
    played: list[str] = []
    said: list[str] = []

    def choose(calls: list[str]) -> list[Case]:
        wanted = piece(calls, part)
        counted["calls"] = len(wanted)
        return pick(list(cases(scenario, wanted)))

    def tell(verdict: Verdict) -> None:
        for name, holds in (("cases", verdict.reached), (verdict.case.way, verdict.reached), ("alike", verdict.alike)):
            counted[name] += holds
        counted["not reached"] += not verdict.reached
        played.extend([f"{verdict.case.call}, {verdict.case.way}"] * verdict.reached)
        counted["wrong"] += bool(verdict.wrong)
        if verdict.wrong:
            said.append(f"{verdict.case}: {verdict.wrong}")
            sys.stderr.write(f"{said[-1]}\n")

    with tempfile.TemporaryDirectory(prefix="llmlab-faults-") as folder:
        play(scenario, line, Path(folder, "play"), choose, tell, account)
    return {"command": scenario.name, **counted, "played": played, "said": said}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1, help="of all cases, picked by the seed")
    parser.add_argument("--only", default="", help="the command of this name, or watchdog for all of its")
    parser.add_argument("--call", default="", help="calls that begin so, such as ec2:CreateFleet")
    parser.add_argument("--way", default="", help="one of the ways, such as refused")
    parser.add_argument("--part", default=WHOLE, help="a piece of the calls, such as 2/8: the second of eight")
    parser.add_argument("--planted", default="", help="play with one of the planted bugs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
