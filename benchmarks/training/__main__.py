"""Ours beside every peer: LoRA on the same model, rows and number of tokens, contestants in turns, medians.

Usage: `make bench-train`, or `python -m benchmarks.training [--rounds 3] [--epochs 1] [--shape small] [--only "ours;TRL, tuned"]`.
Ends with 1 when a limit is passed.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training import assets, curves, optimizers, overhead
from benchmarks.training.contest import DISTURBING, Measured, wait_for_quiet
from benchmarks.training.contestants import BEST_TUNED, EVERY, OURS, Contestant

Runs = Mapping[str, Sequence[Measured]]
PARTS = ("speed", "curves", "overhead", "optimizers")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=1, help="times through the rows")
    options.add_argument("--shape", choices=assets.SHAPES, action="append", help="both when not given")
    options.add_argument("--only", default="", help="contestants by name, with ; between them")
    options.add_argument("--part", choices=PARTS, action="append", help="all when not given")
    options.add_argument(
        "--tries", type=int, default=3, help="trainings of a contestant until nothing else ran beside one; 1 does not wait"
    )
    options.add_argument("--peers", type=Path, default=Path(".peers"), help="the folder of the peers' virtual environments")
    given = options.parse_args()
    wanted = [one.strip() for one in given.only.split(";") if one.strip()]
    contestants = [one for one in EVERY if not wanted or one.name in wanted]
    parts = given.part or PARTS
    passed: list[str] = []
    print(f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        for shape in given.shape or list(assets.SHAPES) if "speed" in parts else []:
            made = assets.make(given.peers / "assets", assets.SHAPES[shape])
            runs = take_turns(contestants, made, Rules(given.peers, Path(scratch), given.rounds, given.epochs, given.tries))
            print("\n".join(table(shape, runs, given.epochs)), flush=True)
            passed += limits(shape, runs)
        if "curves" in parts:
            passed += curves.compare(given.peers, Path(scratch))
        if "overhead" in parts:
            passed += overhead.measure(given.peers, Path(scratch))
        if "optimizers" in parts:
            passed += optimizers.compare(given.peers, Path(scratch))
    print("\n" + ("\n".join(f"not met: {one}" for one in passed) or "every limit is met"))
    return int(bool(passed))


@dataclass(frozen=True)
class Rules:
    """Of a contest. `tries` is how often a contestant trains in its turn, until nothing else ran beside it."""

    peers: Path
    scratch: Path
    rounds: int
    epochs: int
    tries: int


def take_turns(contestants: Sequence[Contestant], made: Path, rules: Rules) -> dict[str, list[Measured]]:
    """Everybody's trainings. Each round starts with another contestant, so that nobody always follows the same one."""
    runs: dict[str, list[Measured]] = {one.name: [] for one in contestants}
    for turn in range(rules.rounds):
        start = turn * len(contestants) // rules.rounds
        for one in (*contestants[start:], *contestants[:start]):
            runs[one.name].append(undisturbed(one, made, rules))
            print(f"  {made.name}, round {turn + 1}: {one.name}: {runs[one.name][-1].seconds:.2f} s", file=sys.stderr, flush=True)
    return runs


def undisturbed(one: Contestant, made: Path, rules: Rules) -> Measured:
    """A training beside which nothing else ran; after so many tries, the one with the least beside it."""
    made_so_far: list[Measured] = []
    while len(made_so_far) < rules.tries and not any(measured.others < DISTURBING * measured.wall for measured in made_so_far):
        if rules.tries > 1:
            wait_for_quiet()
        made_so_far.append(one.run(made, rules.scratch / "run", rules.peers, rules.epochs))
    return min(made_so_far, key=lambda measured: measured.others / measured.wall)


def table(shape: str, runs: Runs, epochs: int) -> Iterator[str]:
    """The figures as Markdown."""
    ours = runs.get(OURS)
    yield f"\n### {shape}, epochs: {epochs}, medians of {max(map(len, runs.values()))}\n"
    columns = "contestant|training|tokens/s|ours is faster|peak memory|beside ours|whole process|processor|others|steps|tokens|targets"
    yield f"| {columns.replace('|', ' | ')} |"
    yield "|---" * (columns.count("|") + 1) + "|"
    for name, every in runs.items():
        one = every[0]
        faster = f"{seconds(every) / seconds(ours):.2f} x" if ours else "-"
        beside = f"{peak(every) / peak(ours):.2f} x" if ours else "-"
        yield (
            f"| {name} | {seconds(every):.2f} s | {one.tokens / seconds(every):,.0f} | {faster} "
            f"| {peak(every) / 2**20:,.0f} MiB | {beside} "
            f"| {median(every, 'wall'):.1f} s | {median(every, 'processor'):.1f} s | {median(every, 'others'):.1f} s "
            f"| {one.steps} | {one.tokens:,} | {one.targets:,} |"
        )
    yield ""
    for name, every in runs.items():
        yield f"- {name}: " + ", ".join(f"{package} {version}" for package, version in every[0].versions.items())


def limits(shape: str, runs: Runs) -> Iterator[str]:
    """What is not met, in words."""
    tokens = {name: every[0].tokens for name, every in runs.items()}
    if len(set(tokens.values())) > 1:
        yield f"{shape}: the contestants trained different numbers of tokens: {tokens}"
    if OURS not in runs:
        return
    ours = runs[OURS]
    for one in EVERY:
        least = one.least.get(shape)
        if one.name in runs and least:
            ratio = seconds(runs[one.name]) / seconds(ours)
            if ratio < least:
                yield f"{shape}: {ratio:.2f} times as fast as {one.name}, at least {least} wanted"
    tuned = [runs[one.name] for one in EVERY if one.tuned and one.name in runs]
    if not tuned:
        return
    fastest = min(tuned, key=seconds)
    if seconds(fastest) / seconds(ours) < BEST_TUNED:
        yield f"{shape}: {seconds(fastest) / seconds(ours):.2f} times as fast as the best-tuned peer, at least {BEST_TUNED} wanted"
    if peak(ours) > peak(fastest):
        yield f"{shape}: {peak(ours) / 2**20:,.0f} MiB at most resident, the best-tuned peer {peak(fastest) / 2**20:,.0f}"


def seconds(runs: Sequence[Measured]) -> float:
    return median(runs, "seconds")


def peak(runs: Sequence[Measured]) -> float:
    return median(runs, "peak_bytes")


def median(runs: Sequence[Measured], what: str) -> float:
    return statistics.median(getattr(one, what) for one in runs)


if __name__ == "__main__":
    raise SystemExit(main())
