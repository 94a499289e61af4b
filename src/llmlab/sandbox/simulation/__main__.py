"""`python -m llmlab.sandbox.simulation`: one schedule, told line by line, or many, counted.

The trace or one JSON document goes to stdout, progress to stderr; the exit code is 1 when an invariant did not hold.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from llmlab.sandbox.simulation import invariants, many, scenario
from llmlab.sandbox.simulation.world import World

EVERY = 100


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m llmlab.sandbox.simulation", description="Runs on a simulated spot market.")
    parser.add_argument("--seed", type=int, default=0, help="the schedule to tell, or the first of many")
    parser.add_argument("--schedules", type=int, default=0, help="play so many, and count")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    if options.schedules:
        return _many(range(options.seed, options.seed + options.schedules), options.workers)
    return _one(options.seed)


def _one(seed: int) -> int:
    world = World(scenario.made(seed))
    history = world.play()
    violations = invariants.check(world.after())
    sys.stdout.write(history.text(world.scenario.begin.timestamp()))
    for violation in violations:
        sys.stdout.write(f"{violation.invariant}: {violation.words}\n")
    return 1 if violations else 0


def _many(seeds: range, workers: int) -> int:
    summary = many.Summary()
    for one in many.play_all(seeds, workers):
        summary.add(one)
        for violation in one.violations:
            sys.stderr.write(f"seed {violation.seed}: {violation.invariant}: {violation.words}\n")
        if summary.schedules % EVERY == 0:
            sys.stderr.write(f"{summary.schedules} of {len(seeds)} schedules, {len(summary.violations)} violations\n")
    sys.stdout.write(json.dumps(summary.document(), indent=1) + "\n")
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
