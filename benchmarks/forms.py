"""Chats made up for measuring, written in each form of row and each kind of file, and what a file's own library takes to read it."""

import bz2
import csv
import gzip
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from benchmarks.chats import make

Row = dict[str, Any]
BLOCKS = [{"type": "text", "text": ""}]


def chats(folder: Path, size: int) -> Iterator[list[Row]]:
    """The messages of each chat of `benchmarks.chats`."""
    with make(folder / "chats.jsonl", size).open("rb") as lines:
        for line in lines:
            yield orjson.loads(line)["messages"]


def asked(messages: list[Row]) -> str:
    return str(next(message["content"] for message in messages if message["role"] == "user"))


def blocks(text: str) -> list[Row]:
    return [{"type": "text", "text": text}]


def sharegpt(messages: list[Row]) -> list[Row]:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names[message["role"]], "value": message["content"]} for message in messages]


def called(messages: list[Row]) -> list[Row]:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": orjson.dumps({"text": asked(messages)}).decode()}}
    result = {"role": "tool", "tool_call_id": "c1", "content": messages[-1]["content"]}
    return [*messages[:-1], {"role": "assistant", "content": None, "tool_calls": [call]}, result, messages[-1]]


TOOLS = [{"type": "function", "function": {"name": "find", "description": "Finds a text.",
                                           "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}}]  # fmt: skip


def items(messages: list[Row]) -> list[Row]:
    return [{"type": "message", "role": one["role"], "content": [{"type": "input_text", "text": one["content"]}]} for one in messages]


FORMS: dict[str, Callable[[list[Row]], Row]] = {
    "messages": lambda chat: {"messages": chat},
    "messages with tools": lambda chat: {"messages": called(chat), "tools": TOOLS},
    "messages in parts": lambda chat: {"system": "s", "messages": [{**one, "content": blocks(one["content"])} for one in chat if
    one["role"] != "system"]}, "messages with weights": lambda chat: {"messages": [{**one, "weight": 1} if one["role"] == "assistant" else
    one for one in chat]}, "session": lambda chat: {"request": {"messages": [one for one in chat[:-1] if one["role"] != "system"],
    "system": blocks("s")}, "response": {"content": blocks(chat[-1]["content"]), "stop_reason": "end_turn"}},
    "openai-log": lambda chat: {"request": {"messages": chat[:-1]}, "response": {"choices": [{"message": chat[-1], "finish_reason":
    "stop"}]}}, "responses-log": lambda chat: {"request": {"input": items(chat[:-1])}, "response": {"output": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": chat[-1]["content"]}]}]}},
    "preference": lambda chat: {"prompt": chat[:-1], "chosen": chat[-1:], "rejected": [{**chat[-1], "content": chat[-1]["content"][::-1]}]},
    "openai-preference": lambda chat: {"input": {"messages": chat[:-1]}, "preferred_output": chat[-1:],
                                       "non_preferred_output": [{**chat[-1], "content": "no"}]},
    "rejected-response": lambda chat: {"messages": chat, "rejected_response": chat[-1]["content"][::-1]},
    "kto": lambda chat: {"messages": chat, "label": True},
    "conversations": lambda chat: {"conversations": sharegpt(chat)},
    "gemini": lambda chat: {"contents": [{"role": "user" if one["role"] == "user" else "model", "parts": [{"text": one["content"]}]} for
    one in chat]}, "prompt-completion": lambda chat: {"prompt": asked(chat), "completion": chat[-1]["content"]},
    "prompt-completion of messages": lambda chat: {"prompt": chat[:-1], "completion": chat[-1:]},
    "alpaca": lambda chat: {"instruction": asked(chat), "input": "", "output": chat[-1]["content"]},
    "instruction-response": lambda chat: {"instruction": "Answer.", "context": asked(chat), "response": chat[-1]["content"]},
    "query-response with history": lambda chat: {"query": asked(chat), "response": chat[-1]["content"], "history": [["a", "b"]]},
    "question-answer": lambda chat: {"question": asked(chat), "answer": chat[-1]["content"]},
    "input-output": lambda chat: {"input": asked(chat), "output": chat[-1]["content"]},
    "text": lambda chat: {"text": "\n".join(one["content"] for one in chat)},
}  # fmt: skip

LINES = "import orjson, sys\nwith {open} as file:\n    for line in file:\n        orjson.loads(line)\n"
TABLE = "import sys\n{opening}\nfor batch in {batches}:\n    batch.to_pylist()\n"
BARE = {
    ".jsonl": LINES.format(open="open(sys.argv[1], 'rb')"),
    ".jsonl.gz": "import gzip\n" + LINES.format(open="gzip.open(sys.argv[1])"),
    ".jsonl.zst": "import io, zstandard\n" + LINES.format(open="io.BufferedReader(zstandard.open(sys.argv[1], 'rb'))"),
    ".jsonl.bz2": "import bz2\n" + LINES.format(open="bz2.open(sys.argv[1])"),
    ".jsonl.xz": "import lzma\n" + LINES.format(open="lzma.open(sys.argv[1])"),
    ".json": "import orjson, sys\norjson.loads(open(sys.argv[1], 'rb').read())\n",
    ".csv": "import csv, sys\nfor row in csv.DictReader(open(sys.argv[1], newline='')):\n    pass\n",
    ".parquet": TABLE.format(opening="from pyarrow import parquet", batches="parquet.ParquetFile(sys.argv[1]).iter_batches()"),
    ".arrow": TABLE.format(opening="import pyarrow as pa", batches="pa.ipc.open_stream(pa.memory_map(sys.argv[1]))"),
}
"""What reads a file into dicts and does nothing else."""
PACKS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": zstandard.open}


def write(path: Path, form: str, folder: Path, size: int) -> Path:
    """A file of one form, in the way that its suffixes say, made of `size` bytes of chats."""
    rows = (FORMS[form](chat) for chat in chats(folder, size))
    name = path.name
    if name.endswith(".csv"):
        _csv(path, rows)
    elif name.endswith((".parquet", ".arrow")):
        _table(path, rows)
    elif name.endswith(".json"):
        path.write_bytes(b"[" + b",\n".join(map(orjson.dumps, rows)) + b"]\n")
    else:
        opened = PACKS.get(path.suffix, open)
        with opened(path, "wb") as out:
            for row in rows:
                out.write(orjson.dumps(row) + b"\n")
    return path


def _csv(path: Path, rows: Iterator[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        first = next(rows)
        writer = csv.DictWriter(out, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


def _table(path: Path, rows: Iterator[Row]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pylist(list(rows))
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
        return
    with pa.ipc.new_stream(str(path), table.schema) as out:
        out.write_table(table, max_chunksize=1000)


def transcripts(folder: Path, source: Path, size: int) -> Path:
    """A folder of Claude Code transcripts, one of a hundred chats each."""
    folder.mkdir()
    lines: list[bytes] = []
    for number, chat in enumerate(chats(source, size)):
        if number % 100 == 0 and lines:
            (folder / f"{number}.jsonl").write_bytes(b"".join(lines))
            lines = []
        for message in chat:
            at = len(lines)
            said = message if message["role"] == "user" else {"id": f"m{at}", "role": "assistant", "content": blocks(message["content"])}
            row = {"type": said["role"], "sessionId": "s", "uuid": f"u{at}", "parentUuid": f"u{at - 1}" if at else None, "isSidechain":
            False, "cwd": "/w", "version": "2.0.1", "timestamp": "2026-01-01T00:00:00Z", "message": said}  # fmt: skip
            if message["role"] != "system":
                lines.append(orjson.dumps(row) + b"\n")
    (folder / "last.jsonl").write_bytes(b"".join(lines))
    return folder
