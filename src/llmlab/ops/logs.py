"""The logs of a run: from CloudWatch while they are there, else from what the agent left in S3; all attempts, in order.

Both outlive the instance. Following ends when the run is over and nothing more comes.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SILENT_HOURS = 24 * 8
"""The longest a run may be followed: the longest one, and a day."""


@dataclass(frozen=True)
class LogLine:
    """One line. `at` is None where the source keeps no time."""

    at: datetime | None
    stream: str
    attempt: int
    text: str


def parse_since(text: str, now: datetime) -> datetime:
    """`10m`, `2h`, `1d`, `30s` ago.

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


def read(aws: Aws, run: str, streams: Sequence[LogStream] = STREAMS, since: datetime | None = None) -> list[LogLine]:
    """Every line there is, by time.

    Raises:
        LabError: there is none anywhere.
    """
    with ThreadPoolExecutor(len(streams)) as pool:
        found = list(pool.map(lambda stream: _stream(aws, run, stream, since), streams))
    lines = sorted((line for part in found for line in part), key=_order)
    if not lines and since is None:
        raise LabError(f"there are no log lines of {run} yet", f"llmlab status {run}")
    return lines


def _order(line: LogLine) -> tuple[int, datetime, int]:
    """By time; lines without one by attempt, then as a machine goes through its streams. Sorting keeps the order within a stream."""
    epoch = contract.run_started("19700101-000000-0000")
    place = next((index for index, stream in enumerate(STREAMS) if stream == line.stream), len(STREAMS))
    return (line.attempt if line.at is None else 0), line.at or epoch, place


def _stream(aws: Aws, run: str, stream: LogStream, since: datetime | None) -> list[LogLine]:
    """One stream of all attempts: CloudWatch, or S3 when CloudWatch has nothing (its retention is over, or its agent never started)."""
    found = [_line(stream, line) for line in logs.read(aws, aws.names.log_group(stream), f"{run}/", since)]
    return found if found or since else list(_archived(aws, run, stream))


def _line(stream: LogStream, line: logs.Line) -> LogLine:
    attempt = line.stream.rpartition("/")[2]
    at, text = stamped(line.text)
    return LogLine(at or line.at, str(stream), _number(attempt), text)


def _number(attempt: str) -> int:
    """An attempt's number out of a name, 0 where it has none."""
    return int(attempt) if re.fullmatch("[0-9]{1,9}", attempt) else 0


def stamped(text: str) -> tuple[datetime | None, str]:
    """A line of setup or agent begins with its time, which is nearer to the truth than when CloudWatch heard of it: that, and the rest."""
    found = STAMP.match(text)
    try:
        return (contract.parse_timestamp(found[1]), text[found.end() :]) if found else (None, text)
    except ValueError:  # it looks like a time, and is none
        return None, text


def _archived(aws: Aws, run: str, stream: LogStream) -> Iterable[LogLine]:
    bucket, prefix = aws.names.outputs_bucket, RunKeys(run).logs
    for key in sorted(documents.keys_under(aws, bucket, prefix)):
        attempt, _, name = key.removeprefix(prefix).partition("/")
        if _number(attempt) and name == f"{stream}.log":
            for line in documents.read_text(aws, bucket, key).splitlines():
                at, text = stamped(line)
                yield LogLine(at, str(stream), _number(attempt), text)


def follow(
    aws: Aws, run: str, streams: Sequence[LogStream], since: datetime | None, clock: Clock, write: Callable[[LogLine], None]
) -> None:
    """Write what is there, then what comes, until the run is over and the logs are quiet.

    Raises:
        LabError: it is not over after the longest time a run may take.
    """
    followers = {stream: logs.Follower(aws, aws.names.log_group(stream), f"{run}/", since) for stream in streams}
    limit = clock.now() + timedelta(hours=SILENT_HOURS)
    quiet = 0
    written = False
    with ThreadPoolExecutor(len(streams) + 1) as pool:
        while clock.now() < limit:
            asked_over = pool.submit(documents.ended, aws, aws.names.outputs_bucket, run)
            rounds = {stream: pool.submit(follower.more) for stream, follower in followers.items()}
            lines = sorted((_line(stream, line) for stream, asked in rounds.items() for line in asked.result()), key=_order)
            for line in lines:
                write(line)
            written = written or bool(lines)
            quiet = 0 if lines or not asked_over.result() else quiet + 1
            if quiet >= QUIET_ROUNDS or (quiet and not written):
                if not written:
                    for line in read(aws, run, streams):
                        write(line)
                return
            clock.sleep(EVERY_SECONDS)
    raise LabError(f"{run} was not over after {SILENT_HOURS} hours of following it", f"llmlab status {run}")
