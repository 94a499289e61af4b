"""One table of inputs as people's own files are: each kind in five ways at least, and what becomes of it.

What becomes of a folder is one text: each example's turns, with * where they carry loss, thoughts in ( ), calls in [ ], the two answers of
a preference behind >; each row that is refused or left out as its place and reason; and what stood there unread. A reason is given by a
part of it.
"""

# ruff: noqa: E501 - an input a line reads better than cut up

import bz2
import gzip
import io
import lzma
import struct
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from llmlab.dataset import Example, find, read, to_example
from llmlab.dataset.check import check
from llmlab.errors import UsageError

Row = dict[str, Any]
Files = dict[str, bytes]


def lines(*rows: Any, end: bytes = b"\n") -> bytes:
    return b"".join(orjson.dumps(row) + end for row in rows)


def chat(*said: str) -> list[Row]:
    """Messages of a user and an assistant in turn."""
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]


def gpt(*said: str) -> list[Row]:
    return [{"from": ("human", "gpt")[at % 2], "value": text} for at, text in enumerate(said)]


def table(*rows: Row, schema: Any = None, **options: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), out, **options)
    return out.getvalue()


def stream(*rows: Row, file: bool = False) -> bytes:
    out = io.BytesIO()
    made = pa.Table.from_pylist(list(rows))
    with (pa.ipc.new_file if file else pa.ipc.new_stream)(out, made.schema) as writer:
        writer.write_table(made)
    return out.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 12345\n"
