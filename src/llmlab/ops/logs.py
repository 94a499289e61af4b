"""The logs of a run: from CloudWatch while they are there, else from what the agent left in S3; all attempts, in order.

Both outlive the instance. Following ends when the run is over and nothing more comes. Output of the instance's own programs while it
starts (`plumbing`) is left out, unless the setup log is asked for by name: it helps only who looks for a fault.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from llmlab import contract
from llmlab.aws import documents, logs
from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.contract import LogStream, RunKeys
from llmlab.errors import LabError, UsageError

STREAMS = (LogStream.SETUP, LogStream.TRAINING, LogStream.AGENT)
EVERY_SECONDS = 2
QUIET_ROUNDS = 3
"""After the end, CloudWatch may still bring lines: following stops when so many rounds have brought none."""
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ")
PLUMBING = re.compile(r"[a-z ]+: [0-9]+ s$|switches off in |cloud-init: ")
"""Lines of the setup log's own that are about the machine: how long a phase took, its power-off timer, its boot."""
FOLLOWED = 20
"""Earlier lines with which following begins, where the user does not say how many."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SILENT_HOURS = 24 * 8
"""Hours for which a run may be followed: those of the longest run, and a day."""


@dataclass(frozen=True)
class LogLine:
    """One line. `at` is None where the source keeps no time."""

    at: datetime | None
    stream: str
    attempt: int
    text: str
    plumbing: bool = False
    """Whether it is a word of a program of the machine, which only who looks for a fault wants."""


@dataclass(frozen=True)
class LogQuery:
    """Which log lines to read: of these streams, not older than `since`, the last `tail` (None: all), with `plumbing` or without."""

    streams: tuple[LogStream, ...] = STREAMS
    since: datetime | None = None
    tail: int | None = None
    plumbing: bool = False

    def last(self, lines: Sequence[LogLine]) -> list[LogLine]:
        """The last `tail` of these lines, without plumbing where the query leaves it out."""
        kept = [line for line in lines if self.plumbing or not line.plumbing]
        return kept if self.tail is None else kept[max(0, len(kept) - self.tail) :]


def parse_since(text: str, now: datetime) -> datetime:
    """The moment that lies `10m`, `2h`, `1d` or `30s` before now.

    Raises:
        UsageError: anything else.
    """
    span = re.fullmatch(r"([0-9]{1,9})\s*([smhd])", text.strip())
    try:
        if span:
            return now - timedelta(seconds=int(span[1]) * UNITS[span[2]])
    except OverflowError:  # before the year 1
        pass
    raise UsageError(f"--since takes a number and one of s, m, h, d, not {text}", "llmlab logs --since 10m")


def read(aws: Aws, run: str, query: LogQuery) -> list[LogLine]:
    """The log lines of a run that the query selects, by time.

    Raises:
        LabError: the run has no log lines anywhere.
    """
    lines = _all(aws, run, query)
    if not lines and query.since is None:
        raise LabError(f"there are no log lines of {run} yet", f"llmlab status {run}")
    return query.last(lines)


def _all(aws: Aws, run: str, query: LogQuery) -> list[LogLine]:
    with ThreadPoolExecutor(len(query.streams)) as pool:
        by_stream = list(pool.map(lambda stream: _stream(aws, run, stream, query.since), query.streams))
    return sorted((line for part in by_stream for line in part), key=_order)


def _order(line: LogLine) -> tuple[int, datetime, int]:
    """By time; lines without one by attempt, then as a machine goes through its streams. Sorting keeps the order within a stream."""
    epoch = contract.run_started("19700101-000000-0000")
    place = next((index for index, stream in enumerate(STREAMS) if stream == line.stream), len(STREAMS))
    return (line.attempt if line.at is None else 0), line.at or epoch, place


def _stream(aws: Aws, run: str, stream: LogStream, since: datetime | None) -> list[LogLine]:
    """One stream of all attempts: CloudWatch, or S3 when CloudWatch has nothing (its retention is over, or its agent never started)."""
    reader = Reader(stream)
    lines = [reader.line(line.stream, line.text, line.at) for line in logs.read(aws, aws.names.log_group(stream), f"{run}/", since)]
    return lines if lines or since else list(_archived(aws, run, stream))


@dataclass
class Reader:
    """Gives each line of one log its time and its place. `_last` holds the time of the newest line of each attempt."""

    stream: LogStream
    _last: dict[str, datetime] = field(default_factory=dict)

    def line(self, name: str, text: str, heard: datetime | None) -> LogLine:
        """One line of the attempt that `name` ends with; `heard` is when CloudWatch received it.

        Setup and agent begin a line of their own with its time, which is nearer to the truth. What has none there is what a program
        said meanwhile: its time is that of the line before it. No line is earlier than the one before it.
        """
        at, words = stamped(text)
        own = self.stream is not LogStream.TRAINING
        before = self._last.get(name)
        time = at or (before or heard if own else heard)
        if time and before:
            time = max(time, before)
        if time:
            self._last[name] = time
        plumbing = self.stream is LogStream.SETUP and (at is None or bool(PLUMBING.match(words)))
        return LogLine(time, str(self.stream), _number(name.rpartition("/")[2]), words, plumbing)


def _number(attempt: str) -> int:
    """An attempt's number out of a name, 0 where it has none."""
    return int(attempt) if re.fullmatch("[0-9]{1,9}", attempt) else 0


