"""`python -m tests.faults.sample`: what the tests play of the faults, in one process that has imported moto once.

A line of JSON for each play: `part`, `name`, its counts, and `said`, which is what went wrong.
"""

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.faults.__main__ import row
from tests.faults.line import Line, ready

if TYPE_CHECKING:
    from tests.faults.planted import Plant
    from tests.faults.stage import Stage
    from tests.faults.table import Case

SEED = 1
SHARE = 0.006
"""Of the table of `python -m tests.faults`."""
MOST = 1
"""Cases that are drawn of one command: a teardown makes hundreds of calls."""
DELIVERED = 0.04
"""Of the plays of `python -m tests.faults.deliveries`."""
SIDE_BY_SIDE = ("ten launches", "a teardown during a launch", "a bootstrap during a teardown", "two resumes")
"""Of the commands that meet in `python -m tests.faults.concurrent`."""
LOST = (
    ("bootstrap", "ec2:CreateVpc"), ("bootstrap", "ec2:CreateSubnet"), ("bootstrap", "iam:AddRoleToInstanceProfile"),
    ("launch", "s3:PutObject"), ("launch", "scheduler:CreateSchedule"), ("launch", "ec2:CreateFleet"),
    ("teardown", "iam:DeleteRolePolicy"), ("teardown", "ec2:DisassociateRouteTable"),
)  # fmt: skip
"""Calls whose lost answer once made a command fail or leave something behind: one of each is played, beside the sample."""


@dataclass(frozen=True)
class Play:
    """One row of a part, `prepare` what its account is given first, and `count`, which plays it."""

    part: str
    name: str
    prepare: "Callable[[Stage], None]"
    count: Callable[[], dict[str, Any]]

    def tell(self) -> None:
        from tests.faults.keeper import apart

        try:
            counted = apart(self.count)
        except AssertionError as error:
            counted = {"wrong": 1, "said": [str(error)]}
        sys.stdout.write(json.dumps({"part": self.part, "name": self.name, **counted}) + "\n")
        sys.stdout.flush()


def main() -> None:
    """First what begins on an empty account; then this process gets a lab, and with it every copy of its account."""
    line = ready()
    from tests.faults import before
    from tests.faults.stage import build

    for play in plays(line):
        if play.prepare is before.nothing:
            play.tell()
    with tempfile.TemporaryDirectory(prefix="llmlab-faults-") as folder:
        before.lab(build(line, Path(folder, "lab")))
        for play in plays(line):
            if play.prepare is not before.nothing:
                play.tell()


def plays(line: Line) -> Iterator[Play]:
    """All of them; loaded late, because the line must be laid before the first session."""
    from tests.faults import concurrent, deliveries
    from tests.faults.occasions import OCCASIONS
    from tests.faults.planted import PLANTS, Buggy
    from tests.faults.scenarios import SCENARIOS

    for scenario in SCENARIOS:
        sampled = partial(_sampled, scenario.name, Random(f"{SEED} {scenario.name}"))
        yield Play("table", scenario.name, scenario.prepare, partial(row, scenario, line, sampled))
    for name, plant in PLANTS.items():
        (scenario,) = (one for one in SCENARIOS if one.name == plant.scenario)
        yield Play("planted", name, scenario.prepare, partial(row, scenario, line, partial(_planted, plant), partial(Buggy, plant)))
    for occasion in OCCASIONS:
        asked = Namespace(seed=SEED, seeds=1, share=DELIVERED)
        yield Play("deliveries", occasion.name, occasion.prepare, partial(deliveries.table, occasion, line, asked))
    for meeting in (meeting for meeting in concurrent.meetings() if meeting.name in SIDE_BY_SIDE):
        yield Play("side by side", meeting.name, meeting.prepare, partial(concurrent.row, meeting, line, [SEED]))


def _sampled(command: str, chance: Random, cases: "list[Case]") -> "list[Case]":
    """By chance, at least one, and one of each of `LOST`."""
    from tests.faults.ways import Way

    drawn = [case for case in cases if chance.random() < SHARE] or [chance.choice(cases)]
    drawn = chance.sample(drawn, min(MOST, len(drawn)))
    for call in (call for name, call in LOST if name == command):
        drawn.append(chance.choice([case for case in cases if case.way is Way.LOST_ONCE and case.call.startswith(call)]))
    return [case for case in cases if case in drawn]


def _planted(plant: "Plant", cases: "list[Case]") -> "list[Case]":
    return [case for case in cases if case.call.startswith(plant.call) and case.way is plant.way]


if __name__ == "__main__":
    main()
