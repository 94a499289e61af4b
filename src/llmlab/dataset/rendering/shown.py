"""Check that a template shows what the answers say: some leave out what they do not know, or all but the first of several calls."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence as Several
from typing import Any

from llmlab.dataset import BadRow

TAIL = 12
"""Characters of an answer's end that must be seen in what the template made of it."""
END_OF_THOUGHTS = "</think>"
THOUGHTS = re.compile(r"</?think(?:ing)?>")
"""Tags of thoughts, which may stand in the prompt already, or be cut away with the text before them."""


def check(answers: Several[str], messages: list[Any], trained: list[int]) -> None:
    """Check that the words and the calls of the trained messages stand in the text that carries loss.

    Raises:
        BadRow: one of them does not.
    """
    text = "".join(answers)
    names: Counter[str] = Counter()
    for index in trained:
        message = messages[index]
        if THOUGHTS.split(message["content"])[-1].strip()[-TAIL:] not in text:
            raise BadRow(f"messages[{index}]: the chat template does not show what this answer says")
        calls = message.get("tool_calls", ())
        if any(call["function"]["name"] not in text for call in calls):
            raise BadRow(f"messages[{index}]: the chat template does not show the tool calls of this answer")
        names.update(call["function"]["name"] for call in calls)
        lost = any(text.count(name) < count for name, count in names.items())
        if lost or not all(_shows(text, value) for call in calls for value in _strings(call["function"]["arguments"])):
            several = f"each of the {len(calls)} tool calls of this answer: give each an answer of its own, with its result behind it"
            raise BadRow(
                f"messages[{index}]: the chat template does not show {several if len(calls) > 1 else 'the arguments of this tool call'}"
            )


def thoughts_in(message: Any) -> Iterator[str]:
    """The ends of what an assistant message thinks, beside its content and within."""
    if message["role"] != "assistant":
        return
    before, tag, _ = message["content"].partition(END_OF_THOUGHTS)
    for thoughts in (message.get("reasoning_content") or "", before.rpartition("<think>")[2] if tag else ""):
        if thoughts.strip():
            yield thoughts.strip()[-TAIL:]


def _strings(value: Any) -> Iterator[str]:
    """Every text in a call's arguments. Numbers have too many ways to be written to be looked for."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _shows(text: str, value: str) -> bool:
    """Whether a value's end stands in the text, raw or as JSON, as Python or as JSON within JSON writes it."""
    end = value.strip()[-TAIL:]
    written = json.dumps(end, ensure_ascii=False)
    ways = (end, written[1:-1], json.dumps(end)[1:-1], repr(end)[1:-1], json.dumps(written)[3:-3])
    return any(way in text for way in ways)