def stamped(text: str) -> tuple[datetime | None, str]:
    """The time that a line of setup or agent begins with, nearer to the truth than when CloudWatch received it, and the rest of it."""
    matched = STAMP.match(text)
    try:
        return (contract.parse_timestamp(matched[1]), text[matched.end() :]) if matched else (None, text)
    except ValueError:  # it looks like a time, and is none
        return None, text


def _archived(aws: Aws, run: str, stream: LogStream) -> Iterable[LogLine]:
    bucket, prefix = aws.names.outputs_bucket, RunKeys(run).logs
    for key in sorted(documents.keys_under(aws, bucket, prefix)):
        attempt, _, name = key.removeprefix(prefix).partition("/")
        if _number(attempt) and name == f"{stream}.log":
            reader = Reader(stream)
            for line in documents.read_text(aws, bucket, key).splitlines():
                yield reader.line(attempt, line, None)


def follow(aws: Aws, run: str, query: LogQuery, clock: Clock, write: Callable[[LogLine], None]) -> None:
    """Write the last lines that exist, then new ones, until the run is over and its logs are quiet.

    Raises:
        LabError: the run is not over after the longest time that one may take.
    """
    followers = {stream: logs.Follower(aws, aws.names.log_group(stream), f"{run}/", query.since) for stream in query.streams}
    readers = {stream: Reader(stream) for stream in query.streams}
    limit = clock.now() + timedelta(hours=SILENT_HOURS)
    quiet, first = 0, query
    with ThreadPoolExecutor(len(query.streams) + 1) as pool:
        while clock.now() < limit:
            ended_future = pool.submit(documents.ended, aws, aws.names.outputs_bucket, run)
            rounds = {stream: pool.submit(follower.more) for stream, follower in followers.items()}
            new_lines = [(stream, line) for stream, future in rounds.items() for line in future.result()]
            lines = sorted((readers[stream].line(line.stream, line.text, line.at) for stream, line in new_lines), key=_order)
            for line in first.last(lines):
                write(line)
            if lines:
                first = replace(query, tail=None)
            quiet = 0 if lines or not ended_future.result() else quiet + 1
            if quiet >= QUIET_ROUNDS or (quiet and first is query):
                if first is query:
                    for line in read(aws, run, replace(query, since=None)):
                        write(line)
                return
            clock.sleep(EVERY_SECONDS)
    raise LabError(f"{run} was not over after {SILENT_HOURS} hours of following it", f"llmlab status {run}")
