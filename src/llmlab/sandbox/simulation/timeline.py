"""The one clock of a schedule, and what is to happen when."""

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

Action = Callable[[], object]


class Due(NamedTuple):
    """`number` keeps what is due at the same moment in the order it was planned in."""

    moment: float
    number: int
    action: Action


class Timeline:
    """Is a `Clock`: to sleep on it is to let everything happen that is due meanwhile, also from within something that happens.

    That is how two programs run at once without threads: what calls AWS sleeps for as long as the call takes.
    """

    def __init__(self, start: datetime) -> None:
        self.moment = start.timestamp()
        self._due: list[Due] = []
        self._numbers = itertools.count()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.moment, UTC)

    def sleep(self, seconds: float) -> None:
        self.run_until(self.moment + seconds)

    def at(self, moment: float, action: Action) -> None:
        """Plan something for a moment, in seconds since 1970; what is past comes at once."""
        heapq.heappush(self._due, Due(max(moment, self.moment), next(self._numbers), action))

    def after(self, seconds: float, action: Action) -> None:
        self.at(self.moment + seconds, action)

    def run_until(self, moment: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen that is due until then, or until `enough`."""
        while self._due and self._due[0].moment <= moment and not enough():
            due = heapq.heappop(self._due)
            self.moment = max(self.moment, due.moment)
            due.action()
        if not enough():
            self.moment = max(self.moment, moment)
