"""The simulated clock of a schedule, and its queue of planned actions."""

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

Action = Callable[[], object]


class Due(NamedTuple):
    """A planned action. `number` keeps actions of the same moment in the order in which they were planned."""

    moment: float
    number: int
    action: Action


class Timeline:
    """A simulated `Clock`: sleeping runs all actions that are due meanwhile, also from within another action.

    That is how two programs run at once without threads: a program that calls AWS sleeps for as long as the call takes.
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
        """Plan an action for a moment in seconds since 1970; one in the past runs next."""
        heapq.heappush(self._due, Due(max(moment, self.moment), next(self._numbers), action))

    def after(self, seconds: float, action: Action) -> None:
        self.at(self.moment + seconds, action)

    def run_until(self, moment: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Run all actions that are due until a moment, or until `enough` returns True."""
        while self._due and self._due[0].moment <= moment and not enough():
            due = heapq.heappop(self._due)
            self.moment = max(self.moment, due.moment)
            due.action()
        if not enough():
            self.moment = max(self.moment, moment)
