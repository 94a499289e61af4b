"""Work beside the agent's watch, so that a slow upload never delays hearing of an interruption."""

import threading
from collections.abc import Callable
from typing import Protocol

from llmlab.agent.job import Say
from llmlab.agent.s3_store import StoreError

LOOK_SECONDS = 1.0


class Background(Protocol):
    """Named jobs, each running once at a time."""

    def start(self, name: str, work: Callable[[], object]) -> None:
        """Start `work`, unless the last of that name still runs."""
        ...

    def within(self, name: str, seconds: float, work: Callable[[], object], going: Callable[[], bool] = lambda: True) -> bool:
        """Wait for the last job of that name, then do `work`; whether both were done in time and while `going()`, called every second.

        A job that is late goes on and is not waited for.
        """
        ...


class Threads:
    """A daemon thread for each name: none of them keeps the process alive."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self._threads: dict[str, threading.Thread] = {}

    def start(self, name: str, work: Callable[[], object]) -> None:
        last = self._threads.get(name)
        if last is None or not last.is_alive():
            self._threads[name] = threading.Thread(target=self._guarded, args=(name, work), name=name, daemon=True)
            self._threads[name].start()

    def within(self, name: str, seconds: float, work: Callable[[], object], going: Callable[[], bool] = lambda: True) -> bool:
        last = self._threads.get(name)

        def both() -> None:
            if last is not None:
                last.join()
            self._guarded(name, work)

        thread = threading.Thread(target=both, name=name, daemon=True)
        self._threads[name] = thread
        thread.start()
        left = max(0.0, seconds)
        while left > 0 and thread.is_alive() and going():
            thread.join(min(LOOK_SECONDS, left))
            left -= LOOK_SECONDS
        return not thread.is_alive()

    def _guarded(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except (StoreError, OSError) as error:
            self.say(f"{name}: {error}")
        except Exception as error:  # noqa: BLE001 - the next time it may pass, and the watch goes on either way
            self.say(f"{name}: {type(error).__name__}: {error}")
