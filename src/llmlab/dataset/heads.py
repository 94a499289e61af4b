"""Recognise a file by its first bytes: what it is instead of rows, or which program's transcript it is."""

from pathlib import Path

import orjson

from llmlab.dataset.formats import Format
from llmlab.dataset.suffixes import rows_of, suffix_of
from llmlab.dataset.unpack import DAMAGED, unpacked

HEAD = 1 << 16
"""Bytes read from the beginning of a file."""
BOM = b"\xef\xbb\xbf"
LFS = b"version https://git-lfs.github.com/spec/"
"""https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: a pointer begins with this line."""
MAGIC = (
    (b"\x1f\x8b", "gzip", ".jsonl.gz"), (b"\x28\xb5\x2f\xfd", "zstandard", ".jsonl.zst"), (b"BZh", "bzip2", ".jsonl.bz2"),
    (b"\xfd7zXZ", "xz", ".jsonl.xz"), (b"PAR1", "Parquet", ".parquet"), (b"ARROW1", "Arrow", ".arrow"),
)  # fmt: skip
OTHERS = ((b"%PDF", "a PDF"), (b"PK\x03\x04", "a zip archive: unpack it first"), (b"<!DOCTYPE", "a web page"), (b"<html", "a web page"),
          (b"SQLite format 3", "an SQLite database"), (b"\x89HDF", "an HDF5 file"), (b"\x80\x04\x95", "a Python pickle"))  # fmt: skip
CLAUDE_CODE = frozenset({"user", "assistant", "system", "summary", "file-history-snapshot", "queue-operation", "attachment", "progress",
                         "permission-mode", "last-prompt", "ai-title", "custom-title", "agent-name", "mode", "pr-link"})  # fmt: skip
"""Types of the lines of a Claude Code transcript."""
CODEX = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "compacted", "world_state", "inter_agent_communication"})
"""Types of the lines of a Codex transcript: `RolloutItem` in https://github.com/openai/codex/blob/main/codex-rs/protocol/src/protocol.rs."""


def head_of(path: Path) -> bytes:
    """A file's first bytes, unpacked; fewer or none where it is damaged."""
    head = b""
    try:
        for block in unpacked(path):
            head += block
            if len(head) >= HEAD:
                break
    except DAMAGED:
        return head[:HEAD]
    return head[:HEAD]


def is_pointer(path: Path) -> bool:
    """Whether a file is a Git LFS pointer to the data instead of the data, whatever its name."""
    with path.open("rb") as stream:
        return stream.read(len(LFS)) == LFS


POINTER = "the file is a Git LFS pointer, not the data it stands for: git lfs pull"


def wrong_kind(head: bytes) -> str:
    """What a file is whose first bytes are not those of rows of text; "" when they may be."""
    if head.startswith(LFS):
        return POINTER
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")) or head[1:4] == b"\0\0\0":
        return "the file is UTF-32, not UTF-8: iconv -f UTF-32 -t UTF-8"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(head) > 1 and b"\0" in head[:2] and head[:2] != b"\0\0"):
        return "the file is UTF-16, not UTF-8: iconv -f UTF-16 -t UTF-8"
    for start, name, suffix in MAGIC:
        if head.startswith(start):
            return f"the file is {name}: name it {suffix}"
    return next((f"the file is {what}" for start, what in OTHERS if head.startswith(start)), "")


def spread(head: bytes) -> str:
    """The reason why a file does not have a row a line, but one JSON value over several lines; "" when it is not so."""
    text = head.removeprefix(BOM).lstrip()
    line, newline, rest = text.partition(b"\n")
    line = line.strip()
    if line == b"[" or (line.startswith(b"[") and newline and not _parses(line) and _parses(line.removeprefix(b"[").rstrip(b","))):
        return "the file is a JSON array written over several lines: name it .json, or write one object a line"
    if line == b"{" and newline and rest.lstrip().startswith(b'"'):
        return "the file is a JSON object written over several lines: write one object a line"
    return ""


def _parses(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def transcript(path: Path, head: bytes) -> Format | None:
    """Which program's transcript a file of JSON lines is, by the first of its lines that says so."""
    if rows_of(suffix_of(path.name)) not in {".jsonl", ".ndjson"}:
        return None
    for line in head.removeprefix(BOM).split(b"\n")[:20]:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            program = transcript_of(row)
            if program is not None or str(row.get("type")) not in CLAUDE_CODE:
                return program
    return None


def transcript_of(row: dict[str, object]) -> Format | None:
    """Which program's transcript a line belongs to; None for rows of no transcript, and for lines that do not say."""
    kind = row.get("type")
    if not isinstance(kind, str):
        return Format.CODEX if {"id", "timestamp", "instructions"} <= row.keys() and "git" in row else None
    if kind in CODEX and isinstance(row.get("payload"), dict):
        return Format.CODEX
    if kind in CLAUDE_CODE and ({"sessionId", "uuid"} & row.keys() or (kind == "summary" and "leafUuid" in row)):
        return Format.CLAUDE_CODE
    return Format.CLAUDE_CODE if kind == "file-history-snapshot" and "snapshot" in row else None
