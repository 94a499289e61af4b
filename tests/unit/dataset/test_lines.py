"""Files of every kind to rows, whatever is wrong with them."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, strategies as st
from pyarrow import parquet

from llmlab.dataset import unpack
from llmlab.dataset.files import find
from llmlab.dataset.line import parse
from llmlab.dataset.lines import read, split
from llmlab.dataset.unpack import blocks
from llmlab.errors import UsageError

ROWS = [{"text": "a"}, {"text": "ü\u2028b"}, {"text": "c" * 3000}]
PLAIN = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", PLAIN),
        ("a.jsonl", PLAIN.rstrip(b"\n")),
        ("a.jsonl", b"\xef\xbb\xbf" + PLAIN.replace(b"\n", b"\r\n")),
        ("a.jsonl.gz", gzip.compress(PLAIN, mtime=0)),
        ("a.jsonl.gz", gzip.compress(PLAIN[:20], mtime=0) + gzip.compress(PLAIN[20:], mtime=0)),
        ("a.jsonl.zst", zstandard.compress(PLAIN)),
        ("a.jsonl.zst", zstandard.compress(PLAIN[:20]) + zstandard.compress(PLAIN[20:])),
        ("A.JSONL", PLAIN),
    ],
)
def test_rows_of_each_kind_of_file(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert [(line.number, line.row) for line in read(file)] == list(enumerate(ROWS, start=1))


@given(
    rows=st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=5), min_size=1, max_size=8),
    block=st.integers(1, 200),
    pack=st.sampled_from([zstandard.compress, lambda content: gzip.compress(content, mtime=0)]),
)
def test_a_file_in_several_frames_is_whole(rows: list[list[int]], block: int, pack: Callable[[bytes], bytes]) -> None:
    """`pzstd` writes such files, and so does `cat a.zst b.zst`; a frame may end anywhere in what is read at once."""
    frames = [b"".join(b'{"n": %d}\n' % number for number in frame) for frame in rows]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(unpack, "ZSTD_BLOCK", block)
        file = Path(folder, "a.jsonl.zst" if pack is zstandard.compress else "a.jsonl.gz")
        file.write_bytes(b"".join(map(pack, frames)))
        assert [line.row and line.row["n"] for line in read(file)] == [number for frame in rows for number in frame]


def test_parquet_rows_leave_out_nulls(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": [None, "b"], "prompt": ["p", None], "completion": ["c", None]}), file)
    assert [line.number for line in read(file)] == [1, 2]
    file.write_bytes(b"PAR1 and no more")
    (line,) = read(file)
    assert line.number == 0
    assert line.reason.startswith("not a Parquet file")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n \n", []),
        (b"[1]\n", [(1, "the line is an array, not an object")]),
        (b'"x"\n3\nnull\ntrue\n', [(1, "the line is a string"), (2, "a number"), (3, "null"), (4, "a boolean")]),
        (b'\n{"text": "\xff"}\n', [(2, "not UTF-8 at byte 11")]),
        (b'{"text": NaN}\n', [(1, "not JSON: ")]),
        (b'{"text": "\\ud800"}\n', [(1, "half a character")]),
        (b"{" * 3 + b"\n", [(1, "at column 2")]),
        (b"\xff\xfe{\x00}\x00", [(0, "the file is UTF-16, not UTF-8")]),
        (b"\x1f\x8b\x08", [(0, "name it .jsonl.gz")]),
        (b"\x28\xb5\x2f\xfd", [(0, "name it .jsonl.zst")]),
        (b"PAR1", [(0, "name it .parquet")]),
        (b"%PDF-1.7", [(0, "a PDF")]),
    ],
)
def test_reasons(tmp_path: Path, content: bytes, expected: list[tuple[int, str]]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    found = list(read(file))
    assert [line.number for line in found] == [number for number, _ in expected]
    assert all(words in line.reason for line, (_, words) in zip(found, expected, strict=True)), found


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl.gz", gzip.compress(PLAIN, mtime=0)[:-20]), ("a.jsonl.zst", zstandard.compress(PLAIN)[:-20])]
)
def test_truncated_compressed_file_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    *_, last = read(file)
    assert last.row is None


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_not_compressed_at_all(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(PLAIN)
    (line,) = read(file)
    assert line.number == 0
    assert "damaged" in line.reason


@given(st.binary(max_size=200).map(lambda raw: raw.replace(b"x", b"\n")), st.integers(1, 9), st.integers(9, 30))
def test_split_is_split_whatever_the_blocks(content: bytes, size: int, most: int) -> None:
    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    given_blocks = [content[start : start + size] for start in range(0, len(content), size)]
    assert list(split(given_blocks, most)) == [line if len(line) <= most else len(line) for line in expected]


def test_an_endless_line_is_not_held(tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        left = 200 << 20

        def read(self, size: int = -1) -> bytes:
            self.left -= size
            return b"x" * size if self.left >= 0 else b""

    assert list(split(blocks(Endless()))) == [200 << 20]  # type: ignore[arg-type]
    assert parse(7, 2 << 30).reason == "a line of 2,048 MiB: the most is 64 MiB"


def test_find(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file or folder"):
        find(tmp_path / "none")
    with pytest.raises(UsageError, match="is empty"):
        find(tmp_path)
    (tmp_path / "b.pdf").write_bytes(b"%PDF")
    (tmp_path / ".hidden.jsonl").write_bytes(PLAIN)
    with pytest.raises(UsageError, match=r"holds no dataset, only 1 \.pdf: expected \.jsonl"):
        find(tmp_path)
    with pytest.raises(UsageError, match=r"b\.pdf is not a dataset"):
        find(tmp_path / "b.pdf")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "z.jsonl.gz").write_bytes(b"")
    (tmp_path / "a.jsonl").write_bytes(PLAIN)
    found = find(tmp_path)
    assert [file.name for file in found.files] == ["a.jsonl", "sub/z.jsonl.gz"]
    assert [(one.name, one.reason) for one in found.passed] == [(".hidden.jsonl", "hidden"), ("b.pdf", "no data: .pdf")]
    assert [file.name for file in find(tmp_path / "a.jsonl").files] == ["a.jsonl"]


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl.zst", zstandard.compress), ("a.jsonl.gz", gzip.compress)])
def test_a_file_made_to_fill_memory_is_told(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "ALWAYS", 1 << 10)
    monkeypatch.setattr(unpack, "MOST_TIMES", 100)
    file = tmp_path / name
    file.write_bytes(pack(b'{"text": "a"}\n' + b" " * (8 << 20)))
    *_, last = read(file)
    assert "becomes more than 100 times its size" in last.reason
    monkeypatch.setattr(unpack, "MOST_TIMES", 100_000)
    assert [line.row for line in read(file)] == [{"text": "a"}]
