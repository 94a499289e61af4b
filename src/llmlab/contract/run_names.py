"""Names of runs: which are valid, the claims that bind a name to one run, and the index from runs to names.

A claim `names/<name>/<number>.json` is written once, by whoever is first; the one with the highest number says which run has the name. An
empty object `named/<run>/<name>` follows it, so that one listing gives the names of a thousand runs.
"""

import re
from dataclasses import dataclass

from llmlab.contract.keys import parse_run_id
from llmlab.contract.names import VERSION
from llmlab.contract.times import Moment

NAMES = "names/"
NAMED = "named/"
LATEST = "latest"
"""Stands for the newest run wherever a run is named."""
MOST_CHARACTERS = 40
SHAPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ID_SHAPE = ("0-9",) * 8 + ("-",) + ("0-9",) * 6 + ("-",) + ("0-9a-z",) * 4
"""The characters allowed at each position of a run id."""


@dataclass(frozen=True)
class NameClaim:
    """The claim of a name by a run, valid from `claimed` on."""

    name: str
    run: str
    claimed: Moment
    contract: int = VERSION


def name_fault(name: str) -> str:
    """Why a name is not valid for a run, as the end of a sentence; "" if it is valid."""
    if not name:
        return "is empty"
    if name.lower() == LATEST:
        return "stands for the newest run already"
    if len(name) > MOST_CHARACTERS:
        return f"has {len(name)} characters, and a name has at most {MOST_CHARACTERS}"
    if not SHAPE.fullmatch(name):
        return "holds more than letters and digits without accents, dots, dashes and underscores, or begins with none of the first two"
    return "reads as a run id or a part of one" if is_part_of_an_id(name) else ""


def is_part_of_an_id(text: str) -> bool:
    """Whether the text may be a part of a run id, and so would stand for that run."""
    starts = range(len(ID_SHAPE) - len(text) + 1)
    return any(all(re.fullmatch(f"[{ID_SHAPE[start + at]}]", letter) for at, letter in enumerate(text)) for start in starts)


def name_claims(name: str) -> str:
    """The prefix of a name's claims."""
    return f"{NAMES}{name}/"


def name_claim(name: str, number: int) -> str:
    """The key of a name's claim, numbered from 1."""
    return f"{name_claims(name)}{number}.json"


def parse_name_claim(key: str) -> tuple[str, int]:
    """The inverse of `name_claim`; ("", 0) for every other key."""
    match = re.fullmatch(rf"{NAMES}([^/]+)/([0-9]{{1,9}})\.json", key)
    return (match[1], int(match[2])) if match else ("", 0)


def named(run: str, name: str) -> str:
    """The key that records a run's name in the index."""
    return f"{NAMED}{run}/{name}"


def parse_named(key: str) -> tuple[str, str]:
    """The inverse of `named`.

    Raises:
        ValueError: the key is of another form.
    """
    _, run, name = key.split("/")
    return parse_run_id(run), name
