"""`llmlab --help` beside `aws --version`, in turns, so that a busy machine slows both."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
TURNS = 15
LIMIT = 0.6


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> int:
    commands = {"llmlab --help": [sys.executable, "-m", "llmlab", "--help"], "aws --version": [str(BIN / "aws"), "--version"]}
    for command in commands.values():
        seconds(command)  # once, to fill the caches
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TURNS):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    ratio = medians["llmlab --help"] / medians["aws --version"]
    print(json.dumps({"benchmark": "help", "turns": TURNS, "medians_s": medians, "ratio": round(ratio, 3), "limit": LIMIT}))
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
