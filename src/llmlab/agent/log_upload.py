"""The logs of this machine as S3 keeps them: all of a usual one, the beginning and the end of a flood.

The host writes them: `NAME.log`, and when that is full, files `NAME.log.NUMBER` of which the last two stay.
"""

from dataclasses import dataclass, field
from pathlib import Path

from llmlab import contract
from llmlab.contract import LogStream
from llmlab.files import size_of

STREAMS = (LogStream.SETUP, LogStream.TRAINING, LogStream.AGENT)
RARER = 10
"""Logs are uploaded again after a tenth of the looks there have been: a day's log has some sixty versions, however it grows."""


@dataclass(frozen=True)
class Log:
    """One log. `files` are its parts as (path, where it begins in the log, bytes), first to last."""

    files: tuple[tuple[Path, int, int], ...]

    @property
    def total(self) -> int:
        return max((begin + size for _, begin, size in self.files), default=0)

    def last(self, count: int) -> bytes:
        """Its last bytes, as far as they are still there."""
        parts: list[bytes] = []
        for path, _, size in reversed(self.files):
            if count <= 0:
                break
            part = _read(path, max(0, size - count), size)
            count -= len(part)
            parts.append(part)
        return b"".join(reversed(parts))

    def kept(self) -> bytes:
        """The bytes for S3: the whole log, or the beginning and the end of a long one."""
        if self.total <= contract.LOG_KEPT_BYTES:
            return b"".join(_read(path, 0, size) for path, _, size in self.files)
        half = contract.LOG_KEPT_BYTES // 2
        path, _, size = self.files[0]
        left_out = f"\n... {self.total - 2 * half} bytes are left out here ...\n".encode()
        return _read(path, 0, min(half, size)) + left_out + self.last(half)


def log(folder: str, stream: LogStream) -> Log:
    """The log as it is now."""
    name = f"{stream}.log"
    head = Path(folder, name)
    rest = sorted(path for path in Path(folder).glob(f"{name}.*") if path.suffix[1:].isdecimal())
    first = size_of(head)
    begins = [contract.LOG_HEAD_BYTES + int(path.suffix[1:]) * contract.LOG_BLOCK_BYTES for path in rest]
    parts = [(path, begin, size_of(path)) for path, begin in zip(rest, begins, strict=True)]
    return Log(tuple(part for part in [(head, 0, min(first, contract.LOG_HEAD_BYTES) if rest else first), *parts] if part[2]))


def _read(path: Path, begin: int, end: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(begin)
            return stream.read(end - begin)
    except OSError:
        return b""


@dataclass
class LogUploadSchedule:
    """Decides which looks at the logs upload them: every one at first, then ever rarer."""

    looks: int = 0
    due: int = 0
    sent: dict[LogStream, Log] = field(default_factory=dict)

    def next(self) -> bool:
        self.looks += 1
        if self.looks <= self.due:
            return False
        self.due = self.looks + self.looks // RARER
        return True
