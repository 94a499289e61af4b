"""`validate` against a bare `orjson.loads` loop over the same file of one gigabyte, and the memory it takes.

Usage: `python -m benchmarks.validate [--rounds 5] [--bytes 1000000000]`. Contestants alternate, each a fresh process; processor time is
shown beside wall time, because it says on a busy machine what wall time says on a quiet one.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chats import make
from benchmarks.memory import resident

BARE = "import orjson, sys\nwith open(sys.argv[1], 'rb') as file:\n    for line in file:\n        orjson.loads(line)\n"
OURS = [sys.executable, "-m", "llmlab", "validate", "--json"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--bytes", type=int, default=10**9)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = make(Path(folder, "data.jsonl"), given.bytes)
        contestants = {"orjson.loads": [sys.executable, "-c", BARE, str(file)], "validate": [*OURS, str(file)]}
        walls: dict[str, list[float]] = {name: [] for name in contestants}
        loads: dict[str, list[float]] = {name: [] for name in contestants}
        most = 0
        for _ in range(given.rounds):
            for name, command in contestants.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                began = time.perf_counter()
                child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                while child.poll() is None:
                    most = max(most, resident(child.pid)) if name == "validate" else most
                    time.sleep(0.2)
                walls[name].append(time.perf_counter() - began)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                loads[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        wall = {name: statistics.median(times) for name, times in walls.items()}
        load = {name: statistics.median(times) for name, times in loads.items()}
        print("| what | wall time | processor time |\n|---|---|---|")
        for name in contestants:
            print(f"| {name} | {wall[name]:.2f} s | {load[name]:.2f} s |")
        ratios = [times["orjson.loads"] / times["validate"] for times in (wall, load)]
        print(f"| share of the bare loop's speed | {ratios[0]:.2f} | {ratios[1]:.2f} on one of {os.cpu_count()} cores |")
        print(f"\nresident at most, all processes together: {most / 2**20:.0f} MiB")
        if ratios[0] < 0.5 or most > 300 << 20:
            sys.exit("slower than half the bare loop, or more than 300 MiB")


if __name__ == "__main__":
    main()
