"""`python -m tests.faults.sample`: what the tests play of the faults, in one process that has imported moto once.

A line of JSON for each play: `part`, `name`, its counts, and `said`, which is what went wrong.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from tests.faults.__main__ import row
from tests.faults.line import Line, ready

if TYPE_CHECKING:
    from tests.faults.planted import Plant
    from tests.faults.table import Case

SEED = 1
SHARE = 0.006
"""Of the table of `python -m tests.faults`."""
DELIVERED = 0.08
"""Of the plays of `python -m tests.faults.deliveries`."""
LOST = (
    ("bootstrap", "ec2:CreateVpc"), ("bootstrap", "ec2:CreateSubnet"), ("bootstrap", "iam:AddRoleToInstanceProfile"),
    ("launch", "s3:PutObject"), ("launch", "scheduler:CreateSchedule"), ("launch", "ec2:CreateFleet"),
    ("teardown", "iam:DeleteRolePolicy"), ("teardown", "ec2:DisassociateRouteTable"),
)  # fmt: skip
"""Calls whose lost answer once made a command fail or leave something behind: played each, beside the sample."""

Play = Callable[[], dict[str, Any]]


def main() -> None:
    line = ready()
    from tests.faults.keeper import apart

    for part, name, play in plays(line):
        try:
            counted = apart(play)
        except AssertionError as error:
            counted = {"wrong": 1, "said": [str(error)]}
        sys.stdout.write(json.dumps({"part": part, "name": name, **counted}) + "\n")
        sys.stdout.flush()


def plays(line: Line) -> Iterator[tuple[str, str, Play]]:
    """Part, name and what plays it; loaded late, because the line must be laid before the first session."""
    from tests.faults import concurrent, deliveries
    from tests.faults.occasions import OCCASIONS
    from tests.faults.planted import PLANTS, Buggy
    from tests.faults.scenarios import SCENARIOS

    for scenario in SCENARIOS:
        yield "table", scenario.name, partial(row, scenario, line, partial(_sampled, scenario.name, Random(f"{SEED} {scenario.name}")))
    for name, plant in PLANTS.items():
        (scenario,) = (one for one in SCENARIOS if one.name == plant.scenario)

        yield "planted", name, partial(row, scenario, line, partial(_planted, plant), partial(Buggy, plant))
    for occasion in OCCASIONS:
        yield "deliveries", occasion.name, partial(deliveries.table, occasion, line, Namespace(seed=SEED, seeds=1, share=DELIVERED))
    for meeting in concurrent.meetings():
        yield "side by side", meeting.name, partial(concurrent.row, meeting, line, [SEED])


def _sampled(command: str, chance: Random, cases: "list[Case]") -> "list[Case]":
    """By chance, at least one, and those of `LOST`."""
    from tests.faults.ways import Way

    drawn = [case for case in cases if chance.random() < SHARE] or [chance.choice(cases)]
    lost = tuple(call for name, call in LOST if name == command)
    return [case for case in cases if case in drawn or (case.way is Way.LOST_ONCE and case.call.startswith(lost))]


def _planted(plant: "Plant", cases: "list[Case]") -> "list[Case]":
    return [case for case in cases if case.call.startswith(plant.call) and case.way is plant.way]


if __name__ == "__main__":
    main()
