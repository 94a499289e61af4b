"""The sandbox's clock and its planned actions: real time plus an offset that a test may move forward."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

LOG = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One planned action. `due` in seconds since 1970 on the sandbox's clock."""

    due: float
    number: int
    action: Callable[[], object]


class Timetable:
    """Runs actions when the sandbox's clock reaches them, one at a time, on a thread of its own. It is also a `Clock`."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._entries: list[Entry] = []
        self._cancelled: set[int] = set()
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._running = False
        self._thread: threading.Thread | None = None

    def timestamp(self) -> float:
        """The time on the sandbox's clock, in seconds since 1970."""
        return time.time() + self.offset

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.timestamp(), UTC)

    def sleep(self, seconds: float) -> None:
        """Wait until `seconds` have passed on this clock, by themselves or by `advance`."""
        done = threading.Event()
        self.after(seconds, done.set)
        done.wait()

    def advance(self, seconds: float) -> None:
        """Move the clock forward. Actions that become due run before this returns, in order."""
        with self._changed:
            self.offset += seconds
            self._changed.notify_all()
        target = self.timestamp()
        done = threading.Event()
        self.at(target, done.set)
        done.wait(timeout=30)

    def after(self, seconds: float, action: Callable[[], object]) -> int:
        return self.at(self.timestamp() + seconds, action)

    def at(self, due: float, action: Callable[[], object]) -> int:
        """Plan an action; returns its number for `cancel`."""
        with self._changed:
            number = next(self._numbers)
            heapq.heappush(self._entries, Entry(due, number, action))
            self._changed.notify_all()
            return number

    def cancel(self, number: int) -> None:
        with self._changed:
            self._cancelled.add(number)

    def clear(self) -> None:
        """Drop all planned actions."""
        with self._changed:
            self._entries.clear()
            self._cancelled.clear()

    def start(self) -> None:
        self._running = True
        self._thread = threading.Thread(target=self._run, name="timetable", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._running = False
            self._changed.notify_all()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:
                LOG.exception("an action of the timetable failed")

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while self._running:
                if self._entries:
                    entry = self._entries[0]
                    wait = entry.due - self.timestamp()
                    if wait <= 0:
                        heapq.heappop(self._entries)
                        if entry.number in self._cancelled:
                            self._cancelled.discard(entry.number)
                            continue
                        return entry.action
                    self._changed.wait(min(wait, 60))
                else:
                    self._changed.wait(60)
        return None
