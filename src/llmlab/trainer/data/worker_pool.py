"""A dataset's blocks in order, on all cores, in memory that does not grow with the data.

Files of plain JSON lines are cut at newlines into parts that processes read by themselves; lines of compressed and Parquet files are read
here and handed out. Blocks come back in the order of the data, so that the result is the same whatever the number of processes. Small
datasets are tokenised in this process, where the tokenizer's own threads use the other cores: starting a process takes seconds.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, TimeoutError as NotYet
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from threading import Thread

from llmlab.dataset import Line
from llmlab.dataset.check import Part, lines_of, parts
from llmlab.dataset.files import DataPath
from llmlab.errors import ExitCode
from llmlab.trainer.data.example_encoder import Encoder
from llmlab.trainer.data.tokenize_shard import Block, Rules, Tick, make
from llmlab.trainer.failures import Failed

PART = 2 << 20
"""Bytes of a part: a second's work of one core, so that leaving takes no longer."""
THREADS = "TOKENIZERS_PARALLELISM"

Source = Part | list[Line]
"""Lines to read, or lines that were read."""


def sources(files: list[DataPath]) -> Iterator[tuple[int, Source]]:
    """The parts of all files to tokenise, in order, each with the index of its file."""
    for part in parts(files, PART):
        if part.end is not None:
            yield part.file, part
            continue
        lines: list[Line] = []
        size = 0
        for line in lines_of(part):
            size += len(line.raw) or len(str(line.row))
            line.raw = b""
            lines.append(line)
            if size >= PART:
                yield part.file, lines
                lines, size = [], 0
        yield part.file, lines


def run(
    every: Iterator[tuple[int, Source]], encoder: Encoder, rules: Rules, processes: int, tick: Tick
) -> Iterator[tuple[int, bool, Block]]:
    """Each source's file, whether its lines are numbered from the file's first, and its block; in order."""
    if processes == 1:
        with _threads():
            for file, source in every:
                tick()
                yield file, _is_numbered(source), make(_lines(source), encoder, rules.of(file), tick)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(encoder, rules))
    waiting: deque[tuple[int, bool, Future[Block]]] = deque()
    try:
        for file, source in every:
            waiting.append((file, _is_numbered(source), pool.submit(_make, source, file)))
            if len(waiting) >= 3 * processes:
                yield _first(waiting, tick)
        while waiting:
            yield _first(waiting, tick)
    except BrokenProcessPool as error:
        raise Failed("a process that tokenises was killed, perhaps for memory", "llmlab estimate") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _first(waiting: "deque[tuple[int, bool, Future[Block]]]", tick: Tick) -> tuple[int, bool, Block]:
    """Wait for the oldest block, and call `tick` meanwhile."""
    file, numbered, future = waiting.popleft()
    while True:
        tick()
        try:
            return file, numbered, future.result(timeout=0.5)
        except NotYet:
            continue


def _is_numbered(source: Source) -> bool:
    return not isinstance(source, Part) or source.start == 0


def _lines(source: Source) -> Iterable[Line]:
    return lines_of(source) if isinstance(source, Part) else source


@contextmanager
def _threads() -> Iterator[None]:
    """The tokenizer's own threads, for this long: a process that was forked while they are on would hang."""
    before = os.environ.get(THREADS)
    os.environ[THREADS] = "true"
    try:
        yield
    finally:
        os.environ[THREADS] = before or "false"


_encoder: Encoder
_rules: Rules


def _start(encoder: Encoder, rules: Rules) -> None:
    """Set up a worker process. Signals reach it as well as the parent, which is the one to decide."""
    global _encoder, _rules  # a process's own settings, set once
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ[THREADS] = "false"
    Thread(target=_follow, daemon=True).start()
    _encoder, _rules = encoder, rules


def _follow() -> None:
    """End when the parent has ended, even if it was killed and could not say so."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(ExitCode.INTERRUPTED)


def _make(source: Source, file: int) -> Block:
    return make(_lines(source), _encoder, _rules.of(file))
