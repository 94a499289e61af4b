"""A file without its bad lines: what is trained on when the user says `--skip-bad`. The same input always gives the same bytes."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import zstandard

from llmlab.dataset.files import suffix_of
from llmlab.dataset.forms import to_example
from llmlab.dataset.lines import Line, read, read_lines
from llmlab.dataset.reasons import BadRow

BATCH = 256


def clean(source: Path, target: Path) -> int:
    """Write the good lines of `source` to `target`, in the same kind of file, and return how many there are."""
    suffix = suffix_of(source.name)
    if suffix == ".parquet":
        return _clean_parquet(source, target)
    count = 0
    with target.open("wb") as plain:
        if suffix == ".jsonl.gz":
            out: Any = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0)
        elif suffix == ".jsonl.zst":
            out = zstandard.ZstdCompressor().stream_writer(plain, closefd=False)
        else:
            out = plain
        for line in _good(read_lines(source)):
            out.write(line.raw.rstrip(b"\r\n") + b"\n")
            count += 1
        if out is not plain:
            out.close()
    return count


def _good(lines: Iterable[Line]) -> Iterator[Line]:
    for line in lines:
        if line.row is not None and is_good(line.row):
            yield line


def is_good(row: dict[str, Any]) -> bool:
    """Whether a row can be trained on."""
    try:
        to_example(row)
    except (BadRow, RecursionError):
        return False
    return True


def _clean_parquet(source: Path, target: Path) -> int:
    first = next(iter(read(source)), None)  # tells when pyarrow is missing, or the file is not Parquet
    if first is None or first.row is None:
        return 0
    import pyarrow as pa
    from pyarrow import parquet

    count = 0
    with parquet.ParquetFile(source) as file, parquet.ParquetWriter(target, file.schema_arrow) as out:
        try:
            for batch in file.iter_batches(batch_size=BATCH):
                kept = [is_good(row) for row in batch.to_pylist()]
                count += sum(kept)
                out.write_batch(cast("Any", batch).filter(pa.array(kept)))
        except (pa.ArrowInvalid, OSError):
            pass  # the rest of the file is damaged, which the report says
    return count
