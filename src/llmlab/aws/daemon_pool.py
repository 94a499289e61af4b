"""A thread pool whose daemon threads do not delay the exit after a Ctrl-C.

`concurrent.futures` makes the interpreter wait for its threads at exit, and a thread in the middle of sending a large part may take
minutes. These are daemon threads: when something goes wrong, what they hold is dropped, and the process can end.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Job = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonThreadPool:
    """Submit jobs inside a `with` block; leaving it normally waits for all, leaving it by an exception waits for none."""

    def __init__(self, threads: int) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._dropped = Event()
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._dropped.set()
        for _ in self._threads:
            self._jobs.put(None)
        if kind is None:
            for thread in self._threads:
                thread.join()

    def submit(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        self._jobs.put((future, call, arguments, options))
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call, arguments, options = job
            if self._dropped.is_set():
                future.cancel()
                continue
            try:
                future.set_result(call(*arguments, **options))
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
                future.set_exception(error)
