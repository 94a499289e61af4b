"""`python -m tests.planted`: every bug of the table planted in turn, and a line of what became of it; `NAME ...` tries those alone.

The exit code is 1 when one was missed, cannot be tried, or no longer applies. All take some minutes on two cores.
"""

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.planted.table import BUGS
from tests.planted.trial import Outcome, try_out, without_a_bug


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs whose name, or file, has this in it; all of them without")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="how many at once")
    wanted = parser.parse_args()
    bugs = [bug for bug in BUGS if not wanted.names or any(name in f"{bug.name} {bug.file}" for name in wanted.names)]
    if wrong := without_a_bug(bugs):
        sys.exit(f"{wrong}\nerror: the tests near the bugs fail without any")
    counts = Counter(dict.fromkeys(Outcome, 0))
    with ThreadPoolExecutor(wanted.jobs) as pool:
        for trial in pool.map(try_out, bugs):
            counts[trial.outcome] += 1
            sys.stdout.write(f"{trial.bug.file}: {trial.bug.name}: {trial.outcome} {trial.words}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(bugs)} bugs planted: {', '.join(f'{count} {outcome.lower()}' for outcome, count in counts.items())}\n")
    sys.exit(counts[Outcome.CAUGHT] < len(bugs))


if __name__ == "__main__":
    main()
