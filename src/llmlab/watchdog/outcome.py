"""What a run that is over has to show: its loss at first and at last, and where it failed the last lines of its log.

Read from what the machine has left in S3, a piece of each file. All of it is words of a container, shown and obeyed by nobody, and what
is not there or cannot be read is left out: people are told of the end all the same.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from llmlab import contract
from llmlab.contract import METRICS_FILE, ContractError, EndReason, LogStream, Marker, RunKeys, RunState
from llmlab.watchdog.records import Bucket

PIECE_BYTES = 1 << 16
LINES = 10
LINE_LENGTH = 300


@dataclass(frozen=True)
class Outcome:
    """`first_loss` and `last_loss` are None where no step was logged; `log` is empty unless the run failed."""

    first_loss: float | None = None
    last_loss: float | None = None
    log: tuple[str, ...] = ()


def read(bucket: Bucket, run: str, marker: Marker) -> Outcome:
    """What there is of it."""
    keys = RunKeys(run)
    metrics = keys.output + METRICS_FILE
    first = next(_losses(_piece(bucket, metrics, f"bytes=0-{PIECE_BYTES - 1}").splitlines()), None)
    last = next(_losses(reversed(_piece(bucket, metrics, f"bytes=-{PIECE_BYTES}").splitlines())), None) if first is not None else None
    if marker.reason.state is not RunState.FAILED:
        return Outcome(first, last)
    stream = LogStream.SETUP if marker.reason is EndReason.SETUP_FAILED else LogStream.TRAINING
    written = _piece(bucket, keys.log(stream, marker.attempts), f"bytes=-{PIECE_BYTES}").splitlines()
    lines = [line for text in written if (line := contract.one_line(text))]
    return Outcome(first, last, tuple(line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…" for line in lines[-LINES:]))


def _losses(lines: Iterable[str]) -> Iterator[float]:
    for line in lines:
        try:
            loss = json.loads(line)["loss"]
        except (ValueError, TypeError, KeyError, RecursionError):  # half a line, where a piece begins or ends, or what is no row
            continue
        if isinstance(loss, int | float) and not isinstance(loss, bool) and math.isfinite(loss):
            yield float(loss)


def _piece(bucket: Bucket, key: str, part: str) -> str:
    """A piece of an object as text, "" where there is none."""
    try:
        answer = bucket.client.get_object(Bucket=bucket.bucket, Key=key, Range=part)
        return contract.body(answer).decode(errors="replace")
    except (ClientError, BotoCoreError, ContractError):
        return ""
