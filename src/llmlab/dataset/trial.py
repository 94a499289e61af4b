"""Try a model's chat template and tokenizer on every row that would be trained on: what is refused, and how long the rest is.

Rows are read as training reads them: logs that repeat each other are what `repeats` has left of them, and what an upload writes anew is
looked at as it would be written. Files go through on all cores, in parts, as in `check`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from llmlab.dataset.check import Part, parts
from llmlab.dataset.duplicates import SHOWN_PLACES
from llmlab.dataset.files import DatasetFiles
from llmlab.dataset.formats import objective_of
from llmlab.dataset.lengths import fitting, steps
from llmlab.dataset.rendering.model_files import ModelFiles
from llmlab.dataset.report import DatasetReport, Problem, quantile
from llmlab.dataset.suffixes import TEST, TRAIN
from llmlab.dataset.trying import MOST_KEPT, Tried, Trying, run
from llmlab.errors import LabError

WORTH_PROCESSES = 6 << 20
"""Bytes; smaller datasets are tried in this process."""
PART = 2 << 20
SHORT = 200
"""Characters of a refusal's words in a manifest."""

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Trial:
    """A template, tried. Counts are of the rows that are trained on, refusals of those held out as well.

    `model` and `revision` are the recipe's; both are empty where a `folder` was named instead.
    """

    model: str
    revision: str
    folder: str
    hash: str
    template: str
    """The SHA-256 of the recipe's own template; empty where it is the model's."""
    counted: bool
    """With the model's tokenizer; else estimated."""
    examples: int
    refused: int
    refusals: tuple[Problem, ...]
    sequences: int
    several: int
    """Conversations of which each answer is a sequence of its own, because the template shows earlier ones otherwise."""
    tokens: int
    trained_tokens: int
    median_tokens: int
    p95_tokens: int
    longest_tokens: int
    longest: str
    lengths: dict[str, int]
    """Examples by the tokens of their longest sequence, in steps."""
    tokens_by_length: dict[str, int]
    sequences_by_length: dict[str, int]
    over_places: tuple[str, ...]
    tools_ignored: int
    thoughts_ignored: int

    def said_of(self, report: DatasetReport) -> DatasetReport:
        """The report with the lengths of this trial instead of those of the contents alone."""
        over = self.examples - fitting(self.lengths, report.max_length) if report.max_length else 0
        return replace(
            report,
            tokens=self.tokens,
            trained_tokens=self.trained_tokens,
            median_tokens=self.median_tokens,
            p95_tokens=self.p95_tokens,
            longest_tokens=self.longest_tokens,
            longest=self.longest,
            lengths=self.lengths,
            tokenizer=self.model or self.folder if self.counted else None,
            over_length=over,
            over_places=self.over_places if over else (),
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The facts for the manifest."""
        lines = [{"at": problem.place, "reason": problem.reason[:SHORT]} for problem in self.refusals[:SHOWN_PLACES]]
        keys = ("model", "revision", "hash", "template", "refused", "sequences", "several", "tokens_by_length", "sequences_by_length")
        return {key: getattr(self, key) for key in keys} | {"refused_lines": lines}


def try_on(
    dataset: DatasetFiles,
    report: DatasetReport,
    files: ModelFiles,
    *,
    model: str = "",
    revision: str = "",
    progress: Progress = lambda _done, _total: None,
    processes: int | None = None,
) -> Trial:
    """Render and count every row of a checked dataset that would be trained on or held out.

    Raises:
        LabError: the template does more than any honest one, the tokenizer cannot be read, or a process was killed.
    """
    trying = Trying(files, objective_of(report.kinds), report.max_length or 0)
    parts_to_try = [part for part in _parts(dataset, report) if dataset.files[part.file].split != TEST]
    size = sum(part.size for part in parts_to_try)
    processes = processes or (1 if size < WORTH_PROCESSES else max(1, min(os.cpu_count() or 1, 8)))
    total, problems, over = Tried(), list[Problem](), list[str]()
    longest = ""
    base: Counter[int] = Counter()
    done = 0
    for part, tried in run(parts_to_try, trying, report.verdicts, processes):
        if tried.stopped:
            raise LabError(tried.stopped, "llmlab validate --help")
        name = dataset.files[part.file].name
        problems += [Problem(name, base[part.file] + number, reason) for number, reason in tried.refusals[: MOST_KEPT - len(problems)]]
        total.refused += tried.refused
        if dataset.files[part.file].split == TRAIN:
            if tried.longest[0] > total.longest[0]:
                longest = f"{name}:{base[part.file] + tried.longest[1]}"
            over += [f"{name}:{base[part.file] + number}" for number in tried.over[: SHOWN_PLACES - len(over)]]
            _add(total, tried)
        base[part.file] += tried.lines
        done += part.size
        progress(done, size)
    return Trial(
        model=model, revision=revision, folder="" if model else str(files.folder), hash=files.hash,
        template=sha256(files.template.encode()).hexdigest() if files.template else "",
        counted=trying.counted, examples=total.lengths.total(), refused=total.refused, refusals=tuple(problems),
        sequences=total.sequences, several=total.several, tokens=total.tokens, trained_tokens=total.trained,
        median_tokens=quantile(total.lengths, 0.5), p95_tokens=quantile(total.lengths, 0.95), longest_tokens=total.longest[0],
        longest=longest, lengths=steps(total.lengths), tokens_by_length=steps(total.tokens_at),
        sequences_by_length=steps(total.sequences_at), over_places=tuple(over), tools_ignored=total.tools_ignored,
        thoughts_ignored=total.thoughts_ignored,
    )  # fmt: skip


def _add(total: Tried, tried: Tried) -> None:
    for name in ("sequences", "several", "tokens", "trained", "tools_ignored", "thoughts_ignored"):
        setattr(total, name, getattr(total, name) + getattr(tried, name))
    for name in ("lengths", "tokens_at", "sequences_at"):
        getattr(total, name).update(getattr(tried, name))
    total.longest = max(total.longest, tried.longest, key=lambda place: place[0])


def _parts(dataset: DatasetFiles, report: DatasetReport) -> Iterator[Part]:
    """The files in parts; a file with rows left out is one part, since those rows are known by their line numbers."""
    judged = report.verdicts.files
    for part in parts(dataset.files, PART):
        if part.file not in judged:
            yield part
        elif not part.start:
            yield replace(part, start=0, end=None, size=dataset.files[part.file].size)
