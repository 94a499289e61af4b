"""Read rows with a better and a worse answer into an `Example`.

Sources: TRL's https://huggingface.co/docs/trl/dataset_formats, LLaMA-Factory's
https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md, OpenAI's
https://platform.openai.com/docs/guides/direct-preference-optimization, axolotl's https://docs.axolotl.ai/docs/rlhf.html, ms-swift's
https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html, HH-RLHF's https://huggingface.co/datasets/Anthropic/hh-rlhf.
"""

import re
from collections.abc import Mapping
from typing import Any

from llmlab.dataset.calls import Unread, tool_definitions
from llmlab.dataset.chats import answer as read_answer, around, prompt
from llmlab.dataset.formats import Example, Format, Message
from llmlab.dataset.keys import EMPTY
from llmlab.dataset.messages import read_messages
from llmlab.dataset.reasons import BadRow, name_of

Row = Mapping[str, Any]
ASKS = ("prompt", "instruction", "question", "query", "input")
"""Keys of a prompt, of which the first that a row has is read; Alpaca's `input` follows its `instruction`."""
CONVERSATIONS = ("messages", "conversations", "conversation")
TURN = re.compile(r"\n\n(Human|Assistant):[ ]?")


def read_preference(row: Row, unread: Unread) -> Example:
    """Read a row of `chosen` and `rejected`, with a prompt beside them or the same beginning in both."""
    system, tools = around(row, unread)
    both = [row["chosen"], row["rejected"]]
    asks = next((key for key in ASKS if row.get(key) not in EMPTY), "")
    if not asks and all(isinstance(side, str) for side in both):
        both = [_transcript(side) for side in both]
    chosen, rejected = answer(both[0], "chosen", unread), answer(both[1], "rejected", unread)
    if asks:
        question = prompt(row[asks], asks, unread)
        more = row.get("input")
        if asks == "instruction" and more not in EMPTY:
            if not isinstance(more, str):
                raise BadRow(f"input is {name_of(more)}, not a string")
            question = [*question[:-1], {**question[-1], "content": f"{question[-1]['content']}\n\n{more}"}]
        return _example(Format.PREFERENCE, [*system, *question], chosen, rejected, tools)
    beside = next((key for key in CONVERSATIONS if row.get(key) not in EMPTY), "")
    if beside and chosen[0]["role"] == "assistant":
        return _example(Format.PREFERENCE, [*system, *read_messages(row[beside], beside, unread)[0]], chosen, rejected, tools)
    shared = _alike(chosen, rejected)
    if not shared:
        raise BadRow("no prompt, and chosen and rejected do not begin alike")
    return _example(Format.PREFERENCE, [*system, *chosen[:shared]], chosen[shared:], rejected[shared:], tools)


def _alike(chosen: list[Message], rejected: list[Message]) -> int:
    """How many messages two conversations begin with in common."""
    pairs = zip(chosen, rejected, strict=False)
    return next((at for at, (good, worse) in enumerate(pairs) if good != worse), min(len(chosen), len(rejected)))


INPUT = frozenset({"messages", "tools", "parallel_tool_calls"})


def read_openai_preference(row: Row, unread: Unread) -> Example:
    """Read a row of OpenAI's keys: `input`, `preferred_output`, `non_preferred_output`."""
    request = row["input"]
    if isinstance(request, dict):
        if not INPUT.issuperset(request):
            unread.update(f"input.{key}" for key in request if key not in INPUT and request[key] not in EMPTY)
        tools = tool_definitions(request.get("tools"), "input.tools", unread)
        question = read_messages(request.get("messages"), "input.messages", unread)[0]
    else:
        tools, question = [], prompt(request, "input", unread)
    chosen = answer(row["preferred_output"], "preferred_output", unread)
    rejected = answer(row["non_preferred_output"], "non_preferred_output", unread)
    return _example(Format.OPENAI_PREFERENCE, question, chosen, rejected, tools)


REJECTED = ("rejected_response", "rejected_messages", "rejected_message")


def read_rejected_response(row: Row, unread: Unread) -> Example:
    """Read a row of `messages` that end with the better answer, and the worse one beside them: alone, or as the end of a conversation."""
    system, tools = around(row, unread)
    messages = read_messages(row["messages"], "messages", unread)[0]
    start = len(messages)
    while start and messages[start - 1]["role"] == "assistant":
        start -= 1
    key = next(key for key in REJECTED if row.get(key) not in EMPTY)
    rejected = answer(row[key], key, unread)
    if not start or start == len(messages):
        raise BadRow(f"messages do not end with the answer that is better than {key}")
    if rejected[0]["role"] != "assistant":
        shared = start = _alike(messages, rejected)
        if not shared:
            raise BadRow(f"messages and {key} do not begin alike")
        rejected = rejected[shared:]
    return _example(Format.REJECTED_RESPONSE, [*system, *messages[:start]], messages[start:], rejected, tools)


def answer(value: object, where: str, unread: Unread) -> list[Message]:
    """The messages of one of the two answers; all of a preference's words carry loss."""
    messages, trained = read_answer(value, where, unread)
    if len(trained) != len(messages) and len(trained) != sum(message["role"] == "assistant" for message in messages):
        raise BadRow(f"{where} has a message without loss, and a preference compares whole answers")
    return messages


def _example(form: Format, question: list[Message], chosen: list[Message], rejected: list[Message], tools: list[dict[str, Any]]) -> Example:
    """A preference whose answers may repeat the prompt.

    Raises:
        BadRow: they are the same, or one is nothing.
    """
    chosen, rejected = _behind(question, chosen), _behind(question, rejected)
    if not question:
        raise BadRow("no prompt beside chosen and rejected")
    if chosen == rejected:
        raise BadRow("chosen and rejected are the same")
    if not chosen or not rejected:
        raise BadRow(f"{'rejected' if chosen else 'chosen'} adds nothing to the prompt")
    return Example(form, question, [], tools, "", chosen, rejected)


def _behind(question: list[Message], reply: list[Message]) -> list[Message]:
    """What an answer adds to the prompt that it may begin with."""
    count = len(question)
    return reply[count:] if len(reply) >= count and reply[:count] == question else reply


def _transcript(text: str) -> list[Message]:
    """A conversation as Human: and Assistant: in one string.

    Raises:
        BadRow: it is none, so that a prompt is what is missing.
    """
    parts = TURN.split(text if text.startswith("\n\n") else f"\n\n{text}")
    if parts[0].strip() or len(parts) < 5 or parts[1] != "Human":
        raise BadRow("chosen and rejected without a prompt: name what was asked prompt, or write both as messages")
    return [
        {"role": "user" if speaker == "Human" else "assistant", "content": words.strip()}
        for speaker, words in zip(parts[1::2], parts[2::2], strict=True)
    ]
