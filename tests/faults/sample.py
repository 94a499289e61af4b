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
"""Calls whose lost answer once made a command fail or leave something behind."""

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
    from tests.faults.ways import Way

    for scenario in SCENARIOS:
        chance = Random(f"{SEED} {scenario.name}")
        yield "table", scenario.name, partial(row, scenario, line, lambda _case, chance=chance: chance.random() < SHARE)
    for name, call in LOST:
        (scenario,) = (one for one in SCENARIOS if one.name == name)

        def lost(case: "Case", call: str = call) -> bool:
            return case.call.startswith(call) and case.way is Way.LOST_ONCE

        yield "lost", f"{name} {call}", partial(row, scenario, line, lost)
    for name, plant in PLANTS.items():
        (scenario,) = (one for one in SCENARIOS if one.name == plant.scenario)

        def broken(case: "Case", call: str = plant.call, way: Way = plant.way) -> bool:
            return case.call.startswith(call) and case.way is way

        yield "planted", name, partial(row, scenario, line, broken, partial(Buggy, plant))
    for occasion in OCCASIONS:
        yield "deliveries", occasion.name, partial(deliveries.table, occasion, line, Namespace(seed=SEED, seeds=1, share=DELIVERED))
    for meeting in concurrent.meetings():
        yield "side by side", meeting.name, partial(concurrent.row, meeting, line, [SEED])


if __name__ == "__main__":
    main()
