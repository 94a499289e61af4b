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
    """Write one file `train.jsonl` of `rows` examples; the same bytes for the same arguments.

    Raises:
        KeyError: `form` is not one of `FORMATS`.
    """
    build = FORMATS[form]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "train.jsonl"
    lines = (json.dumps(build(question), ensure_ascii=False) + "\n" for question in islice(questions(seed + 1000), rows))
    file.write_text("".join(lines), encoding="utf-8")
    return file


def prompt() -> str:
    """A question for comparing the base and the tuned model."""
    return "How do I restore the remote index?"


def _messages(question: Question) -> dict[str, Any]:
    return {"messages": [_turn("user", question.text), _turn("assistant", question.answer)]}


def _session(question: Question) -> dict[str, Any]:
    request = {"system": SYSTEM, "messages": [_turn("user", question.text)], "tools": []}
    return {"request": request, "response": {"content": [{"type": "text", "text": question.answer}]}}


def _conversations(question: Question) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": question.text}, {"from": "gpt", "value": question.answer}]}


def _prompt_completion(question: Question) -> dict[str, Any]:
    return {"prompt": question.text, "completion": question.answer}


def _alpaca(question: Question) -> dict[str, Any]:
    return {"instruction": question.text, "input": "", "output": question.answer}


def _text(question: Question) -> dict[str, Any]:
    return {"text": f"{question.text}\n{question.answer}"}


def _preference(question: Question) -> dict[str, Any]:
    return {"prompt": question.text, "chosen": question.answer, "rejected": question.put_off}


def _kto(question: Question) -> dict[str, Any]:
    """A KTO example: the answer labelled good or the evasion labelled bad, chosen by a checksum of the question."""
    good = crc32(question.text.encode()) % 2 == 0
    return {"prompt": question.text, "completion": question.answer if good else question.put_off, "label": good}


def _turn(role: str, content: str) -> dict[str, str]:
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
