"""Which files are read, in every way a file of rows is written, which are passed over and why, and what is told of bad ones."""

import bz2
import csv
import gzip
import io
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from llmlab.dataset import find, read, to_example
from llmlab.dataset.arrays import NoArray, elements
from llmlab.dataset.check import check
from llmlab.dataset.clean import clean
from llmlab.dataset.suffixes import rows_of, split_of, suffix_of
from llmlab.errors import UsageError
from tests.sampling import sampled

ROWS: list[dict[str, Any]] = [
    {"prompt": "2 + 2?", "completion": "4"},
    {"prompt": "ü\u2028b", "completion": "c" * 3000},
    {"prompt": "x", "completion": '"y",\nz'},
]
LINES = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)
ARRAY = orjson.dumps(ROWS)


def table_of(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def stream_of(rows: list[dict[str, Any]], *, file: bool = False) -> bytes:
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with (pa.ipc.new_file if file else pa.ipc.new_stream)(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


PACKS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
WRITTEN: dict[str, bytes] = {".jsonl": LINES, ".ndjson": LINES, ".json": ARRAY, ".csv": table_of(ROWS)}
FILES = [
    *((f"a{rows}{packed}", pack(content)) for rows, content in WRITTEN.items() for packed, pack in PACKS.items()),
    ("a.json", LINES),
    ("a.json", orjson.dumps(ROWS, option=orjson.OPT_INDENT_2)),
    ("a.json", b"\xef\xbb\xbf " + ARRAY + b"\n"),
    ("a.csv", b"\xef\xbb\xbf" + table_of(ROWS)),
    ("a.JSON", ARRAY),
    ("a.jsonl.xz", lzma.compress(LINES[:40]) + lzma.compress(LINES[40:])),
    ("a.jsonl.bz2", bz2.compress(LINES[:40]) + bz2.compress(LINES[40:])),
    ("a.parquet", parquet_of(ROWS)),
    ("a.arrow", stream_of(ROWS)),
    ("a.arrow", stream_of(ROWS, file=True)),
]


@pytest.mark.parametrize(("name", "content"), FILES, ids=[f"{name}-{at}" for at, (name, _) in enumerate(FILES)])
def test_rows_of_each_way_of_writing(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert [line.row for line in read(file)] == ROWS
    assert len({line.number for line in read(file)}) == len(ROWS)
    report = check(find(tmp_path), processes=1)
    assert (report.examples, report.bad, report.passed) == (3, 0, ())
    cleaned = tmp_path / f"clean-{name}"
    assert clean(file, cleaned) == 3
    assert [line.row for line in read(cleaned)] == ROWS


@pytest.mark.parametrize("size", sampled([1, 7, 4096, 1 << 20], 7, 4096, 1 << 20))
@pytest.mark.parametrize("indent", [0, orjson.OPT_INDENT_2])
def test_elements_are_elements_whatever_the_blocks(size: int, indent: int) -> None:
    values = [{"a": 'x[],{}"\\', "b": [1, {"c": "é" * 50}]}, {}, {"m": [{"role": "user", "content": "hi\n" * 900}] * 3}, 12, "x", None]
    written = b"\n " + orjson.dumps(values, option=indent) + b" \n"
    content = (written[at : at + size] for at in range(0, len(written), size))
    assert [orjson.loads(one) for one in elements(content, 1 << 20) if isinstance(one, bytes)] == values


@pytest.mark.parametrize(
    ("written", "good", "reason"),
    [
        (b"[", 0, "the array ends early"),
        (b"", 0, "the file is empty"),
        (b'[{"a": 1}', 1, "the array ends early"),
        (b'[{"a": 1}] [', 1, "something follows the array"),
        (b'[{"a": 1}, {"b": "x', 1, "the array ends early"),
    ],
)
def test_arrays_that_are_none(written: bytes, good: int, reason: str) -> None:
    found = elements([written], 1 << 20)
    assert len([next(found) for _ in range(good)]) == good
    with pytest.raises(NoArray, match=reason):
        next(found)


def test_a_bad_row_of_an_array_is_one_bad_row(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'[{"text": "a"}, {"text": }, {"text": "b"}, 7, {"text": "c"},]')
    lines = list(read(file))
    assert [(line.number, line.row) for line in lines if line.row] == [(1, {"text": "a"}), (3, {"text": "b"}), (5, {"text": "c"})]
    assert [line.reason.partition(":")[0] for line in lines if not line.row] == ["not JSON", "the line is a number, not an object"]


def test_an_element_that_is_too_long_ends_the_file() -> None:
    written = b'[1, "' + b"x" * 3000 + b'", 2]'
    assert list(elements([written], 1000)) == [b"1", 3002]


# ---------------------------------------------------------------- tables


def test_parquets_padding_is_taken_away_and_meant_nulls_stay(tmp_path: Path) -> None:
    def row(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        schema = {"type": "object", "properties": {key: {"type": "string"} for key in arguments}}
        return {
            "messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": "", "tool_calls": [call]}],
            "tools": [{"type": "function", "function": {"name": name, "description": "d", "parameters": schema}}],
        }

    rows = [row("move", {"x": "1"}), row("look", {"where": "up"}), row("set", {"deep": {"a": "b"}})]
    for name, content in (("a.parquet", parquet_of(rows)), ("a.arrow", stream_of(rows))):
        (tmp_path / name).write_bytes(content)
        for line, wanted in zip(read(tmp_path / name), rows, strict=True):
            assert line.row
            assert to_example(line.row)[1:4] == to_example(wanted)[1:4]
    text = [
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"until": null}'}}]},
            ]
        }
    ]
    (tmp_path / "b.parquet").write_bytes(parquet_of(text))
    (line,) = read(tmp_path / "b.parquet")
    assert line.row
    assert to_example(line.row).messages[1]["tool_calls"][0]["function"]["arguments"] == {"until": None}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"prompt;completion\na;b\n", "a.csv: its columns are separated by ';'"),
        (b"prompt\tcompletion\na\tb\n", "a.csv: its columns are separated by '\\t'"),
        (b"prompt,prompt\na,b\n", "a.csv: its first line names a column twice"),
        (b"prompt,completion\na\n", "a.csv:2: 1 cells, where the first line names 2"),
        (b'prompt,completion\na,b\n"c,d\n', "a.csv:3: not CSV"),
        (b"prompt,completion\n\xff,b\n", "a.csv:2: not UTF-8"),
        (b"prompt,completion\na,\n", "a.csv:2: prompt without completion"),
        (b"\xff\xfep\0", "a.csv: the file is UTF-16"),
    ],
)
def test_what_is_wrong_with_a_csv_file(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    (problem,) = check(find(tmp_path), processes=1).problems
    assert f"{problem.place}: {problem.reason}".startswith(reason)


# ---------------------------------------------------------------- which files


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"), ("a.jsonl", "train"), ("valid.jsonl", "valid"), ("data/validation-00000-of-00001.parquet", "valid"),
        ("test/a.jsonl.gz", "test"), ("my_test_file.csv", "test"), ("dev.json", "valid"), ("val1.jsonl", "valid"), ("eval.jsonl", "test"),
        ("testing/train.jsonl", "train"), ("latest.jsonl", "train"), ("contest.jsonl", "train"), ("TEST.JSONL", "test"),
    ],
)  # fmt: skip
def test_parts_of_a_dataset_by_name(name: str, split: str) -> None:
    assert split_of(name) == split
    assert rows_of(suffix_of(name)) in {".jsonl", ".parquet", ".csv", ".json"}


