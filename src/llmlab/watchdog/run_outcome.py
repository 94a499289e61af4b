"""The summary of a finished run: its first and last loss (reward, margin), and the last lines of the log of a failed run.

Read from what the instance has left in S3, a piece of each file. All of it is untrusted text of a container, shown and never executed.
What does not exist or cannot be read is left out, and the message about the end is sent all the same.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from llmlab import contract
from llmlab.contract import LEARNED, METRICS_FILE, ContractError, EndReason, LogStream, Marker, RunKeys, RunState
from llmlab.lifecycle.run_documents import RunDocuments

PIECE_BYTES = 1 << 16
LINES = 10
LINE_LENGTH = 300


@dataclass(frozen=True)
class RunSummary:
    """The summary of a finished run. `learned`: first and last value of each of LEARNED; `log`: last lines, () unless the run failed."""

    learned: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    log: tuple[str, ...] = ()


def read(bucket: RunDocuments, run: str, marker: Marker) -> RunSummary:
    """Read the summary of a run from the outputs bucket."""
    keys = RunKeys(run)
    metrics = keys.output + METRICS_FILE
    first = _first(_piece(bucket, metrics, f"bytes=0-{PIECE_BYTES - 1}").splitlines())
    last = _first(reversed(_piece(bucket, metrics, f"bytes=-{PIECE_BYTES}").splitlines())) if first else {}
    learned = {name: (first[name], last[name]) for name in LEARNED if name in first and name in last}
    if marker.reason.state is not RunState.FAILED:
        return RunSummary(learned)
    stream = LogStream.SETUP if marker.reason is EndReason.SETUP_FAILED else LogStream.TRAINING
    written = _piece(bucket, keys.log(stream, marker.attempts), f"bytes=-{PIECE_BYTES}").splitlines()
    lines = [line for text in written if (line := contract.one_line(text))]
    return RunSummary(learned, tuple(line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…" for line in lines[-LINES:]))


def _first(lines: Iterable[str]) -> dict[str, float]:
    """The first finite number of each of LEARNED in these rows of metrics."""
    first_values: dict[str, float] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # half a line, where a piece begins or ends
            continue
        for name in LEARNED if isinstance(row, dict) else ():
            number = row.get(name)
            if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
                first_values.setdefault(name, float(number))
        if len(first_values) == len(LEARNED):
            break
    return first_values


def _piece(bucket: RunDocuments, key: str, part: str) -> str:
    """A byte range of an object as text, "" where it cannot be read."""
    try:
        answer = bucket.client.get_object(Bucket=bucket.bucket, Key=key, Range=part)
        return contract.body(answer).decode(errors="replace")
    except (ClientError, BotoCoreError, ContractError):
        return ""
