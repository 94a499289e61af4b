"""`validate` against what only reads the same file into dicts, and the memory it takes.

Usage: `python -m benchmarks.validate [--rounds 5] [--bytes 1000000000]` is the common form; `--all` is every form of row in plain .jsonl,
every kind of file, and a folder of transcripts, of 200 MB of chats each unless `--bytes` says otherwise. Contestants alternate, each a
fresh process; processor time is shown beside wall time, because it says on a busy machine what wall time says on a quiet one.
`--inside` measures checking alone, within this one process, by its own processor time and the least of the rounds: what is to be read on a
busy machine, and what one core does.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import forms
from benchmarks.memory import resident
from llmlab.dataset import find
from llmlab.dataset.check import parts, tally_of
from llmlab.dataset.tokens import estimate

OURS = [sys.executable, "-m", "llmlab", "validate", "--json", "--skip-bad"]
FOLDER = (
    "import orjson, sys, pathlib\nfor path in pathlib.Path(sys.argv[1]).iterdir():\n"
    "    with path.open('rb') as file:\n        for line in file:\n            orjson.loads(line)\n"
)
COMMON, OTHERS, MOST = 0.5, 0.25, 300 << 20
"""The least share of the bare reading's speed, of the common form and of every other; and the most bytes resident."""


@dataclass
class Measured:
    """Seconds of each round, by contestant, and the most bytes that ours held."""

    walls: dict[str, list[float]] = field(default_factory=lambda: {"bare": [], "validate": []})
    loads: dict[str, list[float]] = field(default_factory=lambda: {"bare": [], "validate": []})
    most: int = 0

    def share(self, times: dict[str, list[float]]) -> float:
        return statistics.median(times["bare"]) / statistics.median(times["validate"])


def measure(path: Path, bare: str, rounds: int) -> Measured:
    """Both contestants in turn."""
    contestants = {"bare": [sys.executable, "-c", bare, str(path)], "validate": [*OURS, str(path)]}
    measured = Measured()
    for _ in range(rounds):
        for name, command in contestants.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while child.poll() is None:
                measured.most = max(measured.most, resident(child.pid)) if name == "validate" else measured.most
                time.sleep(0.05)
            measured.walls[name].append(time.perf_counter() - began)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            measured.loads[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return measured


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--bytes", type=int)
    options.add_argument("--all", action="store_true")
    options.add_argument("--inside", action="store_true", help="of --all, in this process, by processor time")
    options.add_argument("--only", default="", help="of --all, what has this in its name")
    given = options.parse_args()
    if given.inside:
        print("| what | bare | checked | share of the speed |\n|---|---|---|---|")
        for name in every(given.only):
            inside(name, given.bytes or 6_000_000, given.rounds)
        return
    size = given.bytes or (200_000_000 if given.all else 10**9)
    print(f"| what | size | bare | validate | share of the speed | of processor time, on one of {os.cpu_count()} cores | resident |")
    print("|---|---|---|---|---|---|---|")
    missed = [name for name in (every(given.only) if given.all else ["messages .jsonl"]) if not line(name, size, given.rounds)]
    if missed:
        sys.exit(f"too slow, or more than 300 MiB: {', '.join(missed)}")


def every(only: str) -> list[str]:
    """What `--all` measures: a form and a suffix, or a folder of transcripts."""
    kinds = [f"{form} .jsonl" for form in forms.FORMS]
    kinds += [f"messages {suffix}" for suffix in forms.BARE if suffix not in {".jsonl", ".csv"}]
    kinds += ["messages with tools .parquet", "prompt-completion .csv", "transcripts"]
    return [kind for kind in kinds if only in kind]


def written(name: str, folder: Path, size: int) -> tuple[Path, str]:
    """The data of a line, and what only reads them."""
    if name == "transcripts":
        path, bare = forms.transcripts(folder / "data", folder, size), FOLDER
    else:
        form, suffix = name.rsplit(" ", 1)
        path, bare = forms.write(folder / f"data{suffix}", form, folder, size), forms.BARE[suffix]
    (folder / "chats.jsonl").unlink()
    return path, bare


def inside(name: str, size: int, rounds: int) -> None:
    """Measure one within this process and print its line."""
    with tempfile.TemporaryDirectory() as place:
        path, bare = written(name, Path(place), size)
        code, sys.argv = compile(bare, name, "exec"), ["bare", str(path)]
        every_part = list(parts(find(path).files))
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            began = time.process_time()
            exec(code, {})  # the same text that --all runs as a program
            between = time.process_time()
            for part in every_part:
                tally_of(part, estimate)
            taken[0].append(between - began)
            taken[1].append(time.process_time() - between)
    least = [min(times) for times in taken]
    print(f"| {name} | {least[0] * 1e3:.1f} ms | {least[1] * 1e3:.1f} ms | {least[0] / least[1]:.2f} |", flush=True)


def line(name: str, size: int, rounds: int) -> bool:
    """Measure one, print its line, and say whether it is quick and small enough."""
    with tempfile.TemporaryDirectory() as place:
        path, bare = written(name, Path(place), size)
        measured = measure(path, bare, rounds)
        held = sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size
    wall, load = measured.share(measured.walls), measured.share(measured.loads)
    seconds = [f"{statistics.median(measured.walls[who]):.2f} s" for who in ("bare", "validate")]
    print(
        f"| {name} | {held / 1e6:.0f} MB | {seconds[0]} | {seconds[1]} | {wall:.2f} | {load:.2f} | {measured.most / 2**20:.0f} MiB |",
        flush=True,
    )
    return wall >= (COMMON if name == "messages .jsonl" else OTHERS) and measured.most <= MOST


if __name__ == "__main__":
    main()
