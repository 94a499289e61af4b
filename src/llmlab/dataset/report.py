"""The report of a dataset of which every line was read: the facts behind `validate`, the manifest and the launch preview."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from llmlab.dataset.duplicates import LINE_BITS, LINE_MASK, SHOWN_PLACES, Digests
from llmlab.dataset.files import DatasetFiles, Passed
from llmlab.dataset.formats import Format, Kind
from llmlab.dataset.lengths import steps
from llmlab.dataset.reasons import REPEATED
from llmlab.dataset.repeats import LoggedRequests, Verdicts, judge
from llmlab.dataset.suffixes import TEST, TRAIN, VALID
from llmlab.dataset.tally import MOST_KEPT, Tally, settle

LENGTHS = "lengths"
"""The manifest's fact that counts examples by their length, in steps."""
LABELS = "labels"
"""The manifest's fact that counts unpaired preferences by their label, `good` and `bad`."""
OBJECTIVE = "objective"
"""The manifest's fact with the objective that the dataset was uploaded for, if one was named."""
SPLITS = "splits"
"""The manifest's fact with the splits of a dataset: of each its `files`, and the number of its `examples`."""
TEMPLATE = "template"
"""The manifest's fact with the chat template that was tried on its rows and the outcome; in a model's manifest, its own `hash`."""
SKIP_BAD = "skip_bad"
"""The manifest's fact that bad lines were accepted: the trainer leaves out and counts rows that the model's template refuses as well."""


@dataclass(frozen=True)
class Problem:
    """A line that cannot be trained on. Line 0 is the whole file."""

    file: str
    line: int
    reason: str

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class FileFacts:
    """What one file holds; `size` in bytes."""

    name: str
    size: int
    examples: int
    bad: int
    blank: int
    formats: dict[str, int]
    split: str = TRAIN


@dataclass(frozen=True)
class DatasetReport:
    """The facts of a checked dataset. Counts are of training data, except those of lines and kinds.

    Token figures are measured when `tokenizer` is set, else estimated.
    """

    files: tuple[FileFacts, ...]
    examples: int
    bad: int
    blank: int
    formats: dict[str, int]
    kinds: dict[str, int]
    with_tools: int
    cut: int
    """Answers cut off at the limit of their length, which are learned without their end."""
    skipped: dict[str, int]
    """Rows of logs that teach nothing new, by name: failed requests, repeated ones, and others."""
    skipped_places: tuple[Problem, ...]
    unread: dict[str, int]
    """Keys that are neither read nor known to be harmless, and how many rows have them."""
    answers_added: int
    """Answers of repeated requests that carry loss in the request that was kept."""
    size: int
    tokens: int
    trained_tokens: int
    median_tokens: int
    p95_tokens: int
    longest_tokens: int
    longest: str
    """The longest example, as file:line."""
    duplicates: int
    duplicate_places: tuple[str, ...]
    """`file:line = file:line` for the first of them."""
    empty_answers: int
    empty_places: tuple[str, ...]
    max_length: int | None
    over_length: int
    over_places: tuple[str, ...]
    tokenizer: str | None
    splits: dict[str, int]
    """Examples of each split of the dataset, where file names give several: `valid` is held out, `test` is never trained on."""
    passed: tuple[Passed, ...]
    """Files and folders that do not belong to the dataset, and why."""
    problems: tuple[Problem, ...]
    """The first ten thousand; `bad` counts all."""
    lengths: dict[str, int] = field(default_factory=dict)
    """The number of examples by their tokens, in steps."""
    labels: dict[str, int] = field(default_factory=dict)
    """The number of unpaired preferences whose answer is `good` and `bad`."""
    verdicts: Verdicts = field(default_factory=Verdicts, repr=False, compare=False)
    """Which rows of logs repeat others, for writing files anew."""

    @property
    def good(self) -> bool:
        return not self.bad and self.examples > 0

    @property
    def trained_share(self) -> float:
        """The share of all tokens that carries loss."""
        return self.trained_tokens / self.tokens if self.tokens else 0.0

    @property
    def mixed(self) -> bool:
        """Whether there are kinds of examples that no objective learns from together: chats and texts go together, others do not."""
        return len(self.kinds) > 1 and not self.kinds.keys() <= {Kind.CHAT, Kind.TEXT}

    @property
    def document(self) -> dict[str, Any]:
        """The fields that are printed as JSON."""
        return {key: value for key, value in vars(self).items() if key not in {"verdicts", LENGTHS}}

    @property
    def facts(self) -> dict[str, Any]:
        """The facts for the manifest, which are only counts."""
        keys = ("examples", "formats", "kinds", "with_tools", "tokens", "trained_tokens", "median_tokens", "p95_tokens", "longest_tokens")
        more = ("duplicates", "empty_answers", "tokenizer", "cut", "skipped", "unread", LENGTHS)
        labels = {LABELS: self.labels} if self.labels else {}
        return {key: getattr(self, key) for key in keys + more} | labels


