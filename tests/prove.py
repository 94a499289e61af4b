"""`python -m tests.prove [PART ...]`: the proofs that take hours, one after another, and what each of them counted.

The counts of each part that was played go to benchmarks/proof.json, and from there into benchmarks/RESULTS.md (`benchmarks.proofs`). The
exit code is 1 when something did not hold. Each part is programs of their own, whose help says how to look at one of their cases.

What is interrupted goes on: what a program counted is kept in `.prove/` as it ends, and is not played again at the same commit unless
`--again` says so.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import proofs
from llmlab.clock import Clock, SystemClock
from llmlab.files import replace_text
from tests.conftest import docker_missing

ROOT = Path(__file__).parents[1]
PLAYED = ROOT / ".prove"
"""A file for each commit: how the programs ended that were played at it."""
CHANGED = "+"
"""At the end of a version whose files differ from its commit: nothing is kept of it."""
CORES = os.cpu_count() or 1
SEEDS = 20
"""Of commands side by side."""
SCHEDULES = 10_000
FUZZ_SECONDS = 45
SIMULATION = ("-m", "tests.simulation")
ERROR_KEPT = 20_000
"""Characters of standard error that are kept of a program: libFuzzer counts there."""
WORDS = 2000
"""Characters of what a part says that did not hold."""

ENDS = ("passed", "failed", "errors", "error", "skipped")
"""Of tests, as pytest counts them."""

KILLED = "tests/sandbox/test_killed_objectives.py"

Row = dict[str, Any]
Read = Callable[["Done"], list[Row]]


@dataclass(frozen=True)
class Done:
    """How a program of a part ended, and after how long."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float = 0


@dataclass(frozen=True)
class Part:
    """Programs, each the arguments of a Python, as many at a time as there are cores; what they count, and which counts must be 0."""

    name: str
    programs: tuple[tuple[str, ...], ...]
    read: Read
    none: tuple[str, ...]

    def broken(self, rows: Sequence[Row]) -> int:
        return sum(row.get(name, 0) for row in rows for name in self.none)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*(part.name for part in PARTS), []], help=f"of {', '.join(names())}")
    parser.add_argument("--again", action="store_true", help="also what was played at this commit before")
    asked = parser.parse_args()
    played = Played(PLAYED, version())
    if asked.again:
        played.forget()
    wanted = asked.parts or names()
    held = [prove(part, SystemClock(), played) for part in PARTS if part.name in wanted]
    proofs.write()
    sys.exit(not all(held))


def names() -> list[str]:
    return [part.name for part in PARTS]


class Played:
    """How programs ended at one version."""

    def __init__(self, folder: Path, version: str) -> None:
        self.version = version
        self.file = folder / f"{version}.json"

    def read(self) -> dict[tuple[str, ...], Done]:
        """By their arguments; none where nothing is kept."""
        if self.version.endswith(CHANGED) or not self.file.exists():
            return {}
        ended = [Done(**{**one, "arguments": tuple(one["arguments"])}) for one in json.loads(self.file.read_text(encoding="utf-8"))]
        return {done.arguments: done for done in ended}

    def keep(self, done: Done) -> None:
        """One more; what failed is to be played again."""
        if self.version.endswith(CHANGED) or done.code:
            return
        self.file.parent.mkdir(exist_ok=True)
        ended = [asdict(one) for one in {**self.read(), done.arguments: replace(done, err=done.err[-ERROR_KEPT:])}.values()]
        replace_text(self.file, json.dumps(ended))

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)


