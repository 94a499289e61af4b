"""`python -m benchmarks.proofs`: writes the section of RESULTS.md that says what `make prove` counted, from proof.json.

A test holds the page to the file.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE, PAGE = HERE / "proof.json", HERE / "RESULTS.md"
BEGIN, END = "<!-- counts of proof.json, by `make prove` or `python -m benchmarks.proofs` -->\n", "<!-- end of the counts -->\n"

Counted = Mapping[str, Any]


def write() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), json.loads(FILE.read_text(encoding="utf-8"))), encoding="utf-8")


def page(text: str, proof: Mapping[str, Counted]) -> str:
    """The page with the section as the file has it."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    assert mark, "RESULTS.md has no place for the counts"
    return before + BEGIN + "\n" + section(proof) + "\n" + END + after


def section(proof: Mapping[str, Counted]) -> str:
    return "\n".join(
        f"### {TITLES[name][0]}\n\n{when(proof[name])}\n\n{TITLES[name][1](proof[name]['rows'])}" for name in TITLES if name in proof
    )


def when(counted: Counted) -> str:
    if not counted.get("version"):
        return "Counted before `make prove` kept its counts."
    if "seconds" in counted:
        took = f"{number(counted['seconds'])} s on {counted['cores']} cores"
    else:
        took = f"programs of {number(counted['seconds of programs'])} s together, {counted['cores']} at a time"
    return f"{counted['day']}, version {counted['version']}, {took}."


def number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [" | ".join(head), "|".join("---" for _ in head), *(" | ".join(map(number, row)) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines).replace("| ---", "|---").replace("--- |\n", "---|\n")


def counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number(count)}" for name, count in sorted(found.items(), key=lambda item: -item[1]))


# ------------------------------------------------------------ the parts


def schedules(rows: list[Counted]) -> str:
    (all_,) = rows
    names = ("schedules", "instances", "invocations of the watchdog", "simulated hours")
    return table(
        ("what", "count"),
        [
            *((name, all_[name]) for name in names),
            ("struck", counts(all_["struck"])),
            ("weather", counts(all_["weather"])),
            ("ends", counts(all_["ends"])),
            (f"checks of {all_['invariants']} invariants", all_["checks"]),
            ("violations", f"**{number(all_['violations'])}**"),
        ],
    )


def faults(rows: list[Counted]) -> str:
    return table(
        ("command", "calls", "cases", "alike", "not converged"),
        ((row["command"], row["calls"], row["cases"], row["alike"], row["wrong"]) for row in rows),
    )


def deliveries(rows: list[Counted]) -> str:
    return table(
        ("occasion", "events", "plays", "differed"), ((row["occasion"], row["events"], row["plays"], row["wrong"]) for row in rows)
    )


def concurrent(rows: list[Counted]) -> str:
    return table(("commands", "plays", "not converged"), ((row["commands"], row["plays"], row["wrong"]) for row in rows))


def fuzzers(rows: list[Counted]) -> str:
    names = ("target", "inputs", "edges", "features", "broken")
    return table(("target", "inputs", "edges", "features", "laws broken"), ([row[name] for name in names] for row in rows))


def families(rows: list[Counted]) -> str:
    """The counts of each way, and below them why families were refused."""
    names = ("way", "families", "trained", "packed", "refused", "wrong")
    met: dict[str, dict[str, int]] = {}
    for row in rows:
        for reason, families_ in row["reasons"].items():
            met.setdefault(reason, {})[f"{row['way']} ({', '.join(families_)})"] = len(families_)
    listed = "".join(f"- {reason}: {counts(ways)}\n" for reason, ways in sorted(met.items()))
    told = f"\nRefused, each before its first step:\n\n{listed}" if listed else ""
    return table(names, ([row[name] for name in names] for row in rows)) + told


def planted(rows: list[Counted]) -> str:
    return "".join(f"{number(row['bugs'])} bugs: {counts({key: value for key, value in row.items() if key != 'bugs'})}.\n" for row in rows)


def runs(rows: list[Counted]) -> str:
    return "".join(f"{number(row['tests'])} tests, of which {number(row['not passed'])} did not pass.\n" for row in rows)


def hints(rows: list[Counted]) -> str:
    (all_,) = rows
    words = {"lines": "lines to copy", "forms": "forms of them", "shown": "shown by a command", "commands": "commands of ours among them"}
    return table(
        ("what", "count"),
        [
            *((name, all_[key]) for key, name in words.items()),
            ("by program", all_["programs"]),
            ("run where they were shown, by how they ended", all_["run"]),
            ("tests", all_["tests"]),
            ("not passed", f"**{number(all_['not passed'])}**"),
        ],
    )


def objectives(rows: list[Counted]) -> str:
    """The counts of each objective, and below them which columns of the metrics they are."""
    head = ("objective", "steps", "kills", "without notice", "rows compared", "columns alike to the last bit", "other weights")
    names = ("objective", "steps", "kills", "without notice", "rows")
    counted = table(head, ([*(row[name] for name in names), len(row["exact"]), row["other weights"]] for row in rows))
    listed = "".join(f"- {row['objective']}: alike {', '.join(row['exact'])}; not alike {', '.join(row['not exact'])}\n" for row in rows)
    return f"{counted}\nColumns of `metrics.jsonl` beside those of a run that nobody disturbed:\n\n{listed}"


TITLES: Mapping[str, tuple[str, Callable[[list[Counted]], str]]] = {
    "runs": ("Whole runs that take minutes", runs),
    "hints": ("Every hint that the tests provoke", hints),
    "objectives": ("Objectives of TRL's trainers, killed at ten random moments each, with the real agent", objectives),
    "planted": ("Planted bugs", planted),
    "schedules": ("Simulated schedules", schedules),
    "faults": ("A fault at every call", faults),
    "deliveries": ("Events delivered twice, side by side, late, or never", deliveries),
    "concurrent": ("Commands side by side", concurrent),
    "families": ("Every family of causal language models that transformers has, tiny and random", families),
    "fuzzers": ("Fuzzing", fuzzers),
}

if __name__ == "__main__":
    write()