PAIR = {"messages": chat("a", "b")}
PLAIN = "user: a\nassistant*: b"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
GET = {"name": "get", "description": "d", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": GET}]
OSLO = '[get {"city":"Oslo"}]'
ASK = {"role": "user", "content": "Rain?"}


def calling(**call: Any) -> Row:
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def log(answer: Any, *said: str, **more: Any) -> Row:
    return {"request": {"messages": chat(*said)}, "response": {"content": answer, **more}}


def claude(*said: Any) -> bytes:
    """A transcript of Claude Code, its lines one behind the other."""
    rows = []
    for at, content in enumerate(said):
        kind = ("user", "assistant")[at % 2]
        message = {"role": kind, "content": content} | ({"id": f"m{at}"} if at % 2 else {})
        rows.append(
            {
                "type": kind,
                "sessionId": "s",
                "uuid": f"u{at}",
                "parentUuid": f"u{at - 1}" if at else None,
                "isSidechain": False,
                "message": message,
            }
        )
    return lines(*rows)


USE = [{"type": "tool_use", "id": "t1", "name": "get", "input": {"city": "Oslo"}}]
RESULT = [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]
RAINING = f"user: Rain?\nassistant*: {OSLO}\ntool: rain\nassistant*: Yes."
ANSWERED = "user: q\nassistant*: w"
PREFERRED = "user: q\n> w\n> l"
FOUND_A_PICTURE = "only text can be trained on"
UNPAIRED = [
    {"prompt": "q", "completion": "w", "label": True},
    {"prompt": "q", "completion": "w", "label": 0},
    {"instruction": "q", "input": "", "output": "w", "kto_tag": False},
    {"conversations": gpt("q", "w"), "kto_tag": True},
    {"messages": chat("q", "w"), "label": 1, "tools": None},
]

Expected = str | tuple[str, ...]
VARIATIONS: dict[str, list[tuple[Any, Expected]]] = {
    "history beside an instruction": [
        ({"instruction": "q", "output": "w", "history": [["h", "i"]]}, "user: h\nassistant*: i\nuser: q\nassistant*: w"),
        ({"instruction": "q", "input": "x", "output": "w", "history": [["h", "i"], ["j", "k"]]}, "user: h\nassistant*: i\nuser: j\nassistant*: k\nuser: q\n\nx\nassistant*: w"),
        ({"prompt": "q", "response": "w", "history": [["h", "i"]], "system": "s"}, "system: s\nuser: h\nassistant*: i\nuser: q\nassistant*: w"),
        ({"question": "q", "answer": "w", "history": []}, ANSWERED),
        ({"input": "q", "output": "w", "history": [["h", "i"]]}, "user: h\nassistant*: i\nuser: q\nassistant*: w"),
        ({"instruction": "q", "output": "w", "history": [["h"]]}, "data.jsonl:1 history[0] is not a pair of strings"),
        ({"instruction": "q", "output": "w", "history": "earlier"}, "data.jsonl:1 history: not JSON"),
        ({"text": "q", "history": [["h", "i"]]}, "data.jsonl:1 history beside text"),
    ],
    "answers cut off at their limit": [
        (log("w", "q", stop_reason="max_tokens"), "user: q\nassistant*: w…"),
        (log([{"type": "text", "text": "w"}], "q", stop_reason="model_context_window_exceeded"), "user: q\nassistant*: w…"),
        ({"request": {"messages": chat("q")}, "response": {"choices": [{"message": {"role": "assistant", "content": "w"}, "finish_reason": "content_filter"}]}}, "user: q\nassistant*: w…"),
        ({"messages": chat("q", "w"), "stop_reason": "max_tokens"}, "user: q\nassistant*: w…"),
        ({"messages": [*chat("q"), {"role": "assistant", "content": "w", "finish_reason": "length"}, *chat("r", "v")]}, "user: q\nassistant*: w…\nuser: r\nassistant*: v"),
        (log("w", "q", stop_reason="stop_sequence"), ANSWERED),
        (log([*USE], "q", stop_reason="max_tokens"), "data.jsonl:1 the answer was cut off within a call"),
    ],
    "blocks of Anthropic's under messages": [
        ({"messages": [ASK, {"role": "assistant", "content": USE}, {"role": "user", "content": RESULT}, {"role": "assistant", "content": "Yes."}]}, RAINING),
        ({"conversation": [ASK, {"role": "assistant", "content": USE}, {"role": "user", "content": RESULT}, {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}]}, RAINING),
        ({"messages": [ASK, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "Yes."}]}]}, "user: Rain?\nassistant*: (hm) Yes."),
        ({"messages": [ASK, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "Yes."}]}]}, "user: Rain?\nassistant*: Yes."),
        ({"messages": [ASK, {"role": "assistant", "content": USE}, {"role": "user", "content": [*RESULT, {"type": "text", "text": "And?"}]}, {"role": "assistant", "content": "Yes."}]},
         f"user: Rain?\nassistant*: {OSLO}\ntool: rain\nuser: And?\nassistant*: Yes."),
        ({"messages": [{"role": "user", "content": USE}, *chat("q", "w")]}, "data.jsonl:1 messages[0].content[0] is a tool_use block in a message of the user"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}, *chat("q", "w")]}, FOUND_A_PICTURE),
    ],
    "requests of Anthropic's with their responses": [
        (log("w", "q"), ANSWERED),
        ({"request": {"system": "s", "messages": chat("q")}, "response": {"role": "assistant", "content": [{"type": "text", "text": "w"}], "usage": {"output_tokens": 1}}}, "system: s\nuser: q\nassistant*: w"),
        ({"request": {"tools": [{"name": "get", "input_schema": SCHEMA}], "messages": [ASK]}, "response": {"content": USE, "stop_reason": "tool_use"}}, f"user: Rain?\nassistant*: {OSLO}"),
        ({"request": {"messages": chat("q"), "metadata": {"user_id": "x"}}, "response": {"content": [{"type": "text", "text": "w"}, {"type": "text", "text": "v"}]}}, "user: q\nassistant*: w\nv"),
        ({"id": "x", "timestamp": 1, "request": {"body": {"messages": chat("q")}}, "response": {"statusCode": 200, "body": {"content": [{"type": "text", "text": "w"}]}}}, ANSWERED),
        ({"request": {"messages": []}, "response": {"content": "w"}}, "data.jsonl:1 request.messages is not a list of messages"),
    ],
    "a line that is an array of messages": [
        (lines(chat("a", "b")), PLAIN),
        (lines(gpt("a", "b")), PLAIN),
        (lines([{"role": "system", "content": "s"}, *chat("a", "b")]), f"system: s\n{PLAIN}"),
        (lines(chat("a", "b"), chat("a", "b", "c", "d")), (PLAIN, f"{PLAIN}\nuser: c\nassistant*: d")),
        (lines(chat("a")), "data.jsonl:1 no assistant message to train on"),
        (lines([]), "data.jsonl:1 the line is an array, not an object"),
        (lines([PAIR, PAIR]), "data.jsonl:1 the line is an array of rows: write one a line, or name the file .json"),
    ],
    "folders that datasets saved to disk": [
        ({"data-00000-of-00001.arrow": stream(PAIR), "state.json": b"{}", "dataset_info.json": b"{}"}, PLAIN),
        ({"data-00000-of-00002.arrow": stream(PAIR), "data-00001-of-00002.arrow": stream(PAIR), "state.json": b"{}"}, (PLAIN, PLAIN)),
        ({"train/data-00000-of-00001.arrow": stream(PAIR), "train/state.json": b"{}", "dataset_dict.json": b'{"splits": ["train"]}'}, PLAIN),
        ({"data.arrow": stream(PAIR, file=True)}, PLAIN),
        ({"data.arrow": stream({"conversations": gpt("a", "b"), "tools": None}), "cache-12ab.arrow": stream({"a": 1})}, PLAIN),
        ({"data.arrow": b"nothing of Arrow's"}, "data.arrow not an Arrow file"), ({"data.arrow": b"ARROW1\0\0", "state.json": b"{}"}, ": save it again, or with to_parquet"),
        ({"data.arrow": stream({"prompt": "2 + 2?", "completion": "4"}).replace(struct.pack("<ii", 0, 6), struct.pack("<ii", 6, 0))}, "data.arrow not an Arrow file"),
    ],
    "parts as Bedrock writes them": [
        ({"messages": [{"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "content": [{"text": "b"}]}]}, PLAIN),
        ({"system": [{"text": "s"}], "messages": [{"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "content": [{"text": "b"}]}]}, f"system: s\n{PLAIN}"),
        ({"messages": [ASK, {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "get", "input": {"city": "Oslo"}}}]},
                       {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "rain"}]}}]}, {"role": "assistant", "content": [{"text": "Yes."}]}],
          "toolConfig": {"tools": [{"toolSpec": {"name": "get", "inputSchema": {"json": SCHEMA}}}]}}, RAINING),
        ({"messages": [{"role": "user", "content": [{"text": "a"}, {"text": "c"}]}, {"role": "assistant", "content": [{"text": "b"}]}]}, "user: a\nc\nassistant*: b"),
        ({"request": {"modelId": "m", "system": [{"text": "s"}], "messages": [{"role": "user", "content": [{"text": "a"}]}]}, "response": {"output": {"message": {"role": "assistant", "content": [{"text": "b"}]}}, "stopReason": "end_turn"}}, f"system: s\n{PLAIN}"),
        ({"messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}, {"role": "assistant", "content": [{"text": "b"}]}]}, FOUND_A_PICTURE),
    ],
    "files packed by bzip2": [
        ({"a.jsonl.bz2": bz2.compress(lines(PAIR))}, PLAIN),
        ({"a.json.bz2": bz2.compress(lines([PAIR]))}, PLAIN),
        ({"a.ndjson.bz2": bz2.compress(lines(PAIR)) + bz2.compress(lines(PAIR))}, (PLAIN, PLAIN)),
        ({"a.csv.bz2": bz2.compress(b"prompt,completion\na,b\n")}, PLAIN),
        ({"a.JSONL.BZ2": bz2.compress(lines(PAIR), 1)}, PLAIN),
        ({"a.jsonl.bz2": bz2.compress(lines(PAIR))[:-6]}, "the compressed file is damaged"),
        ({"a.jsonl": bz2.compress(lines(PAIR))}, "a.jsonl the file is bzip2: name it .jsonl.bz2"),
        ({"notes.txt.bz2": bz2.compress(b"x")}, "holds no dataset, only 1 .bz2 of what is not known"),
    ],
    "transcripts of Claude Code": [
        (claude("a", "b"), PLAIN),
        (claude("Rain?", USE, RESULT, [{"type": "text", "text": "Yes."}]), RAINING),
        (lines({"type": "summary", "summary": "x", "leafUuid": "u1"}) + claude("a", "b", "c", "d"), f"{PLAIN}\nuser: c\nassistant*: d"),
        (lines({"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}) + claude([{"type": "text", "text": "a"}], [{"type": "text", "text": "b"}]), PLAIN),
        (claude("a", "b", "c"), f"{PLAIN}\nuser: c"),
        ({"session.jsonl.gz": gzip.compress(claude("a", "b"))}, PLAIN),
        (claude("a"), "data.jsonl:1 a conversation without an answer"),
        (claude("a", "b", [{"type": "image", "source": {}}], "d"), (PLAIN, f"data.jsonl:3 message.content[0] is of type image, and {FOUND_A_PICTURE}; what follows in this conversation is left out")),
    ],
    "roles as Cohere writes them": [
        ({"messages": [{"role": "User", "content": "a"}, {"role": "Chatbot", "content": "b"}]}, PLAIN),
        ({"messages": [{"role": "System", "message": "s"}, {"role": "User", "message": "a"}, {"role": "Chatbot", "message": "b"}]}, f"system: s\n{PLAIN}"),
        ({"messages": [{"role": "USER", "message": "a"}, {"role": "CHATBOT", "message": "b"}]}, PLAIN),
        ({"messages": [{"role": "User", "content": "a"}, {"role": "Chatbot", "content": "b"}, {"role": "User", "content": "c"}, {"role": "Chatbot", "content": "d"}]}, f"{PLAIN}\nuser: c\nassistant*: d"),
        ({"conversations": [{"role": "User", "content": "a"}, {"role": "Chatbot", "content": "b"}]}, PLAIN),
        ({"messages": [{"role": "Narrator", "content": "a"}, {"role": "Chatbot", "content": "b"}]}, "data.jsonl:1 messages[0].role is 'Narrator', not one of system"),
    ],
    "messages under conversation": [
        ({"conversation": chat("a", "b")}, PLAIN),
        ({"conversation": chat("a", "b"), "language": "English", "toxic": False, "openai_moderation": [{"flagged": False}]}, PLAIN),
        ({"conversation": [{"role": "user", "content": "a", "hashed_ip": "x"}, {"role": "assistant", "content": "b", "turn_identifier": 1}], "model": "m"}, PLAIN),
        ({"conversation": gpt("a", "b")}, PLAIN),
        ({"conversation": [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]}, f"{PLAIN}\nuser: c\nassistant*: d"),
        ({"conversation": [{"input": "", "output": "b"}]}, "assistant*: b"),
        ({"conversation": [{"human": "a", "assistant": "b"}], "system": "s"}, f"system: s\n{PLAIN}"),
        ({"conversation": []}, "data.jsonl:1 conversation is empty"),
    ],
    "answers without loss under conversations": [
        ({"conversations": [*chat("a"), {"role": "assistant", "content": "x", "weight": 0}, *chat("c", "d")]}, "user: a\nassistant: x\nuser: c\nassistant*: d"),
        ({"conversations": [*gpt("a"), {"from": "gpt", "value": "x", "weight": 0}, *gpt("c", "d")]}, "user: a\nassistant: x\nuser: c\nassistant*: d"),
        ({"conversations": [*gpt("a"), {"from": "gpt", "value": "x", "weight": 1.0}]}, "user: a\nassistant*: x"),
        ({"items": [*gpt("a"), {"from": "gpt", "value": "x", "train": False}, *gpt("c", "d")]}, "user: a\nassistant: x\nuser: c\nassistant*: d"),
        ({"conversations": [*gpt("a"), {"from": "function_call", "value": '{"name": "get", "arguments": {"city": "Oslo"}}', "weight": 0}, {"from": "observation", "value": "rain"}, {"from": "gpt", "value": "b"}]},
         f"user: a\nassistant: {OSLO}\ntool: rain\nassistant*: b"),
        ({"conversations": [*gpt("a"), {"from": "gpt", "value": "x", "weight": 0}]}, "data.jsonl:1 no assistant turn to train on"),
        ({"conversations": [*gpt("a"), {"from": "gpt", "value": "x", "weight": 0.3}]}, "data.jsonl:1 conversations[1].weight is 0.3"),
    ],
    "conversations that end with the user": [
        ({"messages": chat("a", "b", "c")}, f"{PLAIN}\nuser: c"),
        ({"conversations": gpt("a", "b", "c")}, f"{PLAIN}\nuser: c"),
        ({"messages": [{"role": "system", "content": "s"}, *chat("a", "b", "c")]}, f"system: s\n{PLAIN}\nuser: c"),
        ({"messages": [*chat("a", "b"), {"role": "user", "content": [{"type": "text", "text": "c"}]}]}, f"{PLAIN}\nuser: c"),
        ({"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}, {"role": "user", "parts": [{"text": "c"}]}]}, f"{PLAIN}\nuser: c"),
        ({"messages": [*chat("a", "b"), {"role": "user", "content": "c"}, {"role": "user", "content": "d"}]}, f"{PLAIN}\nuser: c\nuser: d"),
    ],
    "functions of OpenAI's earlier form": [
        ({"messages": [ASK, {"role": "assistant", "content": None, "function_call": {"name": "get", "arguments": '{"city": "Oslo"}'}}, {"role": "function", "name": "get", "content": "rain"}, {"role": "assistant", "content": "Yes."}], "functions": [GET]}, RAINING),
        ({"messages": [ASK, {"role": "assistant", "function_call": {"name": "get", "arguments": {"city": "Oslo"}}}], "functions": [GET]}, f"user: Rain?\nassistant*: {OSLO}"),
        ({"messages": [ASK, {"role": "assistant", "content": "", "function_call": {"name": "get", "arguments": '{"city":"Oslo"}'}}], "functions": orjson.dumps([GET]).decode()}, f"user: Rain?\nassistant*: {OSLO}"),
        ({"messages": [ASK, {"role": "assistant", "content": "Yes.", "function_call": None}], "functions": [GET]}, "user: Rain?\nassistant*: Yes."),
        ({"request": {"messages": [ASK], "functions": [GET], "function_call": "auto"}, "response": {"choices": [{"message": {"role": "assistant", "content": None, "function_call": {"name": "get", "arguments": '{"city": "Oslo"}'}}, "finish_reason": "function_call"}]}}, f"user: Rain?\nassistant*: {OSLO}"),
        ({"text": "a", "functions": [GET]}, "data.jsonl:1 functions beside text: this form has no tools"),
    ],
    "two dialogues as strings": [
        ({"chosen": "\n\nHuman: q\n\nAssistant: w", "rejected": "\n\nHuman: q\n\nAssistant: l"}, PREFERRED),
        ({"chosen": "Human: q\n\nAssistant: w", "rejected": "Human: q\n\nAssistant: l"}, PREFERRED),
        ({"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: q\n\nAssistant: w", "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: q\n\nAssistant: l"}, "user: a\nassistant: b\nuser: q\n> w\n> l"),
        ({"chosen": "\n\nHuman: q\n\nAssistant: w\n\n- x\n\n- y", "rejected": "\n\nHuman: q\n\nAssistant: l"}, "user: q\n> w\n\n- x\n\n- y\n> l"),
        ({"chosen": "\n\nHuman: q\n\nAssistant:w", "rejected": "\n\nHuman: q\n\nAssistant:l"}, PREFERRED),
        ({"chosen": "w", "rejected": "l"}, "data.jsonl:1 chosen and rejected without a prompt: name what was asked prompt"),
        ({"chosen": "\n\nHuman: q\n\nAssistant: w", "rejected": "l"}, "data.jsonl:1 chosen and rejected without a prompt"),
        ({"chosen": "\n\nHuman: q\n\nAssistant: w", "rejected": "\n\nHuman: q\n\nAssistant: w"}, "data.jsonl:1 chosen and rejected"),
    ],
    "pictures and sounds beside messages": [
        ({**PAIR, "images": [{"path": "a.png"}]}, FOUND_A_PICTURE), ({**PAIR, "image": "a.png"}, FOUND_A_PICTURE), ({**PAIR, "audios": ["a.wav"]}, FOUND_A_PICTURE),
        ({"prompt": "<image>a", "completion": "b", "images": ["a.png"]}, FOUND_A_PICTURE), ({"messages": [{"role": "user", "content": "a", "images": ["aGk="]}, *chat("a", "b")[1:]]}, FOUND_A_PICTURE),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}, {"type": "text", "text": "a"}]}, *chat("a", "b")[1:]]}, FOUND_A_PICTURE),
        ({"prompt": "q", "chosen": "w", "rejected": "l", "images": ["a.png"]}, FOUND_A_PICTURE), ({**PAIR, "images": []}, PLAIN), ({**PAIR, "images": None}, PLAIN),
    ],
    "instruction, context and response": [
        ({"instruction": "q", "context": "c", "response": "w"}, "user: q\n\nc\nassistant*: w"), ({"instruction": "q", "context": "", "response": "w", "category": "open_qa"}, ANSWERED),
        ({"instruction": "q", "context": None, "response": "w"}, ANSWERED), ({"instruction": "q", "input": "c", "response": "w"}, "user: q\n\nc\nassistant*: w"),
        ({"system": "s", "instruction": "q", "response": "w"}, "system: s\nuser: q\nassistant*: w"), ({"instruction": "q", "context": 3, "response": "w"}, "data.jsonl:1 context is a number, not a string"),
    ],
    "an array of rows in a .json file": [
        ({"data.json": lines([PAIR])}, PLAIN), ({"alpaca_data.json": orjson.dumps([{"instruction": "a", "input": "", "output": "b"}], option=orjson.OPT_INDENT_2)}, PLAIN),
        ({"data.json": b"\xef\xbb\xbf" + lines([PAIR, PAIR])}, (PLAIN, PLAIN)), ({"data.json.gz": gzip.compress(lines([{"conversations": gpt("a", "b")}]))}, PLAIN),
        ({"data.json": lines(PAIR, PAIR)}, (PLAIN, PLAIN)), ({"data.json": b"[" + lines(PAIR) + b"," + b'{"messages": 3}' + b"]"}, (PLAIN, "data.json:2 messages is a number, not an array")),
        ({"data.json": lines([PAIR]), "config.json": b'{"epochs": 3}'}, PLAIN), ({"data.json": lines([PAIR, PAIR])[:-3]}, (PLAIN, "data.json:2 not JSON")), ({"data.json": b"[1, 2]"}, "a JSON array, but not of objects"),
    ],
    "kinds that no objective learns from together": [
        ([PAIR, {"prompt": "q", "chosen": "w", "rejected": "l"}], (PLAIN, PREFERRED, "mixed")), ([{"text": "t"}, {"prompt": "q", "chosen": "w", "rejected": "l"}], ("t*", PREFERRED, "mixed")),
        ({"a.jsonl": lines(PAIR), "b.jsonl": lines({"messages": chat("q", "w"), "rejected_response": "l"})}, (PLAIN, PREFERRED, "mixed")),
        ([{"input": {"messages": chat("q")}, "preferred_output": chat("", "w")[1:], "non_preferred_output": chat("", "l")[1:]}, log("b", "a")], (PREFERRED, PLAIN, "mixed")),
        ({"train.jsonl": lines(PAIR), "valid.jsonl": lines({"prompt": "q", "chosen": "w", "rejected": "l"})}, (PLAIN, PREFERRED, "mixed", "splits train 1, valid 1")),
        ([PAIR, {"text": "t"}], (PLAIN, "t*")), ([PAIR, {**PAIR, "label": True}], (PLAIN, f"{PLAIN}\nlabel True", "mixed")),
    ],
    "labels that say good or bad": [*((row, f"{ANSWERED}\nlabel {bool(row.get('label', row.get('kto_tag')))}") for row in UNPAIRED),
        ({"completion": "w", "label": False}, "data.jsonl:1 unpaired preferences (KTO) have a prompt beside completion and label"), ({"text": "t", "label": 1}, "data.jsonl:1 label beside text: a row to classify")],
    "pointers of Git LFS": [
        (POINTER, "data.jsonl the file is a Git LFS pointer, not the data it stands for: git lfs pull"), ({"a.ndjson": POINTER.replace(b"4d7a", b"00ff")}, "a.ndjson the file is a Git LFS pointer"),
        ({"a.json": POINTER}, "a.json the file is a Git LFS pointer"), ({"a.csv": POINTER}, "a.csv the file is a Git LFS pointer"), ({"a.jsonl": lines(PAIR), "b.jsonl": POINTER}, (PLAIN, "b.jsonl the file is a Git LFS pointer")),
        (POINTER.replace(b"\noid", b"\next-0-foo sha256:00\noid"), "data.jsonl the file is a Git LFS pointer"),
    ],
    "pointers of Git LFS in place of packed files": [({f"train.jsonl{suffix}": POINTER}, f"train.jsonl{suffix} the file is a Git LFS pointer") for suffix in (".gz", ".zst", ".bz2", ".xz")]
        + [({"train.csv.gz": POINTER}, "train.csv.gz the file is a Git LFS pointer"), ({"train.json.gz": POINTER}, "train.json.gz the file is a Git LFS pointer")],
    "pointers of Git LFS in place of tables": [
        ({"train.parquet": POINTER}, "train.parquet the file is a Git LFS pointer"), ({"data.arrow": POINTER}, "data.arrow the file is a Git LFS pointer"), ({"data/train-00000-of-00001.parquet": POINTER}, "data/train-00000-of-00001.parquet the file is a Git LFS pointer"),
        ({"a.parquet": table(PAIR), "b.parquet": POINTER}, (PLAIN, "b.parquet the file is a Git LFS pointer")), ({"TRAIN.PARQUET": POINTER}, "TRAIN.PARQUET the file is a Git LFS pointer"),
    ],
    "data behind links": [
        ({"notes.txt": b"x", "data -> ../elsewhere": b""}, "data/ (a link to the folder ../elsewhere, which is not followed)"), ({"data -> /srv/data": b""}, "data (a link to nothing)"), ({"a.jsonl": lines(PAIR), "more -> ../elsewhere": b""}, PLAIN),
        ({"train.jsonl -> ../elsewhere/e.jsonl": b""}, PLAIN), ({"train.jsonl -> gone.jsonl": b""}, "holds no dataset, only train.jsonl (a link to nothing)"), ({"a/b/deep -> ../../../elsewhere": b""}, "a/b/deep/ (a link to the folder ../../../elsewhere, which is not followed)"),
    ],
    "parts with weights, of LLaMA-Factory": [
        ({"messages": [{"role": "user", "content": [{"type": "text", "value": "a"}]}, {"role": "assistant", "content": [{"type": "text", "value": "b"}], "loss_weight": 1.0}]}, PLAIN),
        ({"messages": [{"role": "user", "content": [{"type": "text", "value": "a"}], "loss_weight": 0.0}, {"role": "assistant", "content": [{"type": "text", "value": "x"}], "loss_weight": 0.0}, *chat("c", "d")]}, "user: a\nassistant: x\nuser: c\nassistant*: d"),
        ({"messages": [{"role": "system", "content": [{"type": "text", "value": "s"}]}, *chat("a"), {"role": "assistant", "content": [{"type": "text", "value": "b"}]}]}, f"system: s\n{PLAIN}"),
        ({"messages": [*chat("a"), {"role": "assistant", "content": [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "b"}], "loss_weight": 1}]}, "user: a\nassistant*: (hm) b"),
        ({"messages": [ASK, {"role": "assistant", "content": [{"type": "tool_call", "value": '{"name": "get", "arguments": {"city": "Oslo"}}'}], "loss_weight": 1.0}]}, f"user: Rain?\nassistant*: {OSLO}"),
        ({"messages": [*chat("a"), {"role": "assistant", "content": [{"type": "text", "value": "b"}], "loss_weight": 2}]}, "data.jsonl:1 messages[1].loss_weight is 2"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "value": "x"}]}, *chat("a", "b")]}, FOUND_A_PICTURE),
    ],
    "lines in a file named .ndjson": [
        ({"data.ndjson": lines(PAIR)}, PLAIN), ({"data.ndjson": lines(PAIR, end=b"\r\n")}, PLAIN), ({"data.ndjson": b"\xef\xbb\xbf" + lines(PAIR)}, PLAIN), ({"data.ndjson.gz": gzip.compress(lines(PAIR))}, PLAIN),
        ({"data.NDJSON": lines(PAIR, PAIR)}, (PLAIN, PLAIN)), ({"a/b.ndjson": lines(PAIR)[:-1]}, PLAIN), ({"data.ndjson": b"\n\n" + lines(PAIR) + b"{"}, (PLAIN, "data.ndjson:4 not JSON")),
    ],
    "names that break a line": [({name: lines(PAIR)}, f"the file name {told}") for name, told in (
        ("a\nb.jsonl", "a\\nb.jsonl holds a line's end"), ("a\rb.jsonl", "a\\rb.jsonl holds a line's end"), ("\x1b[2Ja.jsonl", "\\x1b[2Ja.jsonl holds a line's end"), ("a/b\u2029c.jsonl", "a/b\\u2029c.jsonl holds a line's end"), ("a\x7f.csv", "a\\x7f.csv holds a line's end"),
        ("a\u202eb.jsonl", "a\\u202eb.jsonl holds a line's end"))],
    "names that are odd and still names": [({name: lines(PAIR)}, PLAIN) for name in ("a b.jsonl", "a+b&c.jsonl", "it's \"x\".jsonl", "100%41.jsonl", "ünï-日本.jsonl", "#1;$(x)`y`.jsonl", "-rf.jsonl", "a\\b.jsonl", "a=b?c*d.jsonl")],
    "rows that are all preferences": [
        ({"prompt": "q", "chosen": "w", "rejected": "l"}, PREFERRED), ({"question": "q", "chosen": "w", "rejected": "l", "chosen_score": 1, "rejected_score": 0}, PREFERRED), ({"prompt": chat("q"), "chosen": chat("", "w")[1:], "rejected": chat("", "l")[1:]}, PREFERRED),
        ({"chosen": chat("q", "w"), "rejected": chat("q", "l"), "source": "x"}, PREFERRED), ({"prompt": "q", "chosen": chat("q", "w"), "rejected": chat("q", "l"), "messages": chat("q", "w")}, PREFERRED), ({"prompt": "q", "chosen": chat("q", "w"), "rejected": "l"}, PREFERRED),
        ({"instruction": "q", "input": "x", "chosen": "w", "rejected": "l"}, "user: q\n\nx\n> w\n> l"), ({"prompt": "q", "chosen": "w"}, "data.jsonl:1 chosen without rejected (preference)"), ({"prompt": "q", "chosen": "w", "rejected": "w"}, "data.jsonl:1 chosen and rejected are the same"),
    ],
    "one message a line": [
        ([chat("a")[0]], "data.jsonl:1 one message of a conversation, not a row"), (chat("a", "b"), ("data.jsonl:1 one message of a conversation, not a row", "data.jsonl:2 one message of a conversation, not a row")),
        (gpt("a", "b"), ("data.jsonl:1 one turn of a conversation, not a row", "data.jsonl:2 one turn of a conversation, not a row")), ([{"role": "user", "content": "a", "conversation_id": 7}], "data.jsonl:1 one message of a conversation, not a row"),
        ([{"role": "assistant", "content": [{"type": "text", "text": "b"}]}], "data.jsonl:1 one message of a conversation, not a row"), ([{"text": "a", "role": "prompter", "parent_id": "x"}], "data.jsonl:1 role beside text: one message of a conversation"),
    ],
    "preferences of OpenAI's form": [
        ({"input": {"messages": chat("q")}, "preferred_output": chat("", "w")[1:], "non_preferred_output": chat("", "l")[1:]}, PREFERRED), ({"input": {"messages": [{"role": "system", "content": "s"}, *chat("q")], "tools": TOOLS}, "preferred_output": chat("", "w")[1:], "non_preferred_output": chat("", "l")[1:]}, f"system: s\n{PREFERRED}"),
        ({"input": "q", "preferred_output": "w", "non_preferred_output": "l"}, PREFERRED), ({"input": {"messages": chat("a", "b", "q")}, "preferred_output": chat("", "w")[1:], "non_preferred_output": chat("", "l")[1:]}, "user: a\nassistant: b\nuser: q\n> w\n> l"),
        ({"input": {"messages": [ASK], "tools": TOOLS}, "preferred_output": [calling(type="function", function={"name": "get", "arguments": '{"city": "Oslo"}'})], "non_preferred_output": chat("", "l")[1:]}, f"user: Rain?\n> {OSLO}\n> l"),
        ({"input": {"messages": chat("q")}, "preferred_output": []}, "data.jsonl:1 input without non_preferred_output (openai-preference)"), ({"input": {"messages": chat("q")}, "preferred_output": [], "non_preferred_output": chat("", "l")[1:]}, "data.jsonl:1 preferred_output is empty"),
    ],
    "requests of OpenAI's with their completions": [
        ({"request": {"messages": chat("q")}, "response": {"choices": [{"message": {"role": "assistant", "content": "w"}}]}}, ANSWERED), ({"request": {"model": "m", "messages": chat("q"), "seed": 1}, "response": {"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "w", "refusal": None, "annotations": []}, "finish_reason": "stop"}]}}, ANSWERED),
        ({"request": {"messages": [ASK], "tools": TOOLS}, "response": {"choices": [{"message": calling(id="c", type="function", function={"name": "get", "arguments": '{"city": "Oslo"}'}), "finish_reason": "tool_calls"}]}}, f"user: Rain?\nassistant*: {OSLO}"),
        ({"request": orjson.dumps({"messages": chat("q")}).decode(), "response": orjson.dumps({"choices": [{"message": {"content": "w"}}]}).decode(), "latency": 3}, ANSWERED), ({"request": {"instructions": "s", "input": "q"}, "response": {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "w"}]}]}}, "system: s\nuser: q\nassistant*: w"),
        ({"request": {"messages": chat("q")}, "response": {"choices": [{"message": {"role": "assistant", "content": "w"}}, {"message": {"role": "assistant", "content": "v"}}]}}, (ANSWERED, "unread response.choices after the first")), ({"request": {"messages": chat("q")}, "response": {"choices": []}}, "data.jsonl:1 response.choices is empty"),
    ],
    "the nulls that Parquet fills structs with": [
        ({"a.parquet": table(*({"messages": [ASK, calling(type="function", function={"name": "get", "arguments": arguments})]} for arguments in ({"city": "Oslo"}, {"when": "now"})))}, (f"user: Rain?\nassistant*: {OSLO}", 'user: Rain?\nassistant*: [get {"when":"now"}]')),
        ({"a.parquet": table(*({"messages": [ASK, calling(function={"name": "get", "arguments": {"at": at}})]} for at in ({"x": 1, "y": {"z": 2}}, {"y": {"w": 3}})))}, ('user: Rain?\nassistant*: [get {"at":{"x":1,"y":{"z":2}}}]', 'user: Rain?\nassistant*: [get {"at":{"y":{"w":3}}}]')),
        ({"a.arrow": stream(*({"messages": [ASK, calling(function={"name": "get", "arguments": {"all": every}})]} for every in ([{"a": 1}], [{"b": 2}, {"a": 3}])))}, ('user: Rain?\nassistant*: [get {"all":[{"a":1}]}]', 'user: Rain?\nassistant*: [get {"all":[{"b":2},{"a":3}]}]')),
        ({"a.parquet": table({"messages": chat("a", "b"), "tools": None, "label": None, "images": None}, {"messages": [*chat("a"), {"role": "assistant", "content": "b", "weight": 1}], "tools": TOOLS, "label": None, "images": None})}, (PLAIN, PLAIN)),
        ({"a.parquet": table({"conversations": [{"from": "human", "value": "a", "weight": None}, {"from": "gpt", "value": "b", "weight": 1.0}]}, {"conversations": gpt("a", "b")}, row_group_size=1)}, (PLAIN, PLAIN)),
        ({"a.parquet": table({"messages": chat("a", "b"), "system": "s"}, {"messages": chat("a", "b"), "system": None})}, (f"system: s\n{PLAIN}", PLAIN)),
    ],
    "nulls that are meant": [({"messages": [ASK, calling(function={"name": "get", "arguments": arguments})]}, f"user: Rain?\nassistant*: [get {told}]") for arguments, told in (
        ('{"city": null}', '{"city":null}'), ({"city": None, "at": [None, 1]}, '{"city":null,"at":[null,1]}'), ('{"a": {"b": null}}', '{"a":{"b":null}}'), ('"{\\"city\\": null}"', '{"city":null}'))]
        + [({"messages": [ASK, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get", "input": {"city": None}}]}]}, 'user: Rain?\nassistant*: [get {"city":null}]'),
           ({"a.parquet": table({"messages": [ASK, calling(function={"name": "get", "arguments": '{"city": null}'})]})}, 'user: Rain?\nassistant*: [get {"city":null}]'),
           ({"conversations": [*gpt("Rain?"), {"from": "function_call", "value": '{"name": "get", "arguments": {"city": null}}'}]}, 'user: Rain?\nassistant*: [get {"city":null}]')],
    "arrays written over lines": [
        (orjson.dumps([PAIR], option=orjson.OPT_INDENT_2), "data.jsonl the file is a JSON array written over several lines: name it .json"), (b"[\n" + lines(PAIR)[:-1] + b",\n" + lines(PAIR) + b"]\n", "data.jsonl the file is a JSON array written over several lines"),
        ({"a.ndjson": b"\xef\xbb\xbf[\n  {\n"}, "a.ndjson the file is a JSON array written over several lines"), ({"a.jsonl.gz": gzip.compress(orjson.dumps([PAIR], option=orjson.OPT_INDENT_2))}, "a.jsonl.gz the file is a JSON array written over several lines"),
        (orjson.dumps(PAIR, option=orjson.OPT_INDENT_2), "data.jsonl the file is a JSON object written over several lines: write one object a line"), (b"[" + lines(PAIR)[:-1] + b",\n" + lines(PAIR)[:-1] + b"]", "data.jsonl the file is a JSON array written over several lines"),
    ],
    "a question and its answer": [
        ({"question": "q", "answer": "w"}, ANSWERED), ({"question": "q", "answer": "w", "id": 3, "source": "x"}, ANSWERED), ({"system_prompt": "s", "question": "q", "response": "w"}, "system: s\nuser: q\nassistant*: w"), ({"prompt": "q", "response": "w"}, ANSWERED), ({"prompt": "q", "answer": "w"}, ANSWERED), ({"prompt": "q", "answer": 4}, "user: q\nassistant*: 4"), ({"prompt": "q", "answer": {"a": 4}}, "data.jsonl:1 answer"),
        ({"query": "q", "response": "w"}, ANSWERED), ({"input": "q", "output": "w"}, ANSWERED), ({"a.csv": b"question,answer\nq,w\n"}, ANSWERED), ({"question": "q", "answer": ["w", "v"]}, "data.jsonl:1 answer[0] is a string, not an object"), ({"question": "q", "answer": 4}, "data.jsonl:1 answer is a number, not a string"),
        ({"question": "q", "answer": "w", "context": "c"}, (ANSWERED, "unread context")),
    ],
    "a worse answer beside messages": [
        ({"messages": chat("q", "w"), "rejected_response": "l"}, PREFERRED), ({"messages": [{"role": "system", "content": "s"}, *chat("q", "w")], "rejected_response": "l"}, f"system: s\n{PREFERRED}"), ({"messages": chat("a", "b", "q", "w"), "rejected_response": "l"}, "user: a\nassistant: b\nuser: q\n> w\n> l"),
        ({"messages": chat("q", "w"), "rejected_messages": chat("", "l")[1:]}, PREFERRED), ({"messages": chat("q", "w"), "rejected_message": {"role": "assistant", "content": "l"}}, PREFERRED), ({"messages": chat("q", "w"), "rejected_messages": chat("q", "l")}, PREFERRED), ({"messages": chat("a", "b", "q", "w"), "rejected_messages": chat("a", "x", "q", "l")}, "user: a\n> b / q / w\n> x / q / l"),
        ({"messages": chat("q"), "rejected_response": "l"}, "data.jsonl:1 messages do not end with the answer"), ({"messages": chat("q", "w"), "rejected_reasoning": "l"}, "data.jsonl:1 rejected_reasoning beside messages: the worse answer"), ({"messages": chat("q", "w"), "rejected_response": None}, ANSWERED),
    ],
    "roles under other names": [({"messages": [{"role": asks, "content": "a"}, {"role": says, "content": "b"}]}, PLAIN) for asks, says in (("human", "assistant"), ("user", "ai"), ("user", "model"), ("prompter", "bot"), ("user", "chatgpt"), ("human", "gpt"))]
        + [({"messages": [{"role": "developer", "content": "s"}, *chat("a", "b")]}, f"system: s\n{PLAIN}"), ({"messages": [{"role": 3, "content": "a"}, *chat("a", "b")]}, "data.jsonl:1 messages[0].role is 3")],
    "earlier answers of a request": [
        (log("d", "a", "b", "c"), "user: a\nassistant: b\nuser: c\nassistant*: d"), ({"request": {"messages": chat("a", "b", "c")}, "response": {"choices": [{"message": {"content": "d"}}]}}, "user: a\nassistant: b\nuser: c\nassistant*: d"),
        ({"request": {"input": [*chat("a"), {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]}, *chat("c")]}, "response": {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "d"}]}]}}, "user: a\nassistant: b\nuser: c\nassistant*: d"),
        ({"request": {"contents": [{"parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}, {"parts": [{"text": "c"}]}]}, "response": {"candidates": [{"content": {"role": "model", "parts": [{"text": "d"}]}}]}}, "user: a\nassistant: b\nuser: c\nassistant*: d"),
        ({"request": {"messages": [ASK, {"role": "assistant", "content": USE}, {"role": "user", "content": RESULT}]}, "response": {"content": "Yes."}}, RAINING.replace("assistant*: [", "assistant: [")),
        ({"request": {"messages": [*chat("a"), {"role": "assistant", "content": "b", "weight": 1}, *chat("c")]}, "response": {"content": "d"}}, "user: a\nassistant: b\nuser: c\nassistant*: d"),
    ],
    "requests that failed": [({"request": {"messages": chat("q")}, **failed}, f"data.jsonl:1 a failed request{told}") for failed, told in (
        ({"response": {"type": "error", "error": {"type": "api_error", "message": "no"}}}, ": no"), ({"response": {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}}, ": Rate limit reached"), ({"response": None, "error": {"type": "timeout"}}, ": timeout"),
        ({"response": {"status_code": 503, "body": "busy"}}, ": status 503"), ({"response": {"error": {"message": "no"}, "body": "<html>"}}, ": no"), ({"response": "upstream timed out", "status": 504}, ": status 504"), ({"request": "<html>", "response": None, "error": "x"}, ": x"), ({"response": {"content": "w"}, "error": "aborted"}, ": aborted"), ({"response": {"status": 404, "body": {"detail": "x"}}}, ": status 404"))]
        + [([log("w", "q"), {"request": {"messages": chat("q")}, "response": {"type": "error"}}], (ANSWERED, "data.jsonl:2 a failed request"))],
    "preferences of ShareGPT's form": [
        ({"conversations": gpt("q"), "chosen": {"from": "gpt", "value": "w"}, "rejected": {"from": "gpt", "value": "l"}}, PREFERRED), ({"conversations": gpt("a", "b", "q"), "chosen": {"from": "gpt", "value": "w"}, "rejected": {"from": "gpt", "value": "l"}}, "user: a\nassistant: b\nuser: q\n> w\n> l"),
        ({"system": "s", "conversations": gpt("q"), "chosen": {"from": "gpt", "value": "w"}, "rejected": {"from": "gpt", "value": "l"}}, f"system: s\n{PREFERRED}"), ({"conversations": gpt("q"), "chosen": [{"from": "gpt", "value": "w"}], "rejected": [{"from": "gpt", "value": "l"}]}, PREFERRED),
        ({"a.json": orjson.dumps([{"conversations": gpt("q"), "chosen": {"from": "gpt", "value": "w"}, "rejected": {"from": "gpt", "value": "l"}}])}, PREFERRED), ({"conversations": gpt("q"), "chosen": {"from": "gpt", "value": "w"}, "rejected": {"from": "gpt", "value": "w"}}, "data.jsonl:1 chosen and rejected are the same"),
    ],
    "roles of ShareGPT in any case": [({"conversations": [{"from": asks, "value": "a"}, {"from": says, "value": "b"}]}, PLAIN) for asks, says in (("HUMAN", "GPT"), ("Human", "Assistant"), ("User", "gpt"), ("human", "Bing"), ("human", "Bard"))]
        + [({"conversations": [{"from": "System", "value": "s"}, *gpt("a", "b")]}, f"system: s\n{PLAIN}"), ({"conversations": [{"from": "Ghost", "value": "s"}, *gpt("a", "b")]}, "data.jsonl:1 conversations[0].from is 'Ghost'")],
    "nulls beside what is known": [
        ({"conversations": gpt("a", "b"), "system": None, "tools": None}, PLAIN), ({"messages": chat("a", "b"), "label": None, "history": None, "chosen": None, "rejected": None}, PLAIN), ({"messages": None, "prompt": "a", "completion": "b"}, PLAIN),
        ({"conversations": [{"from": "human", "value": "a", "role": None, "content": None}, {"from": "gpt", "value": "b", "role": None, "content": None}]}, PLAIN), ({"messages": [{"role": "user", "content": "a", "tool_calls": None, "name": None}, {"role": "assistant", "content": "b", "tool_calls": None, "weight": None, "thinking": None}]}, PLAIN),
        ({"instruction": "a", "input": None, "output": "b", "history": None, "images": None}, PLAIN), ({"messages": None, "text": None}, "data.jsonl:1 an empty object"),
    ],
    "parts of a dataset by name": [
        ({"train.jsonl": lines(PAIR), "test.jsonl": lines(PAIR)}, (PLAIN, "splits test 1, train 1")), ({"data/train-00000-of-00001.parquet": table(PAIR), "data/validation-00000-of-00001.parquet": table(PAIR, PAIR)}, (PLAIN, PLAIN, PLAIN, "splits train 1, valid 2")),
        ({"a.jsonl": lines(PAIR), "a.val.jsonl": lines(PAIR)}, (PLAIN, PLAIN, "splits train 1, valid 1")), ({"train/a.jsonl": lines(PAIR), "dev/a.jsonl": lines(PAIR), "eval/a.jsonl": lines(PAIR)}, (PLAIN, PLAIN, "splits valid 1, test 1, train 1")),
        ({"test.jsonl": lines(PAIR)}, PLAIN), ({"latest.jsonl": lines(PAIR), "validated.jsonl": lines(PAIR)}, (PLAIN, PLAIN)), ({"training.jsonl": lines(PAIR), "evaluation.jsonl": lines(PAIR)}, (PLAIN, "splits test 1, train 1")),
    ],
    "a system prompt beside": [({"system": "s", **row}, f"system: s\n{PLAIN}") for row in ({"messages": chat("a", "b")}, {"prompt": "a", "completion": "b"}, {"instruction": "a", "input": "", "output": "b"}, {"conversations": gpt("a", "b")}, {"question": "a", "answer": "b"}, {"conversation": chat("a", "b")})]
        + [({"system": "s", "prompt": "q", "chosen": "w", "rejected": "l"}, f"system: s\n{PREFERRED}"), ({"system": "s", "system_prompt": "t", **PAIR}, "data.jsonl:1 two system prompts"), ({"system": ["s", 3], **PAIR}, "data.jsonl:1 system[1]"), ({"system": "s", "text": "t"}, "data.jsonl:1 system beside text: this form has no system prompt")],
    "thoughts under any name": [({"messages": [*chat("a"), {"role": "assistant", "content": "b", key: "hm"}]}, "user: a\nassistant*: (hm) b") for key in ("thinking", "reasoning", "reasoning_content")]
        + [({"prompt": "a", "completion": "b", "thinking": "hm"}, "user: a\nassistant*: (hm) b"), ({"request": {"messages": chat("a")}, "response": {"message": {"role": "assistant", "content": "b", "thinking": "hm"}}}, "user: a\nassistant*: (hm) b"),
           ({"messages": [*chat("a"), {"role": "assistant", "content": None, "thinking": "hm", "tool_calls": [{"function": {"name": "get", "arguments": {"city": "Oslo"}}}]}]}, f"user: a\nassistant*: (hm) {OSLO}"), ({"messages": [{**ASK, "thinking": "hm"}, *chat("a", "b")[1:]]}, ("user: Rain?\nassistant*: b", "unread messages[].thinking of the user"))],
    "arguments as text": [({"messages": [ASK, calling(**call), {"role": "tool", "content": "rain"}, {"role": "assistant", "content": "Yes."}], "tools": tools}, RAINING) for call, tools in (
        ({"id": "1", "type": "function", "function": {"name": "get", "arguments": '{"city": "Oslo"}'}}, TOOLS), ({"function": {"name": "get", "arguments": ' {"city":"Oslo"}\n'}}, [GET]), ({"name": "get", "arguments": '{"city": "Oslo"}'}, orjson.dumps(TOOLS).decode()),
        ({"type": "function", "function": {"name": "get", "parameters": {"city": "Oslo"}}}, None), ({"function": {"name": "get", "arguments": {"city": "Oslo"}}}, [orjson.dumps(GET).decode()]))]
        + [({"messages": [ASK, calling(function={"name": "get", "arguments": "{city}"})]}, "data.jsonl:1 messages[1].tool_calls[0] arguments: not JSON"), ({"messages": [ASK, calling(function={"name": "get", "arguments": "[1]"})]}, "data.jsonl:1 messages[1].tool_calls[0] arguments are an array, not an object")],
    "what a tool answers": [({"messages": [ASK, calling(function={"name": "get", "arguments": {"city": "Oslo"}}), {"role": "tool", "content": content}, {"role": "assistant", "content": "Yes."}]}, RAINING.replace("tool: rain", f"tool: {told}")) for content, told in (
        ({"rain": True}, '{"rain":true}'), ([{"mm": 3}, {"mm": 4}], '[{"mm":3},{"mm":4}]'), (3.5, "3.5"), ([{"type": "text", "text": "rain"}], "rain"), (False, "false"), ([], ""))]
        + [({"messages": [ASK, calling(function={"name": "get", "arguments": {}}), {"role": "tool", "content": [{"type": "image", "source": {}}]}, {"role": "assistant", "content": "Yes."}]}, FOUND_A_PICTURE)],
    "arguments encoded twice": [({"messages": [ASK, calling(function={"name": "get", "arguments": arguments})]}, f"user: Rain?\nassistant*: {OSLO}") for arguments in ('"{\\"city\\": \\"Oslo\\"}"', orjson.dumps(orjson.dumps('{"city":"Oslo"}').decode()).decode(), ' "{\\"city\\":\\"Oslo\\"}" ')]
        + [({"conversations": [*gpt("Rain?"), {"from": "function_call", "value": '{"name": "get", "arguments": "\\"{\\\\\\"city\\\\\\": \\\\\\"Oslo\\\\\\"}\\""}'}]}, f"user: Rain?\nassistant*: {OSLO}"), ({"messages": [ASK, {"role": "assistant", "content": None, "function_call": {"name": "get", "arguments": '"{\\"city\\": \\"Oslo\\"}"'}}]}, f"user: Rain?\nassistant*: {OSLO}"),
           ({"messages": [ASK, calling(function={"name": "get", "arguments": '"Oslo"'})]}, "data.jsonl:1 messages[1].tool_calls[0] arguments: not JSON")],
    "a comma at a line's end": [
        (lines(PAIR)[:-1] + b",\n", "data.jsonl:1 a comma ends the line"), (lines(PAIR)[:-1] + b" , \n" + lines(PAIR), ("data.jsonl:1 a comma ends the line", PLAIN)), (lines(PAIR) + lines(PAIR)[:-1] + b",", (PLAIN, "data.jsonl:2 a comma ends the line")), ({"a.ndjson": lines(PAIR)[:-1] + b",\r\n"}, "a.ndjson:1 a comma ends the line"),
        ({"a.jsonl.gz": gzip.compress(lines(PAIR)[:-1] + b",\n")}, "a.jsonl.gz:1 a comma ends the line"), (b'{"prompt": "a", "completion": "b",}\n', "data.jsonl:1 not JSON"), (lines(PAIR)[:-1] + b",,\n", "data.jsonl:1 not JSON"),
    ],
    "answers that the user excluded": [({"messages": [*chat("a"), {"role": "assistant", "content": "x", **excluded}, *chat("c", "d")]}, "user: a\nassistant: x\nuser: c\nassistant*: d") for excluded in ({"train": False}, {"training": False}, {"loss": False}, {"weight": 0}, {"train": 0}, {"weight": 1, "train": False})]
        + [({**PAIR, "train": False}, "data.jsonl:1 train beside messages"), ({"messages": [*chat("a"), {"role": "assistant", "content": "x", "train_detail": [{"begin_offset": 0}]}]}, "data.jsonl:1 messages[1].train_detail"), ({"messages": [*chat("a"), {"role": "assistant", "content": "x", "train": "no"}]}, "data.jsonl:1 messages[1].train is 'no'")],
    "ends of lines within strings": [(lines({"messages": chat(f"a{mark}", "b")}), f"user: a{mark}\nassistant*: b") for mark in ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r\n")]
        + [(b'{"prompt": "a\xe2\x80\xa8", "completion": "b"}\r\n' + lines(PAIR), ("user: a\u2028\nassistant*: b", PLAIN))],
    "other encodings than UTF-8": [(lines(PAIR).decode().encode(code), f"data.jsonl the file is {told}") for code, told in (("utf-16", "UTF-16, not UTF-8"), ("utf-16-be", "UTF-16, not UTF-8"), ("utf-16-le", "UTF-16, not UTF-8"), ("utf-32", "UTF-32, not UTF-8"))]
        + [({"a.csv": "prompt,completion\na,b\n".encode("utf-16")}, "a.csv the file is UTF-16, not UTF-8"), ('{"prompt": "ü", "completion": "b"}'.encode("latin-1"), "data.jsonl:1 not UTF-8 at byte 13"), (lines(PAIR) + b'{"text": "\xff"}\n', (PLAIN, "data.jsonl:2 not UTF-8 at byte 11")), ({"a.json": lines([PAIR]).decode().encode("utf-16")}, "a.json the file is UTF-16")],
    "pictures and sounds beside conversations": [({"conversations": gpt("<video>a", "b"), key: [value]}, FOUND_A_PICTURE) for key, value in (("videos", "a.mp4"), ("images", {"bytes": "x"}), ("audios", "a.wav"), ("image", "a.png"), ("video", "a.mp4"))]
        + [({"conversations": [{"from": "human", "value": "a", "videos": ["a.mp4"]}, *gpt("a", "b")[1:]]}, FOUND_A_PICTURE), ({"conversations": gpt("a", "b"), "videos": []}, PLAIN)],
    "files packed by xz and others": [
        ({"a.jsonl.xz": lzma.compress(lines(PAIR))}, PLAIN), ({"a.json.xz": lzma.compress(lines([PAIR]))}, PLAIN), ({"a.csv.xz": lzma.compress(b"prompt,completion\na,b\n")}, PLAIN), ({"a.jsonl.xz": lzma.compress(lines(PAIR)) + bytes(8) + lzma.compress(lines(PAIR))}, (PLAIN, PLAIN)), ({"a.jsonl.zst": zstandard.compress(lines(PAIR)), "b.jsonl.xz": lzma.compress(lines(PAIR), preset=0)}, (PLAIN, PLAIN)),
        ({"a.jsonl.xz": lzma.compress(lines(PAIR))[:-9]}, (PLAIN, "a.jsonl.xz:2 the compressed file is damaged")), ({"a.jsonl.gz": lzma.compress(lines(PAIR))}, "the compressed file is damaged"), ({"a.jsonl": lzma.compress(lines(PAIR))}, "a.jsonl the file is xz: name it .jsonl.xz"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", VARIATIONS)
def test_what_becomes_of_each(tmp_path: Path, kind: str) -> None:
    for at, (content, expected) in enumerate(VARIATIONS[kind]):
        became = became_of(put(tmp_path / str(at), content))
        texts = (expected,) if isinstance(expected, str) else expected
        assert len(became) == len(texts), (at, became)
        assert all(any(meets(wanted, told) for told in became) for wanted in texts), (at, became)


def meets(wanted: str, told: str) -> bool:
    """An example in full; of a place and its reason a part."""
    return wanted == told or (told.startswith("! ") and wanted in told)


def test_there_are_five_of_each_at_least() -> None:
    assert len(VARIATIONS) >= 55
    assert min(len(inputs) for inputs in VARIATIONS.values()) >= 5
    assert sum(len(inputs) for inputs in VARIATIONS.values()) > 350
    different = {repr(content) for inputs in VARIATIONS.values() for content, _ in inputs}
    assert len(different) > 340, "hardly any stands there twice"


def put(folder: Path, content: Any) -> Path:
    """A row, rows, bytes of lines, or files by name; a name with -> is a link."""
    folder.mkdir()
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "e.jsonl").write_bytes(lines(PAIR))
    files: Files = {"data.jsonl": content} if isinstance(content, bytes) else content
    if isinstance(content, list) or not all(isinstance(value, bytes) for value in files.values()):
        files = {"data.jsonl": lines(*(content if isinstance(content, list) else [content]))}
    for name, body in files.items():
        path, arrow, target = name.partition(" -> ")
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            file.symlink_to(target)
        else:
            file.write_bytes(body)
    return folder


def became_of(folder: Path) -> list[str]:
    """What is told of a folder, one text for each example and each thing that is said."""
    try:
        found = find(folder)
    except UsageError as error:
        return [f"! {error}"]
    report = check(found, processes=1)
    files = [file for file in found.files if file.split != "test"]
    bad = {(problem.file, problem.line) for problem in (*report.problems, *report.skipped_places)}
    rows = [line.row for file in files for line in read(file.path) if line.row is not None and (file.name, line.number) not in bad]
    told = [f"! {problem.place} {problem.reason}" for problem in (*report.problems, *report.skipped_places)]
    told += [f"unread {name}" for name in report.unread]
    told += ["mixed"] if report.mixed else []
    told += [f"splits {', '.join(f'{part} {count}' for part, count in report.splits.items())}"] if report.splits else []
    return [shown(to_example(row)) for row in rows] + told


def shown(example: Example) -> str:
    if example.text:
        return f"{example.text}*"
    turns = [f"{message['role']}{'*' if at in example.trained else ''}: {words(message)}" for at, message in enumerate(example.messages)]
    turns += [f"> {' / '.join(map(words, answer))}" for answer in (example.chosen, example.rejected) if answer]
    return "\n".join([*turns, *([f"label {example.label}"] if example.label is not None else [])])


def words(message: Row) -> str:
    calls = [
        f"[{call['function']['name']} {orjson.dumps(call['function']['arguments']).decode()}]" for call in message.get("tool_calls", ())
    ]
    thoughts = f"({message['reasoning_content']}) " if message.get("reasoning_content") else ""
    return f"{thoughts}{message['content']}{''.join(calls)}{'…' if message.get('cut') else ''}"
