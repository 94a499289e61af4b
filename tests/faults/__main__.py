"""`python -m tests.faults`: every call of every command broken in every way, as a table of counts; `--share 0.05 --seed 7` plays a sample.

Each case that did not converge is told with its command, call and way, and makes the exit code 1.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.conftest import FAKE, UNSET

if TYPE_CHECKING:
    from llmlab.aws.session import Aws
    from tests.faults.line import Line
    from tests.faults.scenarios import Scenario


def main() -> None:
    asked = _arguments()
    for name in [*UNSET, *(name for name in os.environ if name.startswith("LLMLAB_"))]:
        os.environ.pop(name, None)
    os.environ.update(FAKE)
    from tests.faults.keeper import apart
    from tests.faults.line import lay
    from tests.faults.planted import PLANTS, Buggy
    from tests.faults.scenarios import SCENARIOS

    line = lay()
    plant = PLANTS.get(asked.planted)
    account = (lambda: Buggy(plant)) if plant else None
    if plant:
        asked.only, asked.call, asked.way = plant.scenario, plant.call, plant.way
    failed = False
    for scenario in SCENARIOS:
        if asked.only in {"", scenario.name, *scenario.name.split(":")}:
            row = apart(partial(_row, scenario, line, asked, account))
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
            failed |= bool(row["wrong"])
    sys.exit(failed)


def _row(scenario: "Scenario", line: "Line", asked: argparse.Namespace, account: "Callable[[], Aws] | None") -> dict[str, Any]:
    """Counts of one scenario's cases."""
    from tests.faults.table import Case, Verdict, cases, play
    from tests.faults.ways import Way

    counted = Counter(dict.fromkeys(["calls", "cases", *Way, "alike", "not reached", "wrong"], 0))
    chance = Random(f"{asked.seed} {scenario.name}")

    def choose(calls: list[str]) -> list[Case]:
        counted["calls"] = len(calls)
        found = cases(scenario, [call for call in calls if call.startswith(asked.call)])
        return [one for one in found if asked.way in {"", one.way} and chance.random() < asked.share]

    def tell(verdict: Verdict) -> None:
        for name, holds in (("cases", verdict.reached), (verdict.case.way, verdict.reached), ("alike", verdict.alike)):
            counted[name] += holds
        counted["not reached"] += not verdict.reached
        counted["wrong"] += bool(verdict.wrong)
        if verdict.wrong:
            sys.stderr.write(f"{verdict.case}: {verdict.wrong}\n")

    with tempfile.TemporaryDirectory(prefix="llmlab-faults-") as folder:
        play(scenario, line, Path(folder, "play"), choose, tell, account)
    return {"command": scenario.name, **counted}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1, help="of all cases, picked by the seed")
    parser.add_argument("--only", default="", help="the command of this name, or watchdog for all of its")
    parser.add_argument("--call", default="", help="calls that begin so, such as ec2:CreateFleet")
    parser.add_argument("--way", default="", help="one of the ways, such as refused")
    parser.add_argument("--planted", default="", help="play with one of the planted bugs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
