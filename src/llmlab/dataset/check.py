"""Check and count every line of a dataset on all cores, in memory that does not grow with the data.

Files of plain JSON lines are cut at newlines into parts of a few MiB, which processes read by themselves; every other file, a transcript
too, is one part. Parts come back in order, so that line numbers are exact. Small datasets are read in this process: starting others would
take longer than reading. Processes are started afresh rather than forked, which costs a fifth of a second and is safe on every system.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from llmlab.dataset.files import DataPath, DatasetFiles
from llmlab.dataset.heads import BOM, head_of, transcript
from llmlab.dataset.line import Line, parse
from llmlab.dataset.lines import read_all, split, trouble
from llmlab.dataset.report import DatasetReport, Summing
from llmlab.dataset.tally import Tally, tally, tally_written
from llmlab.dataset.tokens import Count, counter
from llmlab.dataset.unpack import blocks
from llmlab.errors import ExitCode, LabError

PART = 8 << 20
"""Bytes of a part: large enough that handing it over costs nothing, small enough for a smooth progress bar."""
WORTH_PROCESSES = 48 << 20
"""Smaller datasets are read in this process."""

Progress = Callable[[float, float], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class Part:
    """A range of bytes of one file that begins and ends between lines; `end` None is the whole file, read as its suffix says."""

    file: int
    path: Path
    start: int
    end: int | None
    size: int


def check(
    dataset: DatasetFiles,
    *,
    max_length: int | None = None,
    tokenizer: Path | None = None,
    progress: Progress = lambda _done, _total: None,
    processes: int | None = None,
) -> DatasetReport:
    """Check and count every line of a dataset.

    Args:
        dataset: its files.
        max_length: tokens that the recipe has room for; longer examples are counted.
        tokenizer: a `tokenizer.json` to count with instead of the estimate.
        progress: called with bytes.
        processes: how many to use; by default, by the dataset's size.

    Raises:
        LabError: a Parquet file without pyarrow, a tokenizer that cannot be loaded, a process that was killed.
    """
    counter(tokenizer)  # a broken tokenizer is reported before anything is read
    processes = processes if processes is not None else _processes(dataset)
    done = 0
    with Summing(dataset, max_length, tokenizer) as summing:
        for part, part_tally in _tallies(list(parts(dataset.files)), tokenizer, max_length, processes):
            summing.add(part.file, part_tally)
            done += part.size
            progress(done, dataset.size)
        return summing.report()


def _processes(dataset: DatasetFiles) -> int:
    return 1 if dataset.size < WORTH_PROCESSES else max(1, min(os.cpu_count() or 1, 8))


def parts(files: Iterable[DataPath], size: int = PART) -> Iterator[Part]:
    """The files cut into parts at newlines, in order."""
    for index, file in enumerate(files):
        if file.suffix not in LINES or _is_one(file.path):
            yield Part(index, file.path, 0, None, file.size)
            continue
        start = 0
        with file.path.open("rb") as stream:
            while start < file.size or start == 0:
                stream.seek(start + size)
                end = start + size
                while block := stream.readline(1 << 20):
                    end += len(block)
                    if block.endswith(b"\n"):
                        break
                end = min(end, file.size)
                yield Part(index, file.path, start, end, end - start)
                start = max(end, 1)


LINES = (".jsonl", ".ndjson")


def _is_one(path: Path) -> bool:
    """Whether a file of lines is read as one part: a transcript, or a file that holds no rows at all."""
    head = head_of(path)
    return bool(trouble(path, head)) or transcript(path, head) is not None


def lines_of(part: Part) -> Iterator[Line]:
    """The lines of a part, numbered from 1 at its start, blank ones too."""
    if part.end is None:
        return read_all(part.path)
    return _lines_between(part.path, part.start, part.end)


def _lines_between(path: Path, start: int, end: int) -> Iterator[Line]:
    return (parse(number, raw) for number, raw in enumerate(_written_between(path, start, end), start=1))


def _written_between(path: Path, start: int, end: int) -> Iterator[bytes | int]:
    return split(_between(path, start, end))


def _between(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        if start == 0 and stream.read(len(BOM)) == BOM:
            start = len(BOM)
        stream.seek(start)
        yield from blocks(stream, limit=end - start)


def tally_of(part: Part, count: Count, max_length: int | None = None) -> Tally:
    """The tally of a part."""
    if part.end is None:
        return tally(read_all(part.path), count, max_length)
    return tally_written(_written_between(part.path, part.start, part.end), count, max_length)


# ---------------------------------------------------------------- in this process, or in several


def _tallies(every: list[Part], tokenizer: Path | None, max_length: int | None, processes: int) -> Iterator[tuple[Part, Tally]]:
    """Each part's tally, in order."""
    count = counter(tokenizer)
    if processes == 1:
        for part in every:
            yield part, tally_of(part, count, max_length)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes - 1, mp_context=context, initializer=_start, initargs=(tokenizer, max_length))
    left, waiting = deque(every), deque[tuple[Part, "Future[Tally]"]]()
    try:
        while left or waiting:
            busy = sum(not future.done() for _, future in waiting)
            while left and busy < 2 * (processes - 1):
                waiting.append((left[0], pool.submit(_tally, left.popleft())))
                busy += 1
            if left and (left[0].end is not None or left[0].size <= PART) and len(waiting) < MOST_WAITING and not waiting[0][1].done():
                waiting.append((left[0], _done(tally_of(left.popleft(), count, max_length))))  # this process has a core, too
                continue
            part, future = waiting.popleft()
            yield part, future.result()
    except BrokenProcessPool as error:
        raise LabError("a process that checks the data was killed, perhaps for memory") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


MOST_WAITING = 256
"""Parts that may be finished ahead of the first unfinished one."""


def _done(part_tally: Tally) -> "Future[Tally]":
    future: Future[Tally] = Future()
    future.set_result(part_tally)
    return future


_count: Count
_max_length: int | None


def _start(tokenizer: Path | None, max_length: int | None) -> None:
    """Set up a worker process. Ctrl-C reaches it as well as its parent, and only the parent prints."""
    global _count, _max_length  # a process's own settings, set once
    signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    _count, _max_length = counter(tokenizer), max_length


def _tally(part: Part) -> Tally:
    return tally_of(part, _count, _max_length)
