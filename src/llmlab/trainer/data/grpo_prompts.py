"""Prompt rows for rewards: each row's prompt, answer and other keys, in a file beside the tokens.

Training reads the tokens of a prompt, which end where the answer's begin; a reward reads these.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from llmlab.dataset.prompts import Prompt, completion_of
from llmlab.files import sync

PROMPTS = "prompts.jsonl"


@dataclass(frozen=True)
class PromptRow:
    """One row of the data as a reward reads it. `prompt` is a string or messages, as in the row; `place` is its line: `train.jsonl:7`."""

    place: str
    prompt: str | list[dict[str, Any]]
    messages: list[dict[str, Any]]
    answer: str
    columns: dict[str, Any]

    def completion(self, text: str) -> str | list[dict[str, Any]]:
        """A text as the completion of this prompt."""
        return completion_of(self.prompt, text)


def line_of(prompt: Prompt, number: int, origin: str) -> bytes:
    """A prompt as a line of JSON with its line number; values that JSON has not, such as dates, become strings."""
    kept = {"line": number, "origin": origin, **prompt._asdict()}
    del kept["tools"]
    return orjson.dumps(kept, default=str, option=orjson.OPT_NON_STR_KEYS)


def placed(lines: Iterable[bytes], file: str, first: int) -> Iterator[bytes]:
    """The lines of JSON with `place` (file:line) for the line number; their part of the file begins behind line `first`."""
    for line in lines:
        kept = orjson.loads(line)
        place = kept.pop("origin") or f"{file}:{kept['line'] + first}"
        del kept["line"]
        yield orjson.dumps({"place": place, **kept})


def write(folder: Path, lines: Iterable[bytes]) -> None:
    """Append lines to the prompts in a folder of tokens."""
    with (folder / PROMPTS).open("ab") as stream:
        stream.writelines(line + b"\n" for line in lines)


def close(folder: Path) -> None:
    """Sync the file of prompts to the disk, where there is one."""
    if (folder / PROMPTS).is_file():
        sync(folder / PROMPTS)


def read(folder: Path) -> tuple[PromptRow, ...]:
    """All prompt rows in the order of the tokens; none where there is no such file."""
    path = folder / PROMPTS
    if not path.is_file():
        return ()
    with path.open("rb") as stream:
        return tuple(PromptRow(**orjson.loads(line)) for line in stream)