def prove(part: Part, clock: Clock, played: Played, file: Path = proofs.FILE, cores: int = CORES) -> bool:
    """Play what of a part was not played yet, and keep its counts; whether all of it held."""
    began, ended = clock.now(), played.read()
    ended = {arguments: ended[arguments] for arguments in part.programs if arguments in ended}
    if ended:
        sys.stdout.write(f"{part.name}: {len(ended)} of {len(part.programs)} programs were played at {played.version} before\n")
    with ThreadPoolExecutor(cores) as pool:
        for future in as_completed([pool.submit(play, program, clock) for program in part.programs if program not in ended]):
            done = future.result()
            ended[done.arguments] = done
            played.keep(done)
            if done.code:
                sys.stderr.write(f"python {' '.join(done.arguments)} ended with {done.code}\n{done.out[-WORDS:]}{done.err[-WORDS:]}\n")
            else:
                sys.stdout.write(
                    f"{part.name}: {len(ended)} of {len(part.programs)} programs, {done.arguments[-1]} in {done.seconds:.0f} s\n"
                )
                sys.stdout.flush()
    rows = joined(row for program in part.programs for row in part.read(ended[program]))
    seconds = round(sum(done.seconds for done in ended.values()))
    held = all(done.code == 0 for done in ended.values()) and bool(rows) and not part.broken(rows)
    keep(
        part.name,
        {"version": played.version, "day": f"{began:%Y-%m-%d}", "cores": cores, "seconds of programs": seconds, "rows": rows},
        file,
    )
    sys.stdout.write(f"{part.name}: {len(rows)} rows of counts in {seconds} s of its programs, {'all held' if held else 'NOT ALL HELD'}\n")
    sys.stdout.flush()
    return held


def joined(rows: Iterable[Row]) -> list[Row]:
    """Rows of one command are pieces of it: their numbers are added."""
    whole: dict[object, Row] = {}
    for number, row in enumerate(rows):
        known = whole.setdefault(row.get("command", number), row)
        if known is not row:
            known |= {name: known[name] + value for name, value in row.items() if isinstance(value, int)}
    return list(whole.values())


def play(arguments: tuple[str, ...], clock: Clock) -> Done:
    began = clock.now()
    ended = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    return Done(arguments, ended.returncode, ended.stdout, ended.stderr, (clock.now() - began).total_seconds())


def keep(name: str, counted: Row, file: Path) -> None:
    """Put a part's counts in the place of those from before."""
    known = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**known, name: counted}, indent=1) + "\n", encoding="utf-8")


def version() -> str:
    """The commit; with a plus where files differ from it, those aside into which proofs are written."""
    ours = [f":(exclude){path.relative_to(ROOT)}" for path in (proofs.FILE, proofs.PAGE)]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *ours)
    return _git("describe", "--always", "--exclude=*") + CHANGED * bool(changed)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


# ------------------------------------------------------------ what each program says


def lines(done: Done) -> list[Row]:
    """A JSON document a line: its name and its numbers."""
    return [{key: value for key, value in json.loads(line).items() if not isinstance(value, list)} for line in done.out.splitlines()]


def document(done: Done) -> list[Row]:
    """One JSON document with its violations, of which the number is kept."""
    if not done.out.startswith("{"):
        return []
    found = json.loads(done.out)
    return [{**found, "violations": len(found["violations"])}]


def fuzzed(done: Done) -> list[Row]:
    """libFuzzer's own counts of one target."""
    executed = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.err)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", done.err)
    edges, features = reached[-1] if reached else (0, 0)
    inputs = int(executed[-1]) if executed else 0
    return [{"target": done.arguments[2], "inputs": inputs, "edges": int(edges), "features": int(features), "broken": int(done.code != 0)}]


def planted(done: Done) -> list[Row]:
    """The closing line: `20 bugs planted: 19 caught, 1 missed`."""
    closing = re.findall(r"^(\d+) bugs planted: (.*)$", done.out, re.MULTILINE)
    return [
        {"bugs": int(count), **{kind: int(number) for number, kind in re.findall(r"(\d+) ([\w ]+)", kinds)}} for count, kinds in closing
    ]


def tested(done: Done) -> list[Row]:
    """Pytest's closing line."""
    closing = re.findall(r"^=* ?(\d+ \w+.*?) in [\d.]+s", done.out, re.MULTILINE)
    found = {kind: int(count) for count, kind in re.findall(r"(\d+) (\w+)", closing[-1])} if closing else {}
    return (
        [{"tests": sum(found.get(kind, 0) for kind in ENDS), "not passed": sum(found.get(kind, 0) for kind in ENDS[1:])}] if found else []
    )


