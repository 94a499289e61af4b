"""Error isolation between runs and instances: an error of one does not keep the watchdog from the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llmlab.watchdog.dependencies import Log

MOST_WORDS = 500
"""Characters of an error in the log, as it may quote a document."""


@dataclass
class Guard:
    """Collects errors. `failed` are those so far, each of which is logged."""

    log: Log
    failed: list[Exception] = field(default_factory=list)

    @contextmanager
    def each(self, **facts: object) -> Iterator[None]:
        """Run the block; an error in it is logged with `facts` and kept for `end`, and not raised."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about this one alone
            self.log("failed", **facts, why=f"{type(error).__name__}: {error}"[:MOST_WORDS])
            self.failed.append(error)

    def end(self) -> None:
        """Raise if any block has failed, so that Lambda retries and the alarm on its errors fires.

        Raises:
            Exception: the first error.
        """
        if self.failed:
            raise self.failed[0]
