"""A reward tried on the data's own rows before a run: on each row's answer, and on a completion that says nothing."""

import importlib.util
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmlab.dataset import files
from llmlab.dataset.check import lines_of, parts
from llmlab.dataset.forms import to_example
from llmlab.dataset.prompts import Prompt, prompt_of
from llmlab.dataset.reasons import BadRow, LeftOut
from llmlab.dataset.suffixes import TEST
from llmlab.errors import DataError
from llmlab.ops.extras import install_command
from llmlab.rewards.scoring import Group, RewardLimits, Scorer

MOST_ROWS = 2_000
"""Most rows that are tried, from the beginning: each is a request to another process."""


@dataclass(frozen=True)
class RewardTrial:
    """What one reward said of the rows' answers, and of an empty completion of each, as means."""

    reward: str
    sha256: str
    """Of a file's text; empty for a reward of the list."""
    rows: int
    mean: float
    lowest: float
    highest: float
    empty_mean: float
    alike: int
    """Rows of which the answer and the empty completion got the same reward."""


@dataclass(frozen=True)
class RewardsTried:
    """All of them. `left_out` counts rows that have no prompt with an answer, `lacks` what this system keeps no reward from."""

    rewards: tuple[RewardTrial, ...]
    left_out: int
    more: bool
    """Whether there were more rows than are tried."""
    holds: tuple[str, ...]
    lacks: tuple[str, ...]


def missing(rewards: Sequence[Mapping[str, Any]], installed: Callable[[str], object] = importlib.util.find_spec) -> str:
    """What these rewards need that is not installed here, with the command that installs it; "" when nothing is."""
    if all(reward["kind"] != "json_schema" for reward in rewards) or installed("jsonschema") is not None:
        return ""
    return f"json_schema needs the package jsonschema: {install_command('rewards')}"


def try_rewards(
    path: Path,
    rewards: Sequence[Mapping[str, Any]],
    limits: RewardLimits,
    hint: str,
    progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> RewardsTried:
    """Ask each reward about the rows of a dataset that would be trained on.

    Raises:
        RewardFailed: one raised, took too long, or answered what is no number; the row is named.
        DataError: no row has a prompt and an answer.
    """
    numbers: list[list[tuple[float, float]]] = [[] for _ in rewards]
    left_out, more, rows = 0, False, 0
    with Scorer(rewards, limits, hint) as scorer:
        for place, prompt in _prompts(path):
            if prompt is None:
                left_out += 1
                continue
            if rows == MOST_ROWS:
                more = True
                break
            rows += 1
            answered = scorer.score(_group(prompt, prompt.answer, place))
            empty = scorer.score(_group(prompt, "", f"{place}, with an empty completion"))
            for pairs, (good,), (nothing,) in zip(numbers, answered, empty, strict=True):
                pairs.append((good, nothing))
            progress(rows, MOST_ROWS)
        if not rows:
            raise DataError(f"no row of {path} has a prompt and an answer that a reward could be tried on", "llmlab validate --forms")
        tried = tuple(_trial(scorer, at, pairs) for at, pairs in enumerate(numbers))
        return RewardsTried(tried, left_out, more, scorer.holds, scorer.lacks)


def _group(prompt: Prompt, text: str, place: str) -> Group:
    return Group(prompt.prompt, [prompt.completion(text)], prompt.answer, prompt.columns, place)


def _trial(scorer: Scorer, at: int, pairs: Sequence[tuple[float, float]]) -> RewardTrial:
    answers = [answered for answered, _ in pairs]
    return RewardTrial(
        reward=scorer.name(at),
        sha256=str(scorer.rewards[at].get("sha256", "")),
        rows=len(pairs),
        mean=statistics.fmean(answers),
        lowest=min(answers),
        highest=max(answers),
        empty_mean=statistics.fmean(empty for _, empty in pairs),
        alike=sum(answered == empty for answered, empty in pairs),
    )


def _prompts(path: Path) -> Iterator[tuple[str, Prompt | None]]:
    """Each row that is trained on with its place; None for one that has no prompt with an answer."""
    dataset = files.find(path)
    begins: dict[int, int] = {}
    for part in parts(dataset.files):
        file = dataset.files[part.file]
        if file.split == TEST:
            continue
        begin = begins.get(part.file, 0)
        for line in lines_of(part):
            begins[part.file] = begin + line.number
            if line.row is not None:
                place = f"{file.name}:{begin + line.number}"
                try:
                    yield place, prompt_of(line.row, to_example(line.row))
                except (BadRow, LeftOut):
                    yield place, None
