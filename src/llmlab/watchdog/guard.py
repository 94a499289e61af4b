"""Work on many runs and instances, each by itself: what one of them holds keeps nobody from the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llmlab.watchdog.tools import Log

MOST_WORDS = 500
"""Characters of an error in the log: what was read may be quoted in it."""


@dataclass
class Guard:
    """`failed` are the errors so far, each of which is in the log."""

    log: Log
    failed: list[Exception] = field(default_factory=list)

    @contextmanager
    def each(self, **facts: object) -> Iterator[None]:
        """Do the block; an error in it is noted, and what follows is done all the same. `facts` say in the log whom it is about."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about this one alone
            self.log("failed", **facts, why=f"{type(error).__name__}: {error}"[:MOST_WORDS])
            self.failed.append(error)

    def end(self) -> None:
        """Fail if anything has failed, so that Lambda calls again and the alarm on its errors sees it.

        Raises:
            Exception: the first that was noted.
        """
        if self.failed:
            raise self.failed[0]
