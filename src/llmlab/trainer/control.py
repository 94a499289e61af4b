"""The files that the trainer and the agent talk through, and the signal that a container is stopped with."""

import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from llmlab import contract
from llmlab.clock import Clock
from llmlab.contract import ContractError, EndReason, Outcome, Progress, Request, WorkFolder, build_timestamp
from llmlab.files import replace_text
from llmlab.trainer.endings import Left


class Control:
    """The trainer's side of the control folder. Used as a context, it also listens for SIGTERM.

    A SIGTERM without a request means that the machine goes away: the run is to be started again, so it counts as an instance lost.
    Of several processes, the first alone speaks.
    """

    def __init__(self, work: WorkFolder, clock: Clock, *, speaks: bool = True, several: bool = False) -> None:
        self.work = work
        self.clock = clock
        self.speaks, self.several = speaks, several
        self.signalled = False
        self.last = Progress(phase="loading")

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.signalled = True

    def request(self) -> Request | None:
        """What somebody asks for, or None. A half-written file is read again at the next step."""
        try:
            return contract.load(Request, Path(self.work.request).read_bytes())
        except FileNotFoundError:
            pass
        except ContractError:
            return None
        return Request(EndReason.INSTANCE_LOST, build_timestamp(self.clock.now())) if self.signalled else None

    def leave_if_asked(self) -> None:
        """Between phases, when there is nothing to save.

        Raises:
            Left: somebody asked.
        """
        request = self.request()
        if request:
            raise Left(request)

    def progress(self, progress: Progress) -> None:
        self.last = progress
        if self.speaks:
            replace_text(Path(self.work.progress), contract.dump(progress))

    def phase(self, name: str) -> None:
        """A new phase, at the numbers of the last progress."""
        last = self.last
        self.progress(
            Progress(
                name,
                last.step,
                last.total_steps,
                last.epoch,
                last.loss,
                last.learning_rate,
                last.tokens,
                last.tokens_per_second,
                last.seconds,
            )
        )

    def end(self, reason: EndReason, detail: str = "", hint: str = "") -> None:
        """Leave the outcome; of several processes only the first does."""
        if self.speaks:
            self._leave(reason, detail, hint)

    def fail(self, reason: EndReason, detail: str, hint: str) -> None:
        """Leave the outcome of a failure. Of several processes the first that fails does: the others fail because of it."""
        if not (self.several and Path(self.work.outcome).exists()):
            self._leave(reason, detail, hint)

    def _leave(self, reason: EndReason, detail: str, hint: str) -> None:
        last = self.last
        outcome = Outcome(reason, detail, hint, last.step, last.total_steps, last.loss)
        replace_text(Path(self.work.outcome), contract.dump(outcome), durable=True)