@dataclass
class Summing:
    """Adds up the tallies of a dataset's parts, in order. A context manager, because digests may wait in a temporary file."""

    dataset: DatasetFiles
    max_length: int | None
    tokenizer: Path | None
    total: Tally = field(default_factory=Tally)
    problems: list[Problem] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)
    requests: list[tuple[int, int, LoggedRequests]] = field(default_factory=list)
    longest: str = ""

    def __enter__(self) -> Self:
        self._files = [Tally() for _ in self.dataset.files]
        self._digests = Digests()
        return self

    def __exit__(self, *_: object) -> None:
        self._digests.close()

    def add(self, file: int, part: Tally) -> None:
        """Add the tally of the next part of a file."""
        total, own, name = self.total, self._files[file], self.dataset.files[file].name
        base = own.lines
        for counts in (own, total):
            counts.lines += part.lines
            counts.blank += part.blank
            counts.bad += part.bad
        total.skipped.update(part.skipped)
        total.unread.update(part.unread)
        for number, why, reason in part.skipped_lines[: SHOWN_PLACES - len(self.skipped)]:
            self.skipped.append(Problem(name, number and base + number, f"{reason} ({why})"))
        if part.requests.numbers:
            self.requests.append((file, base, part.requests))
        for number, reason in part.problems[: MOST_KEPT - len(self.problems)]:
            self.problems.append(Problem(name, number and base + number, reason))
        self._count(file, base, part)

    def _count(self, file: int, base: int, part: Tally) -> None:
        """Count the examples of a part; those that are not trained on count only in their own file."""
        total, own, name = self.total, self._files[file], self.dataset.files[file].name
        own.formats.update(part.formats)
        self._digests.add(part.digests, part.numbers, file, base)
        if self.dataset.files[file].split != TRAIN:
            return
        total.formats.update(part.formats)
        for places, numbers in ((self.empty, part.empty_lines), (self.over, part.over_lines)):
            places.extend(f"{name}:{base + number}" for number in numbers[: SHOWN_PLACES - len(places)])
        if part.longest[0] > total.longest[0]:
            total.longest = part.longest
            self.longest = f"{name}:{base + part.longest[1]}"
        total.with_tools += part.with_tools
        total.cut += part.cut
        total.tokens += part.tokens
        total.trained_tokens += part.trained_tokens
        total.lengths.update(part.lengths)
        total.labels.update(part.labels)
        total.over += part.over
        total.empty += part.empty

    def _settle(self) -> Verdicts:
        """Count the rows of logs, now that all of them are known."""
        verdicts = Verdicts()
        for split in (TRAIN, VALID, TEST):
            some, kept = judge([part for part in self.requests if self.dataset.files[part[0]].split == split])
            verdicts.left_out |= some.left_out
            verdicts.more |= some.more
            for (file, base), rows in groupby(kept, key=lambda row: row[:2]):
                self._count(file, base, settle([row for _, _, row in rows], self.max_length))
        if repeated := sum(map(len, verdicts.left_out.values())):
            self.total.skipped[REPEATED] += repeated
        self.requests.clear()
        return verdicts

    def report(self) -> DatasetReport:
        total = self.total
        verdicts = self._settle()
        repeats, pairs = self._digests.repeated()
        kinds: Counter[str] = Counter()
        splits: Counter[str] = Counter()
        for file, own in zip(self.dataset.files, self._files, strict=True):
            splits[file.split] += sum(own.formats.values())
            for form, count in own.formats.items():
                kinds[Format(form).kind] += count if file.split != TEST else 0
        return DatasetReport(
            files=tuple(
                FileFacts(file.name, file.size, sum(own.formats.values()), own.bad, own.blank, _plain(own.formats), file.split)
                for file, own in zip(self.dataset.files, self._files, strict=True)
            ),
            examples=sum(total.formats.values()),
            bad=total.bad,
            blank=total.blank,
            formats=_plain(total.formats),
            kinds=_plain(+kinds),
            splits=dict(splits) if len(splits) > 1 else {},
            with_tools=total.with_tools,
            cut=total.cut,
            skipped=_plain(total.skipped),
            skipped_places=tuple(self.skipped),
            unread=_plain(total.unread),
            answers_added=sum(len(more.trained) for file in verdicts.more.values() for more in file.values()),
            size=self.dataset.size,
            tokens=total.tokens,
            trained_tokens=total.trained_tokens,
            median_tokens=quantile(total.lengths, 0.5),
            p95_tokens=quantile(total.lengths, 0.95),
            longest_tokens=total.longest[0],
            longest=self.longest,
            duplicates=repeats,
            duplicate_places=tuple(f"{self._place(later)} = {self._place(first)}" for later, first in pairs),
            empty_answers=total.empty,
            empty_places=tuple(self.empty),
            max_length=self.max_length,
            over_length=total.over,
            over_places=tuple(self.over),
            tokenizer=str(self.tokenizer) if self.tokenizer else None,
            passed=self.dataset.passed,
            problems=tuple(self.problems),
            lengths=steps(total.lengths),
            labels=_plain(total.labels),
            verdicts=verdicts,
        )

    def _place(self, place: int) -> str:
        return f"{self.dataset.files[place >> LINE_BITS].name}:{place & LINE_MASK}"


def _plain(counts: Counter[str]) -> dict[str, int]:
    return {str(key): count for key, count in counts.most_common()}


def quantile(counts: Counter[int], share: float) -> int:
    """The smallest length that at least `share` of the examples do not exceed; 0 when there are none."""
    wanted = share * counts.total()
    seen = 0
    for length in sorted(counts):
        seen += counts[length]
        if seen >= wanted:
            return length
    return 0
