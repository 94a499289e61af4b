"""The files that the trainer and the agent talk through, and the signal that a container is stopped with."""

import dataclasses
import signal
from pathlib import Path
from threading import Lock
from types import FrameType, TracebackType
from typing import Self

from llmlab import contract
from llmlab.clock import Clock
from llmlab.contract import ContractError, EndReason, Outcome, Progress, StopRequest, WorkFolder, build_timestamp
from llmlab.files import read_regular, replace_text
from llmlab.trainer.failures import Left

MOVED_SECONDS = 10.0
"""Shortest time between two reports of activity within a phase: an evaluation has a thousand batches a second."""


class Control:
    """The trainer's side of the control folder. Used as a context, it also listens for SIGTERM.

    A SIGTERM without a request means that the machine goes away: the run is to be started again, so it counts as an instance lost.
    Of several processes, the main one alone writes.
    """

    def __init__(self, work: WorkFolder, clock: Clock, *, speaks: bool = True, several: bool = False) -> None:
        self.work = work
        self.clock = clock
        self.speaks, self.several = speaks, several
        self.signalled = False
        self.last = Progress(phase="loading")
        self._reported_at = clock.now()
        self._writing = Lock()

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.signalled = True

    def request(self) -> StopRequest | None:
        """The request to stop, or None. A half-written file is read again at the next step."""
        try:
            return contract.load(StopRequest, read_regular(Path(self.work.request)))
        except FileNotFoundError:
            pass
        except ContractError:
            return None
        return StopRequest(EndReason.INSTANCE_LOST, build_timestamp(self.clock.now())) if self.signalled else None

    def raise_if_stop_requested(self) -> None:
        """Stop between phases, when there is nothing to save, if that was requested.

        Raises:
            Left: a stop was requested.
        """
        request = self.request()
        if request:
            raise Left(request)

    def progress(self, progress: Progress) -> None:
        with self._writing:
            self.last = progress
            if self.speaks:
                replace_text(Path(self.work.progress), contract.dump(progress))

    def phase(self, name: str) -> None:
        """A new phase, at the numbers of the last progress."""
        self.progress(dataclasses.replace(self.last, phase=name))

    def report_activity(self) -> None:
        """Report activity within a phase: a trainer that reports nothing new while the GPUs are idle is taken for stalled."""
        if (self.clock.now() - self._reported_at).total_seconds() >= MOVED_SECONDS:
            self._reported_at = self.clock.now()
            self.progress(dataclasses.replace(self.last, moves=self.last.moves + 1))

    def end(self, reason: EndReason, detail: str = "", hint: str = "") -> None:
        """Write the outcome; of several processes only the main one does."""
        if self.speaks:
            self._leave(reason, detail, hint)

    def fail(self, reason: EndReason, detail: str, hint: str) -> None:
        """Write the outcome of a failure. Of several processes the first to fail does: the others fail because of it."""
        if not (self.several and Path(self.work.outcome).exists()):
            self._leave(reason, detail, hint)

    def _leave(self, reason: EndReason, detail: str, hint: str) -> None:
        last = self.last
        code, values = contract.hints.parse(hint)
        outcome = Outcome(reason, detail, last.step, last.total_steps, last.loss, code, values)
        replace_text(Path(self.work.outcome), contract.dump(outcome), durable=True)
