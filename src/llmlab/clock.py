"""Time as an argument: the one home of `time.sleep` and `datetime.now`."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A source of the time, and a way to wait."""

    def now(self) -> datetime:
        """The current time, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when set or slept on: for tests and simulations."""

    def __init__(self, start: datetime) -> None:
        self.time = start

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def wait_until(check: Callable[[], bool], clock: Clock, *, limit_seconds: float, every_seconds: float = 2.0, in_a_row: int = 1) -> bool:
    """Whether `check` held `in_a_row` times running before the limit. What was waited for is the caller's to say."""
    deadline = clock.now().timestamp() + limit_seconds
    held = 0
    while True:
        held = held + 1 if check() else 0
        if held >= in_a_row:
            return True
        if clock.now().timestamp() + every_seconds > deadline:
            return False
        clock.sleep(every_seconds)
