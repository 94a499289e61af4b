"""Reports reads and writes as activity while the trainer loads a model, tokenises or saves: phases of many minutes without a step.

A model that downloads or is read from a slow disk keeps the GPUs idle for as long as a trainer that hangs would. What tells them apart is
the kernel's count of this process's reads and writes, which covers files that are mapped into memory. Where there is no such count, as
on a Mac, nothing is reported, and the agent waits for its `idle_minutes`.
"""

from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from llmlab.trainer.control import Control

COUNTS = Path("/proc/self/io")
"""https://docs.kernel.org/filesystems/proc.html#proc-pid-io-display-the-io-accounting-fields"""
COUNTED = ("rchar", "wchar", "read_bytes", "write_bytes")
"""By system call, and by what reached the disk: a mapped file shows only in the second."""
LOOK_SECONDS = 10.0
WORTH_BYTES = 1 << 20
"""Bytes between two looks that count as activity: less is what an idle process moves anyway, a log line or a wake-up."""
PHASES = {"loading", "tokenizing", "saving"}
"""Phases without steps. In the others a step or a batch is the activity, and a checkpoint that is written meanwhile must not count."""


class Moving:
    """Context whose thread looks at the counts every `LOOK_SECONDS`, in the main process."""

    def __init__(self, control: Control, counts: Path = COUNTS) -> None:
        self.control = control
        self.counts = counts
        self._before = self._bytes()
        self._left = Event()
        self._thread = Thread(target=self._watch, name="moving", daemon=True)

    def __enter__(self) -> None:
        if self.control.speaks and self.counts.exists():
            self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Report activity when enough bytes have moved since the last look."""
        now = self._bytes()
        if now - self._before >= WORTH_BYTES and self.control.last.phase in PHASES:
            self.control.report_activity()
        self._before = now

    def _watch(self) -> None:
        while not self._left.wait(LOOK_SECONDS):
            self.look()

    def _bytes(self) -> int:
        try:
            lines = self.counts.read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        counts = dict(line.split(": ") for line in lines)
        return sum(int(counts.get(name, 0)) for name in COUNTED)