def test_held_out_and_test_files_count_for_themselves(tmp_path: Path) -> None:
    for name, count in (("train", 3), ("valid", 2), ("test", 1)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps({"text": f"{name} {at}"}) + b"\n" for at in range(count)))
    report = check(find(tmp_path), processes=1)
    assert (report.examples, report.splits) == (3, {"train": 3, "valid": 2, "test": 1})
    assert report.formats == {"text": 3}
    (tmp_path / "train.jsonl").unlink()
    report = check(find(tmp_path), processes=1)
    assert (report.examples, report.splits) == (3, {}), "where nothing else is there, names decide nothing"


def test_each_file_that_is_passed_over_has_its_reason(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for folder in ("outputs/run", ".git", "sub"):
        (data / folder).mkdir(parents=True)
    (data / "outputs/run/metrics.jsonl").write_bytes(LINES)
    (data / ".git/a.jsonl").write_bytes(LINES)
    (data / "sub/a.jsonl").write_bytes(LINES)
    (data / ".hidden.jsonl").write_bytes(LINES)
    (data / "notes.md").write_text("x")
    (data / "LICENSE").write_text("x")
    (data / "data.tar.gz").write_text("x")
    (data / "dataset_info.json").write_text("{}")
    (data / "package.json").write_bytes(orjson.dumps({"name": "x", "scripts": {}}))
    (data / "config.json").write_bytes(orjson.dumps({"a": {"b": 1}}, option=orjson.OPT_INDENT_2))
    (data / "vocab.json").write_bytes(b'["a", "b"]')
    (data / "gone.jsonl").symlink_to("nowhere")
    (data / "linked").symlink_to(tmp_path)
    (data / "same.jsonl").symlink_to("sub/a.jsonl")
    found = find(data)
    assert [file.name for file in found.files] == ["same.jsonl", "sub/a.jsonl"]
    assert {one.name: one.reason for one in found.passed} == {
        "outputs/": "what runs have made",
        ".git/": "hidden",
        ".hidden.jsonl": "hidden",
        "notes.md": "no data: .md",
        "LICENSE": "no data: no suffix",
        "data.tar.gz": "no data: .gz of what is not known",
        "dataset_info.json": "metadata of an Arrow folder",
        "package.json": "a JSON object with the keys name, scripts, which no known form has",
        "config.json": "a JSON object over several lines, and no rows",
        "vocab.json": "a JSON array, but not of objects",
        "gone.jsonl": "a link to nothing",
        "linked/": f"a link to the folder {tmp_path}, which is not followed",
    }


def test_a_folder_saved_to_disk_is_read(tmp_path: Path) -> None:
    (tmp_path / "data-00000-of-00001.arrow").write_bytes(stream_of(ROWS))
    (tmp_path / "cache-1f.arrow").write_bytes(b"")
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "dataset_info.json").write_text("{}")
    report = check(find(tmp_path), processes=1)
    assert (report.examples, report.bad) == (3, 0)
    assert len(report.passed) == 3


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"a.txt": b"x", "b.txt": b"x"}, "holds no dataset, only 2 .txt: expected"),
        ({"a.txt": b"x", "linked": "/"}, "only 1 .txt, linked/ (a link to the folder /, which is not followed)"),
        ({"outputs/a.jsonl": LINES}, "only outputs/ (what runs have made)"),
        ({"gone.jsonl": "nowhere"}, "only gone.jsonl (a link to nothing)"),
        ({"state.json": b"{}"}, "only state.json (metadata of an Arrow folder)"),
        ({"a.gz": gzip.compress(b"x")}, "only 1 .gz of what is not known"),
        ({}, "is empty: expected"),
        ({".keep": b""}, "is empty: expected"),
    ],
)
def test_a_folder_with_nothing_usable_says_what_it_saw(tmp_path: Path, made: dict[str, bytes | str], words: str) -> None:
    for name, content in made.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        find(tmp_path)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["new\nline.jsonl", "tab\t.jsonl", "escape\x1b[31m.jsonl", "bell\x07.json", "line\u2028separator.jsonl"])
