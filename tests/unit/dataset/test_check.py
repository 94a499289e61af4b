"""A checked dataset: the same facts however it is cut, in bounded memory, and a clean copy of it."""

import gzip
import os
from array import array
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings, strategies as st
from pyarrow import parquet

from llmlab.dataset import check as module
from llmlab.dataset.calls import openai_call, plain_call
from llmlab.dataset.check import check, lines_of, parts
from llmlab.dataset.clean import clean
from llmlab.dataset.duplicates import Digests
from llmlab.dataset.files import DataPath, find
from llmlab.dataset.formats import Message
from llmlab.dataset.forms import to_example
from llmlab.dataset.lines import read
from llmlab.dataset.messages import at_a_glance, read_message, read_messages
from llmlab.dataset.report import DatasetReport, quantile
from llmlab.dataset.tokens import estimate, measure
from llmlab.dataset.usual import MARKS_PER_MESSAGE, usual
from llmlab.errors import UsageError

CHAT = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]


def write(folder: Path, **files: list[Any]) -> Path:
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))
    return folder


def test_facts(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=[
            {"messages": CHAT},
            b"",
            b"{",
            {"messages": CHAT},
            {"prompt": "2 + 2?", "completion": "4"},
            {"prompt": "x", "completion": " \n"},
        ],
        b=[{"text": "a" * 400}, {"messages": CHAT, "tools": [{"name": "f"}]}, {"no": 1}],
    )
    report = check(find(tmp_path), max_length=50)
    assert [(file.name, file.examples, file.bad, file.blank) for file in report.files] == [("a.jsonl", 4, 1, 1), ("b.jsonl", 2, 1, 0)]
    assert report.formats == {"messages": 3, "prompt-completion": 2, "text": 1}
    assert report.kinds == {"chat": 5, "text": 1}
    assert not report.mixed, "chats and texts are learned from together"
    assert [(problem.place, problem.reason.split(":")[0]) for problem in report.problems] == [
        ("a.jsonl:3", "not JSON"),
        ("b.jsonl:3", "no known form has the keys no"),
    ]
    assert (report.duplicates, report.duplicate_places) == (2, ("a.jsonl:4 = a.jsonl:1", "a.jsonl:5 = a.jsonl:1"))
    assert (report.empty_answers, report.empty_places) == (1, ("a.jsonl:6",))
    assert (report.longest_tokens, report.longest) == (100, "b.jsonl:1")
    assert (report.over_length, report.over_places) == (1, ("b.jsonl:1",))
    assert report.with_tools == 1
    one = estimate("2 + 2?") + estimate("4") + 2 * MARKS_PER_MESSAGE
    assert report.median_tokens == one
    answer = estimate("4") + MARKS_PER_MESSAGE
    assert report.trained_tokens == 4 * answer + (estimate(" \n") + MARKS_PER_MESSAGE) + 100
    assert not report.good


def test_places_are_in_the_order_of_the_file_where_rows_of_several_kinds_mix(tmp_path: Path) -> None:
    """Usual rows are counted many at a time, after others that come behind them in the file."""
    long, empty = "a" * 400, {"role": "assistant", "content": " "}
    usual = [{"messages": [CHAT[0], {"role": "assistant", "content": f"{number} {long}"}]} for number in range(3)]
    other = [{"text": f"{number} {long}"} for number in range(3)]
    silent: list[Any] = [{"messages": [CHAT[0], empty]}, {"prompt": "x", "completion": " "}, {"messages": [CHAT[0], empty]}]
    write(tmp_path, a=[usual[0], other[0], usual[1], other[1], *silent, usual[2], other[2]])
    report = check(find(tmp_path), max_length=50)
    assert report.over_places == tuple(f"a.jsonl:{line}" for line in (1, 2, 3, 4, 8, 9))
    assert report.empty_places == tuple(f"a.jsonl:{line}" for line in (5, 6, 7))