def hinted(done: Done) -> list[Row]:
    """The ledger's line, and pytest's closing one."""
    closing = re.search(
        r"^hints: (\d+) lines in (\d+) forms, (\d+) of them shown; (.*); (\d+) commands of ours; (?:run: )?(.*)$", done.out, re.MULTILINE
    )
    if not closing:
        return []
    lines, forms, shown, programs, commands, ran = closing.groups()
    counts = {"lines": int(lines), "forms": int(forms), "shown": int(shown), "commands": int(commands)}
    return [{**row, **counts, "programs": programs, "run": ran} for row in tested(done)]


def killed(done: Done) -> list[Row]:
    """What a run that was disturbed had in common with one that was not, told by the test in a line of its own."""
    return [json.loads(line) for line in done.out.splitlines() if line.startswith('{"objective"')]


def objectives() -> tuple[tuple[str, ...], ...]:
    """A program for each objective of TRL's trainers."""
    from tests.sandbox.test_killed_objectives import CASES

    return tuple(("-m", "pytest", "--quiet", "--hours", f"{KILLED}::test_killed_at_ten_random_moments[{case}]") for case in CASES)


def fuzzers() -> tuple[tuple[str, ...], ...]:
    from tests.fuzz.targets import TARGETS

    return tuple(("-m", "tests.fuzz", target, "--seconds", str(FUZZ_SECONDS)) for target in TARGETS)


PIECES = {"bootstrap": 6, "teardown": 8, "teardown --everything": 8, "launch": 3, "stop --now": 3, "resume": 2}
"""Of commands with hundreds of calls: an interrupted proof has minutes to play again, and no core waits long for the last program."""


def faults() -> tuple[tuple[str, ...], ...]:
    """A program for each command of the table, or for each piece of its calls."""
    from tests.faults.scenarios import SCENARIOS

    pieces = ((scenario.name, PIECES.get(scenario.name, 1)) for scenario in SCENARIOS)
    return tuple(
        ("-m", "tests.faults", "--only", name, "--part", f"{number}/{count}") for name, count in pieces for number in range(1, count + 1)
    )


def deliveries() -> tuple[tuple[str, ...], ...]:
    from tests.faults.occasions import OCCASIONS

    return tuple(("-m", "tests.faults.deliveries", "--only", occasion.name) for occasion in OCCASIONS)


def meetings() -> tuple[tuple[str, ...], ...]:
    from tests.faults import concurrent

    return tuple(("-m", "tests.faults.concurrent", "--seeds", str(SEEDS), "--only", meeting.name) for meeting in concurrent.meetings())


def families() -> tuple[tuple[str, ...], ...]:
    from tests.families.trying import WAYS

    return tuple(("-m", "tests.families", "--way", way) for way in WAYS)


def machines() -> tuple[str, ...]:
    """Whether tests on machines that boot are among them: where an engine can be had."""
    return () if docker_missing() else ("--docker",)


PARTS = (
    Part("runs", (("-m", "pytest", "--quiet", "--hours", *machines(), "-m", "hours", f"--ignore={KILLED}"),), tested, ("not passed",)),
    Part("hints", (("-m", "pytest", "--quiet", "--hints", "tests/cli", "tests/laws"),), hinted, ("not passed",)),
    Part("objectives", objectives(), killed, ("other weights",)),
    Part("planted", (("-m", "tests.planted"),), planted, ()),
    Part("schedules", ((*SIMULATION, "--schedules", str(SCHEDULES), "--workers", str(CORES)),), document, ("violations",)),
    Part("faults", faults(), lines, ("wrong",)),
    Part("deliveries", deliveries(), lines, ("wrong",)),
    Part("concurrent", meetings(), lines, ("wrong",)),
    Part("families", families(), lines, ("wrong",)),
    Part("fuzzers", fuzzers(), fuzzed, ("broken",)),
)  # fmt: skip

if __name__ == "__main__":
    main()