def test_a_name_that_breaks_a_line_is_refused_with_a_better_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(LINES)
    with pytest.raises(UsageError, match="holds a line's end or a control character") as caught:
        find(tmp_path)
    assert str(caught.value).isprintable()
    assert caught.value.hint.startswith("mv $'")
    assert caught.value.hint.isprintable()
    with pytest.raises(UsageError):
        find(tmp_path / name)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.jsonl")).write_bytes(LINES)
    with pytest.raises(UsageError, match="is not UTF-8") as caught:
        find(tmp_path)
    assert "\\xff" in caught.value.hint


def test_odd_names_are_names(tmp_path: Path) -> None:
    names = ["with space.jsonl", "plus+sign.jsonl", "quote'\".jsonl", "percent%20.jsonl", "ünï-日本.jsonl", "a#d&c.jsonl"]
    for name in names:
        (tmp_path / name).write_bytes(LINES)
    assert sorted(file.name for file in find(tmp_path).files) == sorted(names)


# ---------------------------------------------------------------- bad files

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 875191\n"


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.jsonl.bz2", "a.json", "a.csv", "a.csv.xz", "a.parquet", "a.arrow"]
)
def test_a_pointer_of_git_lfs_is_told_once(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    (problem,) = check(find(tmp_path), processes=1).problems
    assert (problem.place, problem.reason) == (name, "the file is a Git LFS pointer, not the data it stands for: git lfs pull")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LINES.decode().encode("utf-16"), "the file is UTF-16, not UTF-8: iconv"),
        (LINES.decode().encode("utf-16-le"), "the file is UTF-16, not UTF-8"),
        (LINES.decode().encode("utf-16-be"), "the file is UTF-16, not UTF-8"),
        (LINES.decode().encode("utf-32"), "the file is UTF-32, not UTF-8"),
        (gzip.compress(LINES), "the file is gzip: name it .jsonl.gz"),
        (bz2.compress(LINES), "the file is bzip2: name it .jsonl.bz2"),
        (lzma.compress(LINES), "the file is xz: name it .jsonl.xz"),
        (b"PK\x03\x04" + LINES, "the file is a zip archive"),
        (b"<!DOCTYPE html>\n<html>", "the file is a web page"),
        (orjson.dumps(ROWS, option=orjson.OPT_INDENT_2), "the file is a JSON array written over several lines"),
        (b"[\n" + LINES.replace(b"\n", b",\n") + b"]\n", "the file is a JSON array written over several lines"),
        (b"[" + LINES.replace(b"\n", b",\n"), "the file is a JSON array written over several lines"),
        (orjson.dumps(ROWS[0], option=orjson.OPT_INDENT_2), "the file is a JSON object written over several lines"),
    ],
)
def test_what_a_file_is_instead_is_told_once(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    (problem,) = check(find(tmp_path), processes=1).problems
    assert problem.place == "a.jsonl"
    assert problem.reason.startswith(reason)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a"},', "a comma ends the line"),
        (b'{"text": "a"} ,\r', "a comma ends the line"),
        (b"]", "a bracket of an array"),
        (b'{"text": "\\ud83d"}', "half a character"),
        (b'{"text": "\\ude00 x"}', "half a character"),
        (b'{"text": "a", "score": NaN}', "not JSON: NaN is no number there"),
        (b'{"text": "a", "score": -Infinity}', "not JSON: Infinity is no number there"),
        (b"{'text': 'a'}", "not JSON but Python"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 11"),
        (b'[{"text": "a"}]', "the line is an array of rows"),
        (b'{"text": "a"} {"text": "b"}', "not JSON: unexpected content after document"),
        (b'["a"]', "the line is an array, not an object"),
    ],
)
def test_what_is_wrong_with_a_line_is_told_in_its_own_words(tmp_path: Path, line: bytes, reason: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "before"}\n' + line + b'\n{"text": "behind"}\n')
    report = check(find(tmp_path), processes=1)
    (problem,) = report.problems
    assert problem.place == "a.jsonl:2"
    assert problem.reason.startswith(reason)
    assert report.examples == 2


@pytest.mark.parametrize(
    "line",
    [
        b'[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]',
        b'[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]',
    ],
)
def test_an_array_of_messages_is_a_conversation(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(line)
    assert check(find(tmp_path), processes=1).examples == 1


def test_what_cannot_be_unpacked_is_told(tmp_path: Path) -> None:
    for name, pack in PACKS.items():
        if name:
            (tmp_path / f"a.jsonl{name}").write_bytes(pack(LINES * 50)[:-9])
    report = check(find(tmp_path), processes=1)
    assert len(report.problems) == 4
    assert all("the compressed file is damaged" in problem.reason for problem in report.problems)