ROWS = st.lists(
    st.one_of(
        st.just({"messages": CHAT}),
        st.text(max_size=9).map(lambda text: {"text": text}),
        st.tuples(st.text(max_size=5), st.text(max_size=5)).map(lambda pair: {"prompt": pair[0], "completion": pair[1]}),
        st.sampled_from([b"", b"  ", b"{", b"[]", b"\xff", b'{"a": 1}']),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cut")


@given(ROWS, st.booleans(), st.integers(1, 200))
def test_cutting_changes_nothing(folder: Path, rows: list[Any], newline: bool, size: int) -> None:
    write(folder, a=rows)
    file = folder / "a.jsonl"
    content = file.read_bytes() if newline else file.read_bytes().removesuffix(b"\n")
    file.write_bytes(content)
    data = DataPath(file, file.name, len(content))
    cut = list(parts([data], size))
    assert sum(part.size for part in cut) == len(content)
    assert [part.start for part in cut[1:]] == [part.end for part in cut[:-1]]
    whole = [(line.row, line.reason) for part in parts([data]) for line in lines_of(part)]
    assert [(line.row, line.reason) for part in cut for line in lines_of(part)] == whole
    number = 0
    numbers = []
    for part in cut:
        lines = list(lines_of(part))
        numbers += [number + line.number for line in lines if line.row is not None]
        number += len(lines)
    assert numbers == [line.number for line in read(file) if line.row is not None]


def test_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts two processes, which takes a second."""
    monkeypatch.setattr(module, "PART", 1000)
    write(tmp_path, a=[{"text": str(number % 90)} if number % 7 else b"{" for number in range(400)], b=[{"messages": CHAT}] * 50)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "1"}\n\nx\n'))
    done: list[tuple[float, float]] = []
    one = check(find(tmp_path), processes=1)
    two = check(find(tmp_path), processes=2, progress=lambda *at: done.append(at))
    assert one == two
    assert one.problems[-1].place == "c.jsonl.gz:3"
    assert done[-1] == (one.size, one.size)


def test_a_line_beyond_the_limit_is_one_bad_line(tmp_path: Path) -> None:
    """A sparse file: nothing of its 2 GB lies on the disk, or is held in memory."""
    file = tmp_path / "a.jsonl"
    with file.open("wb") as stream:
        stream.write(b'{"text": "a"}\n')
        stream.truncate(300 << 20)
        stream.seek(0, os.SEEK_END)
        stream.write(b'\n{"text": "b"}\n')
    report = check(find(file), processes=1)
    assert (report.examples, report.bad) == (2, 1)
    assert (report.problems[0].place, report.problems[0].reason) == ("a.jsonl:2", "a line of 300 MiB: the most is 64 MiB")


@settings(max_examples=15)  # each may open a file a bucket
@given(st.lists(st.integers(0, 40), max_size=60), st.sampled_from([0, 5, 100]))
def test_duplicates_with_and_without_the_disk(values: list[int], held: int) -> None:
    digests = Digests(held)
    for start in range(0, len(values), 7):
        chunk = values[start : start + 7]
        digests.add(array("Q", [value << 54 for value in chunk]), array("I", range(1, len(chunk) + 1)), 0, start)
    count, pairs = digests.repeated()
    digests.close()
    assert count == len(values) - len(set(values))
    assert all(values[later - 1] == values[first - 1] and values.index(values[first - 1]) == first - 1 for later, first in pairs)


WORDS = st.sampled_from(["", " \n", "four", "\u00fcber", "a\0b", "[{", '[{"role": "user"}]'])
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "bot", "human", "gpt", "Human", "function_call", "narrator"])
PLAIN = st.fixed_dictionaries({"role": ROLES, "content": WORDS | st.none()})
TURN = st.fixed_dictionaries({"from": ROLES, "value": WORDS | st.none()})
PARTS = st.builds(lambda text: [{"type": "text", "text": text}], WORDS)
ANY_MESSAGE = PLAIN | st.fixed_dictionaries(
    {"content": WORDS | PARTS, "role": ROLES},
    optional={"weight": st.sampled_from([0, 1, 0.5, None, True]), "id": st.just(7), "train": st.booleans(), "mood": st.just("x")},
)
MORE: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(
        [
            "id",
            "tools",
            "chosen",
            "rejected",
            "text",
            "label",
            "weight",
            "persona",
            "system",
            "images",
            "history",
            "thinking",
            "input",
            "context",
            "system_prompt",
            "stop_reason",
            "rejected_response",
        ]
    ),
    st.none() | st.just([]) | WORDS | PARTS | st.booleans() | st.lists(st.lists(WORDS | st.just(1), min_size=1, max_size=2), max_size=2),
    max_size=2,
)
CHATS = st.one_of(
    st.fixed_dictionaries({"messages": st.lists(PLAIN, max_size=4) | st.lists(ANY_MESSAGE, max_size=4)}),
    st.fixed_dictionaries({"conversations": st.lists(TURN, max_size=4) | st.lists(PLAIN, max_size=4)}),
)
PAIRS = st.sampled_from(
    [
        ("prompt", "completion"),
        ("instruction", "output"),
        ("question", "answer"),
        ("input", "output"),
        ("prompt", "response"),
        ("question", "response"),
        ("instruction", "response"),
        ("query", "response"),
    ]
).flatmap(lambda keys: st.fixed_dictionaries(dict.fromkeys(keys, WORDS | st.integers(0, 1))))


@given(CHATS | PAIRS, MORE)
def test_the_quick_way_says_the_same(row: dict[str, Any], more: dict[str, Any]) -> None:
    quick = usual({**row, **more})
    if quick:
        example = to_example({**row, **more})
        assert quick == (example.format, measure(example, estimate))
        assert not example.unread


CALL = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["c1", 1, None]),
        "type": st.just("function"),
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["find", "", None]),
                "arguments": st.sampled_from(['{"a": 1}', "", "{", '"{}"', {"a": 1}, None, 3]),
                "parameters": st.just({"b": 2}),
            },
        ),
        "custom": st.just({"name": "run", "input": "x"}),
        "name": st.just("find"),
    },
)


@given(CALL)
def test_a_plain_call_is_read_as_any_call(value: dict[str, Any]) -> None:
    quick = plain_call(value)
    assert quick is None or quick == openai_call(value, "x")


def test_plain_calls_are_taken_at_a_glance() -> None:
    function = {"name": "find", "arguments": '{"a": 1}'}
    call = {"id": "c1", "type": "function", "function": function}
    assert plain_call(call) == openai_call(call, "x")
    assert at_a_glance({"role": "assistant", "content": None, "tool_calls": [call]})
    assert at_a_glance({"role": "tool", "content": "4", "tool_call_id": "c1"})


@given(
    st.fixed_dictionaries(
        {"role": ROLES, "content": WORDS | PARTS | st.none()},
        optional={
            "tool_calls": st.none() | st.just("") | st.just([]) | st.lists(CALL, max_size=2),
            "tool_call_id": st.sampled_from(["c1", None]),
            "name": st.sampled_from(["find", None]),
            "weight": st.sampled_from([0, 1, None]),
        },
    )
)
def test_a_message_read_at_a_glance_is_read_alike(given: dict[str, Any]) -> None:
    quick = read_messages([given], "x", set()) if at_a_glance(given) else None
    assert quick is None or quick == _read_closely(given)


def _read_closely(given: dict[str, Any]) -> tuple[list[Message], list[int]]:
    messages, learned = read_message(given, "x[0]", set())
    return messages, [len(messages) - 1] if learned else []


def test_the_quick_way_is_taken() -> None:
    taken: list[dict[str, Any]] = [
        {"messages": CHAT, "id": 1},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"prompt": "a", "completion": "b"},
        {"instruction": "a", "output": "b"},
        {"question": "a", "answer": "b", "source": "x"},
        {"instruction": "a", "input": "c", "output": "b", "history": []},
        {"instruction": "a", "context": "c", "response": "b"},
        {"prompt": "a", "completion": "b", "system": "s"},
        {"prompt": "a", "response": "b", "history": [["c", "d"]], "system": "s"},
        {"messages": CHAT, "system": [{"type": "text", "text": "s"}], "tools": []},
        {"messages": [{**CHAT[0], "id": 1}, {**CHAT[1], "weight": 1, "content": [{"type": "text", "text": "b"}]}]},
        {"conversation": CHAT, "toxic": False},
    ]
    assert all(usual(row) for row in taken)
    others: list[dict[str, Any]] = [
        {"messages": CHAT[:1]},
        {"text": "a"},
        {"messages": []},
        {"messages": CHAT, "tools": [{"name": "f"}]},
        {"messages": CHAT, "label": "math"},
        {"messages": CHAT, "label": True},
        {"messages": CHAT, "persona": "x"},
        {"messages": CHAT, "images": ["x"]},
        {"messages": CHAT, "rejected_response": "x"},
        {"messages": [{**CHAT[0], "weight": 1}, CHAT[1]]},
        {"messages": [{"role": "system", "content": "t"}, *CHAT], "system": "s"},
        {"prompt": "a", "completion": "b", "system": "s", "system_prompt": "t"},
        {"prompt": "a", "response": "b", "history": [["c", 1]]},
        {"instruction": "a", "input": "", "output": "b", "history": [["c", "d"]]},
        {"messages": "a"},
    ]
    assert not any(usual(row) for row in others)


def test_quantile() -> None:
    from collections import Counter

    assert [quantile(Counter({1: 50, 10: 45, 100: 5}), share) for share in (0.5, 0.95, 1)] == [1, 10, 100]
    assert quantile(Counter(), 0.5) == 0


def test_tokenizer_counts(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    data = tmp_path / "data"
    data.mkdir()
    write(data, a=[{"text": "a b a"}, {"prompt": "a", "completion": "b b"}])
    report = check(find(data), tokenizer=tmp_path)
    assert report.tokens == 3 + (1 + 2 + 2 * MARKS_PER_MESSAGE)
    assert report.tokenizer == str(tmp_path)
    with pytest.raises(UsageError, match="there is no tokenizer"):
        check(find(data), tokenizer=data)
    (data / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="is not a tokenizer"):
        check(find(data), tokenizer=data)


DIRTY = b'{"text": "a"}\n{\n\n{"text": "\xff"}\r\n{"text": "b"}\r\n{"no": 1}'


@pytest.mark.parametrize(
    ("name", "content", "opened"),
    [
        ("a.jsonl", DIRTY, bytes),
        ("a.jsonl", b"\xef\xbb\xbf" + DIRTY, bytes),
        ("a.jsonl.gz", gzip.compress(DIRTY, mtime=0), gzip.decompress),
        ("a.jsonl.zst", zstandard.compress(DIRTY), lambda raw: zstandard.ZstdDecompressor().decompressobj().decompress(raw)),
    ],
)
def test_clean_keeps_the_good_lines(tmp_path: Path, name: str, content: bytes, opened: Any) -> None:
    source, target, again = tmp_path / name, tmp_path / f"out-{name}", tmp_path / f"again-{name}"
    source.write_bytes(content)
    assert clean(source, target) == clean(source, again) == 2
    assert opened(target.read_bytes()) == b'{"text": "a"}\n{"text": "b"}\n'
    assert target.read_bytes() == again.read_bytes(), "so that the next upload finds it unchanged"
    report: DatasetReport = check(find(target))
    assert (report.examples, report.bad) == (2, 0)


def test_clean_parquet(tmp_path: Path) -> None:
    source, target = tmp_path / "a.parquet", tmp_path / "b.parquet"
    parquet.write_table(pa.table({"text": ["a", None, "b"]}), source)
    assert clean(source, target) == 2
    assert [line.row for line in read(target)] == [{"text": "a"}, {"text": "b"}]
    source.write_bytes(b"no")
    assert clean(source, target) == 0
