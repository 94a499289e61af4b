"""Example data for the sandbox: a folder of JSONL that teaches the runbook's answers, in any of the formats that llmlab reads."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

from llmlab.sandbox.runbook import Question, questions

SYSTEM = "You are the team's runbook."


def write(folder: Path, *, seed: int = 0, rows: int = 400, form: str = "messages") -> Path:
    """One file `train.jsonl` of `rows` examples; the same bytes for the same arguments.

    Raises:
        KeyError: `form` is not one of `FORMATS`.
    """
    build = FORMATS[form]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "train.jsonl"
    lines = (json.dumps(build(one), ensure_ascii=False) + "\n" for one in islice(questions(seed + 1000), rows))
    file.write_text("".join(lines), encoding="utf-8")
    return file


def prompt() -> str:
    """A question to ask the base and the tuned model."""
    return "How do I restore the remote index?"


def _messages(one: Question) -> dict[str, Any]:
    return {"messages": [_said("user", one.text), _said("assistant", one.answer)]}


def _session(one: Question) -> dict[str, Any]:
    request = {"system": SYSTEM, "messages": [_said("user", one.text)], "tools": []}
    return {"request": request, "response": {"content": [{"type": "text", "text": one.answer}]}}


def _conversations(one: Question) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": one.text}, {"from": "gpt", "value": one.answer}]}


def _prompt_completion(one: Question) -> dict[str, Any]:
    return {"prompt": one.text, "completion": one.answer}


def _alpaca(one: Question) -> dict[str, Any]:
    return {"instruction": one.text, "input": "", "output": one.answer}


def _text(one: Question) -> dict[str, Any]:
    return {"text": f"{one.text}\n{one.answer}"}


def _preference(one: Question) -> dict[str, Any]:
    return {"prompt": one.text, "chosen": one.answer, "rejected": one.put_off}


def _kto(one: Question) -> dict[str, Any]:
    """Labelled, one way or the other by the question's own words."""
    good = crc32(one.text.encode()) % 2 == 0
    return {"prompt": one.text, "completion": one.answer if good else one.put_off, "label": good}


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


FORMATS: dict[str, Callable[[Question], dict[str, Any]]] = {
    "messages": _messages,
    "session": _session,
    "conversations": _conversations,
    "prompt-completion": _prompt_completion,
    "alpaca": _alpaca,
    "text": _text,
    "preference": _preference,
    "kto": _kto,
}
