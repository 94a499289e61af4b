"""The documents of runs in the outputs bucket: spec, attempts and their ends, markers, and the list of runs that are over."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Marker, Notice, RunKeys, Spec, Stop
from llmlab.lifecycle.object_store import ObjectStore

NOTIFIED = "told-"
WATCHDOG = "watchdog"
"""`Attempt.by` of attempts that the watchdog starts."""


@dataclass(frozen=True)
class Records:
    """All documents of one run: `attempts` in order, `ends` by number, `notified` the messages sent about each attempt."""

    spec: Spec
    attempts: tuple[Attempt, ...]
    ends: dict[int, AttemptEnd] = field(default_factory=dict)
    marker: Marker | None = None
    stop: Stop | None = None
    notified: frozenset[tuple[int, Notice]] = frozenset()

    @property
    def over(self) -> bool:
        """Whether the newest attempt has a marker; a marker of an earlier attempt, which was resumed, does not count."""
        return self.marker is not None and bool(self.attempts) and self.marker.attempts >= self.attempts[-1].number


@dataclass(frozen=True)
class AttemptDocuments:
    """The claims and the ends of a run's attempts, each in order, and the notices of which the keys tell."""

    claims: tuple[Attempt, ...]
    ends: tuple[AttemptEnd, ...]
    notified: frozenset[tuple[int, Notice]]


@dataclass(frozen=True)
class Ended:
    """How a run ended, and when, as the listing of `ended/` tells it."""

    reason: EndReason
    at: datetime


Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or that of a pool of threads."""


class RunDocuments(ObjectStore):
    """The outputs bucket."""

    def records(self, run: str) -> Records | None:
        """Load all documents of a run; None when it has no spec."""
        keys = RunKeys(run)
        spec = self.load(Spec, keys.spec)
        if spec is None:
            return None
        attempts = self.attempts(run)
        marker = self.load(Marker, keys.success) or self.load(Marker, keys.failure)
        ends = {end.number: end for end in attempts.ends}
        return Records(spec, attempts.claims, ends, marker, self.load(Stop, keys.stop), attempts.notified)

    def attempts(self, run: str, each: Each = map) -> AttemptDocuments:
        """The documents of a run's attempts; `each` reads them one after another, or side by side."""
        keys = RunKeys(run)
        documents = sorted(contract.parse_attempt(key) for key in self.keys(keys.attempts))
        wanted: list[tuple[type[Attempt | AttemptEnd], str]] = [
            *((Attempt, keys.attempt(number)) for number, kind in documents if kind == "claim"),
            *((AttemptEnd, keys.attempt_end(number)) for number, kind in documents if kind == "end"),
        ]
        loaded = list(each(lambda document: self.load(*document), wanted))
        return AttemptDocuments(
            tuple(document for document in loaded if isinstance(document, Attempt)),
            tuple(document for document in loaded if isinstance(document, AttemptEnd)),
            frozenset((number, Notice(kind.removeprefix(NOTIFIED))) for number, kind in documents if kind.startswith(NOTIFIED)),
        )

    def runs(self) -> list[str]:
        """Every run id of a lab, oldest first: one call a thousand runs."""
        return [name for name in self.folders(contract.RUNS) if contract.RUN_ID.fullmatch(name)]

    def ended(self, run: str = "") -> dict[str, Ended]:
        """How each run that is over ended, by run id: one call a thousand runs. Keys of an unknown form are left out."""
        endings: dict[str, Ended] = {}
        for page in self.pages(Prefix=f"{contract.ENDED}{run}/" if run else contract.ENDED):
            for item in page.get("Contents", []):
                try:
                    name, reason = contract.parse_ended(str(item["Key"]))
                except ValueError:
                    continue
                if name not in endings or endings[name].at < item["LastModified"]:
                    endings[name] = Ended(reason, item["LastModified"])
        return endings

    def over(self) -> set[str]:
        """The ids of the runs that have a key under `ended/`, also one whose reason this version does not know."""
        return {key.split("/")[1] for key in self.keys(contract.ENDED) if key.count("/") == 2}

    def checkpoint(self, run: str) -> int:
        """The newest step with a complete checkpoint, 0 without one."""
        keys = RunKeys(run)
        names = (key.removeprefix(keys.checkpoints).split("/") for key in self.keys(keys.checkpoints))
        steps = (contract.parse_checkpoint_name(parts[0]) for parts in names if parts[1:] == [contract.COMPLETE])
        return max((step for step in steps if step is not None), default=0)
