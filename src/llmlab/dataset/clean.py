"""Write a file without its bad lines, or its rows anew as messages; the same input always gives the same bytes.

With `--skip-bad` a file without its bad lines is trained on: of the same kind as the user's, except that an array becomes lines.
Transcripts, and logs whose repeated requests are left out, are written anew: rows of messages, each with the file and line that it
comes from.
"""

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import zstandard

from llmlab.dataset.formats import canonical
from llmlab.dataset.forms import to_example
from llmlab.dataset.line import Line
from llmlab.dataset.lines import read, read_all
from llmlab.dataset.origin import with_origin
from llmlab.dataset.reasons import BadRow
from llmlab.dataset.repeats import More, Verdicts
from llmlab.dataset.suffixes import PACKED, TABLES, rows_of, suffix_of
from llmlab.dataset.tables import batches, without_padding
from llmlab.dataset.tokens import estimate, measure


def clean(source: Path, target: Path) -> int:
    """Write the good lines of `source` to `target`, and return how many there are. Both have names of the same kind."""
    rows = rows_of(suffix_of(source.name))
    if rows in TABLES:
        return _clean_table(source, target)
    count = 0
    with packing(target) as out:
        if rows == ".csv":
            return _clean_csv(source, out)
        for line in _good(read_all(source)):
            out.write(_as_line(line, rows) + b"\n")
            count += 1
    return count


def _as_line(line: Line, rows: str) -> bytes:
    """A row on one line: as the user wrote it, but for a bare list of messages, with which a `.json` file would be an array of its own."""
    written = line.raw.strip(b" \t\r\n").replace(b"\n", b" ")
    return orjson.dumps(line.row) if rows == ".json" and written.startswith(b"[") else written


def anew(source: Path, target: Path, name: str, file: int, verdicts: Verdicts) -> int:
    """Write the rows of a transcript or a log to `target` as rows of messages, and return how many there are.

    Args:
        source: the user's file.
        target: where the rows go, packed as its suffix says.
        name: the name of the user's file in the dataset, which each row carries along.
        file: its index among the dataset's files, by which the verdicts know it.
        verdicts: which rows are left out, and which earlier answers other rows learn as well.
    """
    left_out, more = verdicts.left_out.get(file, set()), verdicts.more.get(file, {})
    count = 0
    with packing(target) as out:
        for line in _good(read_all(source)):
            if line.number in left_out or line.row is None:
                continue
            out.write(written(line, line.row, more.get(line.number), name) + b"\n")
            count += 1
    return count


def written(line: Line, row: dict[str, Any], more: More | None, name: str) -> bytes:
    """The bytes of a row written anew: a row of a log or a transcript as messages, any other as it is."""
    if line.form is None:
        example = to_example(row)
        row = canonical(example) if example.format.is_log else row
    if more is not None:
        row = _learning(row, more)
    try:
        return orjson.dumps(with_origin(row, name, line.number))
    except orjson.JSONEncodeError:  # a key that no form reads is nested too deeply to be written
        return line.raw.strip()


def _learning(row: dict[str, Any], more: More) -> dict[str, Any]:
    """A row of messages of which more carry loss."""
    messages = list(row["messages"])
    for at in more.trained:
        messages[at] = {key: value for key, value in messages[at].items() if key != "weight"}
        if at in more.cut:
            messages[at]["cut"] = True
    return {**row, "messages": messages}


@contextmanager
def packing(target: Path) -> Iterator[Any]:
    """Open a file for writing, compressed as its name says, with no date and no file name inside."""
    suffix = suffix_of(target.name)
    packed = next((ending for ending in PACKED if suffix.endswith(ending)), "")
    with target.open("wb") as plain:
        out: Any = plain  # or what packs it
        if packed == ".gz":
            out = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0)
        elif packed == ".zst":
            out = zstandard.ZstdCompressor().stream_writer(plain, closefd=False)
        elif packed == ".bz2":
            out = bz2.BZ2File(plain, "wb")
        elif packed == ".xz":
            out = lzma.LZMAFile(plain, "wb")  # noqa: SIM115 - closed below
        try:
            yield out
        finally:
            if out is not plain:
                out.close()


def _good(lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if line.row is not None and is_good(line.row))


def is_good(row: dict[str, Any]) -> bool:
    """Whether a row can be trained on."""
    try:
        measure(to_example(row), estimate)
    except (BadRow, RecursionError, orjson.JSONEncodeError, UnicodeEncodeError):
        return False
    return True


def _clean_csv(source: Path, out: Any) -> int:
    count = 0
    names: list[str] = []
    rows = [line.row for line in read(source) if line.row is not None and is_good(line.row)]
    for row in rows:
        names += [name for name in row if name not in names]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
        out.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
        count += 1
    return count


def _clean_table(source: Path, target: Path) -> int:
    first = next(iter(read(source)), None)  # tells when pyarrow is missing, or the file is not what its name says
    if first is None or first.row is None:
        return 0
    import pyarrow as pa
    from pyarrow import parquet

    count = 0
    out: Any = None
    try:
        for batch in batches(source):
            if out is None:
                out = (
                    parquet.ParquetWriter(target, batch.schema)
                    if target.suffix == ".parquet"
                    else pa.ipc.new_stream(str(target), batch.schema)
                )
            kept = [is_good(without_padding(row)) for row in batch.to_pylist()]
            count += sum(kept)
            out.write_batch(cast("Any", batch).filter(pa.array(kept)))
    except (pa.ArrowInvalid, OSError):
        pass  # the rest of the file is damaged, which the report says
    finally:
        if out is not None:
            out.close()
    return count
