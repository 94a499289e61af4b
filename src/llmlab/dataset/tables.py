"""Read the rows of tables: Parquet, Arrow (what `datasets` saves to disk) and CSV, some hundred in memory at a time.

Arrow gives every row's struct the fields of all of them, as nulls: `{"x": 1, "where": null}` where `{"x": 1}` was written
(https://github.com/huggingface/datasets/issues/5950, https://github.com/axolotl-ai-cloud/axolotl/issues/2909). Such nulls are padding and
are taken away at every depth; a null that is meant can be kept as JSON text in a column. An empty cell of a CSV file is no value.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from llmlab.dataset.heads import BOM, HEAD, POINTER, is_pointer, wrong_kind
from llmlab.dataset.line import MOST_BYTES, Line
from llmlab.dataset.suffixes import rows_of, suffix_of
from llmlab.dataset.unpack import DAMAGED, unpacked
from llmlab.errors import LabError

BATCH = 256
READ_AHEAD = 1 << 20
"""Bytes of a column of Parquet that are read at a time: otherwise it is all of a row group, which may be all of the file."""


def without_padding(value: Any) -> Any:
    """A value without the nulls of its structs."""
    kind = type(value)
    if kind is dict:
        return {key: without_padding(inner) if type(inner) in NESTED else inner for key, inner in value.items() if inner is not None}
    if kind is list:
        return [without_padding(inner) if type(inner) in NESTED else inner for inner in value]
    return value


NESTED = (dict, list)


def _has_nulls(pa: Any, batch: Any) -> bool:
    """Whether any value of a batch, or within one, is null: without one there is no padding."""
    waiting = list(batch.columns)
    while waiting:
        values = waiting.pop()
        if values.null_count:
            return True
        kind = values.type
        if pa.types.is_struct(kind):
            waiting += values.flatten()
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            waiting.append(values.flatten())
        elif not (pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return True  # its padding is looked for row by row
    return False


def batches(path: Path) -> Iterator[Any]:
    """Yield the rows of a Parquet or Arrow file in batches.

    Raises:
        LabError: pyarrow is not installed.
        pyarrow.ArrowException, OSError, ValueError: it is not what its name says.
    """
    pa, parquet = _pyarrow(path)
    if suffix_of(path.name) == ".parquet":
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=READ_AHEAD) as file:
            yield from file.iter_batches(batch_size=BATCH)
        return
    with pa.OSFile(str(path)) as source:  # not mapped: what was read would stay resident
        if source.size() >= len(b"ARROW1") and source.read(6) == b"ARROW1":
            reader = pa.ipc.open_file(source)
            record_batches: Iterable[Any] = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            source.seek(0)
            record_batches = pa.ipc.open_stream(source)
        for batch in record_batches:
            batch.validate(
                full=True
            )  # a damaged file's offsets lead anywhere in memory: https://arrow.apache.org/docs/format/Security.html
            for start in range(0, batch.num_rows, BATCH):
                yield batch.slice(start, BATCH)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise LabError(f"reading {path} needs pyarrow, which is not installed", "pip install pyarrow") from error
    return pa, parquet


def read_table(path: Path) -> Iterator[Line]:
    """Every row of a Parquet or Arrow file, numbered from 1.

    Raises:
        LabError: pyarrow is not installed.
    """
    pa, _ = _pyarrow(path)
    kind, cure = ("a Parquet", "") if suffix_of(path.name) == ".parquet" else ("an Arrow", ": save it again, or with to_parquet")
    number = 0
    try:
        if is_pointer(path):
            yield Line(0, reason=POINTER)
            return
        for batch in batches(path):
            padded = _has_nulls(pa, batch)
            for row in batch.to_pylist():
                number += 1
                yield Line(number, without_padding(row) if padded else row)
    except (pa.ArrowException, OSError, ValueError, OverflowError, RecursionError) as error:
        words = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        yield Line(number + 1 if number else 0, reason=f"not {kind} file: {words}{cure}")


# ---------------------------------------------------------------- CSV


def read_csv(path: Path) -> Iterator[Line]:
    """Every row of a CSV file whose first line names the columns, numbered by the line it begins at."""
    number = 1
    csv.field_size_limit(MOST_BYTES)
    try:
        if is_pointer(path):
            yield Line(0, reason=POINTER)
            return
        reader = csv.reader(_text(path), strict=True)
        names = next(reader, [])
        if problem := _no_header(names):
            yield Line(0, reason=problem)
            return
        number = reader.line_num + 1
        width = len(names)
        for cells in reader:
            if cells:
                row = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
                yield (
                    Line(number, row)
                    if len(cells) == width
                    else Line(number, reason=f"{len(cells)} cells, where the first line names {width}")
                )
            number = reader.line_num + 1
    except csv.Error as error:
        yield Line(number, reason=f"not CSV: {error}")
    except UnicodeDecodeError as error:
        yield Line(number, reason=f"not UTF-8: byte {error.object[error.start]:#x} at or after this line")
    except _WrongKind as error:
        yield Line(0, reason=str(error))
    except DAMAGED as error:
        yield Line(number if number > 1 else 0, reason=f"the compressed file is damaged: {error}".rstrip(".").lower())


class _WrongKind(Exception):
    """The file is not text."""


def _text(path: Path) -> Iterator[str]:
    """A file's lines with their ends; one longer than any row may be is cut, which the reader of CSV then refuses."""
    held = b""
    first = True
    for block in unpacked(path):
        if first:
            if reason := wrong_kind(block[:HEAD]):
                raise _WrongKind(reason)
            block, first = block.removeprefix(BOM), False  # noqa: PLW2901 - the mark is no content
        lines = (held + block).splitlines(keepends=True) if b"\r" in block and b"\n" not in block else (held + block).split(b"\n")
        held = lines.pop()
        for line in lines:
            yield line.decode() + "\n"
        if len(held) > MOST_BYTES:
            raise csv.Error(f"a line of more than {MOST_BYTES >> 20} MiB")
    if held:
        yield held.decode()


def _no_header(names: list[str]) -> str:
    """Why the first line does not name columns; "" when it does."""
    if not names:
        return "the file is empty"
    if len(names) == 1:
        other = next((f"{mark!r}" for mark in (";", "\t", "|") if mark in names[0]), "")
        if other:
            return f"its columns are separated by {other}, not by commas"
    if len(set(names)) < len(names):
        return "its first line names a column twice"
    return ""


READERS: dict[str, Callable[[Path], Iterator[Line]]] = {".parquet": read_table, ".arrow": read_table, ".csv": read_csv}


def reader_of(path: Path) -> Callable[[Path], Iterator[Line]] | None:
    """The reader of a table; None for files of JSON."""
    return READERS.get(rows_of(suffix_of(path.name)))
