"""Advice for messages that a chat template refuses: usual changes are tried, and the first that it takes is suggested.

Templates say why they refuse in words of their own ("Conversation roles must alternate"), or in Python's. What they take is
found out by trying.
"""

from collections.abc import Iterator
from typing import Any

from llmlab.dataset import BadRow
from llmlab.dataset.rendering.template import TokenizerTemplate

REFUSES = "the chat template refuses"
MOST_MESSAGES = 200
"""Messages of the longest conversation that changes are tried on."""


def change(template: TokenizerTemplate, messages: list[Any], tools: list[Any]) -> str:
    """The change after which the template takes the messages, or "" where none of those that are tried helps."""
    for words, changed in _changes(messages[:MOST_MESSAGES]) if len(messages) <= MOST_MESSAGES else ():
        try:
            template.render(changed, tools)
        except BadRow:
            continue
        return words
    return ""


def _changes(messages: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    first = messages[0] if messages else {}
    twice = next((at for at in range(1, len(messages)) if _alike(messages[at - 1], messages[at])), 0)
    rest = messages[1:]
    if twice:
        speaker = messages[twice]["role"]
        yield f"messages[{twice - 1}] and messages[{twice}] are both of the {speaker}: make them one", _merged(messages)
    if first.get("role") == "system":
        yield "it takes no system message: put its words in front of the first question", rest
        if twice:
            words = f"it takes no system message, and messages[{twice - 1}] and messages[{twice}] are both of the {messages[twice]['role']}"
            yield f"{words}: make one of each two", _merged(rest)
    elif first.get("role") == "assistant":
        yield "messages[0] is an answer: put the question in front of it", [{"role": "user", "content": "?"}, *messages]
    later = [at for at, message in enumerate(messages) if at and message["role"] == "system"]
    if later:
        kept = [message for at, message in enumerate(messages) if at not in later]
        yield f"messages[{later[0]}] is a system message in the middle: put its words into the message before it", kept
    calls = [at for at, message in enumerate(messages) if len(message.get("tool_calls", ())) > 1]
    if calls:
        single = [{**message, "tool_calls": message["tool_calls"][:1]} if "tool_calls" in message else message for message in messages]
        yield f"it takes one call an answer, and messages[{calls[0]}] has {len(messages[calls[0]]['tool_calls'])}", single


def _alike(before: Any, message: Any) -> bool:
    return bool(before["role"] == message["role"] != "tool")


def _merged(messages: list[Any]) -> list[Any]:
    """The messages with neighbours of one speaker made one."""
    merged: list[Any] = []
    for message in messages:
        if merged and _alike(merged[-1], message):
            merged[-1] = {**merged[-1], **message, "content": f"{merged[-1]['content']}\n{message['content']}"}
        else:
            merged.append(message)
    return merged
