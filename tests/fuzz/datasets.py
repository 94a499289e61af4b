"""The dataset readers: bytes of each kind of file, and a row of each format.

Of every input the rows are read and counted without a file. One of sixty-four, known by its own bytes so that it breaks the same law again,
and every input of the corpus, is also a file that is checked, cleaned and written anew as a whole, which takes twenty times as long.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path, PosixPath
from typing import Any
from zlib import crc32

import orjson

from llmlab.dataset import BadRow, read, to_example
from llmlab.dataset.check import check
from llmlab.dataset.clean import anew, clean
from llmlab.dataset.files import find
from llmlab.dataset.formats import Format
from llmlab.dataset.line import MOST_BYTES
from llmlab.dataset.report import DatasetReport
from llmlab.dataset.tally import tally
from llmlab.dataset.tokens import estimate, measure
from tests.fuzz.laws import one_line

Target = Callable[[bytes], None]
ROWS = 1000
"""More are not counted."""
LONGEST = 4096
"""Bytes of a file: of these, zstandard can make millions of lines."""


class Held(PosixPath):
    """A file that is its content and no more."""

    content: bytes

    def open(self, *_: Any, **__: Any) -> Any:
        return BytesIO(self.content)

    def stat(self, **_: Any) -> os.stat_result:
        return os.stat_result((0, 0, 0, 0, 0, 0, len(self.content), 0, 0, 0))


def file_of(suffix: str) -> Target:
    """Every line of a file is a row or a reason, and what counts them counts each as good or bad."""

    def target(data: bytes) -> None:
        path: Path
        content = data[:LONGEST]
        if suffix in BY_PYARROW:
            path = in_memory() / f"data{suffix}"
            path.write_bytes(content)
        else:
            path = Held(f"data{suffix}")
            path.content = content
        lines = list(islice(read(path), ROWS + 1))
        for line in lines:
            assert (line.row is None) == bool(line.reason), line
            assert "\n" not in line.reason
            assert len(line.raw) <= MOST_BYTES
        if len(lines) > ROWS:
            return
        made = tally(lines)
        assert made.formats.total() + made.bad + made.skipped.total() + len(made.requests.numbers) == len(lines)
        assert all(number >= 0 and one_line(reason) is None for number, reason in made.problems)
        assert all(one_line(reason) is None for _, _, reason in made.skipped_lines)
        if data in corpus() or crc32(data) % SELDOM == 0:
            as_a_whole(content, suffix, len(lines))

    return target


SELDOM = 64
BY_PYARROW = (".parquet", ".arrow")


@cache
def corpus() -> frozenset[bytes]:
    """Every input that is kept."""
    return frozenset(path.read_bytes() for path in (Path(__file__).parent / "corpus").rglob("*") if path.is_file())


def as_a_whole(content: bytes, suffix: str, counted: int) -> None:
    """The check of a file counts the lines that were read, and tells of each that is bad."""
    path = in_memory() / f"data{suffix}"
    path.write_bytes(content)
    report = check(find(path), processes=1)
    left_out = sum(report.skipped.values())
    assert report.examples + report.bad + left_out == counted, (report.examples, report.bad, report.skipped, counted)
    assert bool(report.bad) == bool(report.problems), "each bad line is told"
    assert all(problem.line >= 0 and problem.reason and problem.file == path.name for problem in report.problems)
    for places in (report.problems, report.skipped_places):
        for problem in places:
            one_line(problem.reason)
    as_it_goes(path, report)


@cache
def in_memory() -> Path:
    """A folder of this process's own for one input after another, in memory where the system has such a place."""
    shared = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="llmlab-fuzz-", dir=shared if shared.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def as_it_goes(path: Path, report: DatasetReport) -> None:
    """What an upload writes instead of a file holds its examples and no bad row: its good lines, or its rows written anew."""
    written = path.with_name("anew.jsonl")
    assert anew(path, written, path.name, 0, report.verdicts) == report.examples
    again = check(find(written), processes=1)
    assert (again.examples, again.bad, again.trained_tokens) == (report.examples, 0, report.trained_tokens)
    if not any(Format(form).is_log for form in report.formats) and not report.skipped:
        cleaned = path.with_name(f"clean-{path.name}")
        assert clean(path, cleaned) == report.examples
        assert not report.examples or check(find(cleaned), processes=1).examples == report.examples


def row(data: bytes) -> None:
    """A row is an example or one reason; an example's loss lies on its own messages, and it survives being written."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if type(value) is not dict:
        return
    try:
        example = to_example(value)
        length, learned, _, _ = measure(example, estimate)
    except BadRow as error:
        one_line(str(error))
        return
    except (RecursionError, orjson.JSONEncodeError):
        return
    assert 0 <= learned <= length or example.chosen
    assert all(example.messages[index]["role"] == "assistant" for index in example.trained)
    again = {"messages": example.messages, "tools": example.tools}
    if example.trained and all(
        message["role"] != "assistant" or index in example.trained for index, message in enumerate(example.messages)
    ):
        assert to_example(again).messages == example.messages


def parquet_of(data: bytes) -> None:
    """Rows as JSON made into a Parquet file come back as they went in. (Arrow's own reader of JSON dies of some: it is not llmlab's.)"""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = pa.Table.from_pylist([row for row in map(orjson.loads, data.splitlines()) if isinstance(row, dict)])
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return
    path = in_memory() / "data.parquet"
    try:
        parquet.write_table(table, path)
    except pa.ArrowException:
        return
    lines = list(read(path))
    assert len(lines) == table.num_rows or lines[-1].reason
    assert all(line.row is not None for line in lines[:-1])


TARGETS: dict[str, Target] = {
    "jsonl": file_of(".jsonl"), "gzip": file_of(".jsonl.gz"), "zstandard": file_of(".jsonl.zst"), "parquet": file_of(".parquet"),
    "bzip2": file_of(".jsonl.bz2"), "xz": file_of(".jsonl.xz"), "json": file_of(".json"), "csv": file_of(".csv"), "arrow":
    file_of(".arrow"), "log": file_of(".jsonl"), "transcript": file_of(".jsonl"), "row": row, "parquet-rows": parquet_of,
}  # fmt: skip
