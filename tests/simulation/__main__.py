"""`python -m tests.simulation`: play one schedule and print its trace, or many and print their counts.

The trace or one JSON document goes to stdout, progress to stderr; the exit code is 1 when an invariant did not hold.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from tests.simulation import invariants, many
from tests.simulation.world import Parts, World

EVERY = 100


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Runs on a simulated spot market.")
    parser.add_argument("--seed", type=int, default=0, help="the schedule to tell, or the first of many")
    parser.add_argument("--schedules", type=int, default=0, help="play so many, and count")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--account", choices=("memory", "sandbox"), default="memory", help="an account in memory, or the sandbox's own AWS")
    options = parser.parse_args(arguments)
    make = many.make if options.account == "memory" else many.make_on_sandbox
    if options.schedules:
        return _many(range(options.seed, options.seed + options.schedules), options.workers, make)
    return _one(make(options.seed, Parts()))


def _one(world: World) -> int:
    history = world.play()
    violations = invariants.check(world.after())
    world.cloud.close()
    sys.stdout.write(history.text(world.scenario.begin.timestamp()))
    for violation in violations:
        sys.stdout.write(f"{violation.invariant}: {violation.words}\n")
    return 1 if violations else 0


def _many(seeds: range, workers: int, make: many.Make) -> int:
    summary = many.ScheduleSummary()
    for schedule in many.play_all(seeds, workers, make):
        summary.add(schedule)
        for violation in schedule.violations:
            sys.stderr.write(f"seed {violation.seed}: {violation.invariant}: {violation.words}\n")
        if summary.schedules % EVERY == 0:
            sys.stderr.write(f"{summary.schedules} of {len(seeds)} schedules, {len(summary.violations)} violations\n")
    sys.stdout.write(json.dumps(summary.document(), indent=1) + "\n")
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
