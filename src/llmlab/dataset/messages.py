"""Convert chat messages from every dialect that people write them in to OpenAI's form.

A message says who speaks (`role`, or ShareGPT's `from`), what (`content`, `value`, Cohere's `message`, a text of its own), what was thought
and called, and whether it carries loss. Here a `turn` is a message as it was written, a `message` is one in OpenAI's. Sources: OpenAI's
https://platform.openai.com/docs/api-reference/chat/create, LLaMA-Factory's
https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md, axolotl's
https://docs.axolotl.ai/docs/dataset-formats/conversation.html, ms-swift's https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html.
"""

from typing import Any, NamedTuple

from llmlab.dataset.calls import Unread, openai_call, parsed, plain_call, written_calls
from llmlab.dataset.content import Content, content_of, only_text, text_of, tool_text
from llmlab.dataset.formats import Message
from llmlab.dataset.keys import EMPTY, HARMLESS_IN_MESSAGE, MEANING_IN_MESSAGE, THOUGHTS, TRAIN_KEYS, is_cut
from llmlab.dataset.reasons import BadRow, name_of

SPEAKERS = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user", "assistant": "assistant",
    "gpt": "assistant", "model": "assistant", "ai": "assistant", "bot": "assistant", "chatbot": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool",
    "tool_response": "tool", "tool_result": "tool", "function_call": "call", "tool_call": "call",
}  # fmt: skip
"""The role of each speaker, in small letters: WildChat writes User, LangChain human and ai, Cohere Chatbot, ShareGPT gpt, ms-swift
tool_call."""
NAMES = "system, user, assistant, tool, human, gpt, observation, function_call"
USUAL = ("user", "assistant", "system")
WORDS = ("content", "value", "message", "text")
"""Keys of a message's words; the first of them that a message has is read."""
READ = frozenset({"role", "from", "content", "tool_calls", "tool_call_id", "function_call", "name", "cut", "stop_reason", "finish_reason",
                  "reasoning_details", *TRAIN_KEYS, *THOUGHTS})  # fmt: skip


TRAIN, THOUGHT = frozenset(TRAIN_KEYS), frozenset((*THOUGHTS, "reasoning_details"))


def system_text(value: object, where: str) -> list[Message]:
    """The system message of a prompt that is a string or text blocks; no message of an empty one."""
    if value in EMPTY:
        return []
    return [{"role": "system", "content": text_of(value, where)}]


def read_messages(value: object, where: str, unread: Unread) -> tuple[list[Message], list[int]]:
    """Convert messages, and list the indexes of those that carry loss: the assistant's, except those that say otherwise.

    What needs no change is shared with `value`. A user's message with results of tools becomes several.

    Raises:
        BadRow: with the message at fault.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parsed(value, where)
    if not isinstance(value, list):
        raise BadRow(f"{where} is {name_of(value)}, not an array")
    if not value:
        raise BadRow(f"{where} is empty")
    messages: list[Message] = []
    trained: list[int] = []
    for index, turn in enumerate(value):
        if not isinstance(turn, dict):
            raise BadRow(f"{where}[{index}] is {name_of(turn)}, not an object")
        role = turn.get("role")
        if len(turn) == 2 and type(turn.get("content")) is str and role in USUAL:  # nothing but these two
            if role == "assistant":
                trained.append(len(messages))
            messages.append(turn)
            continue
        simple = at_a_glance(turn)
        if simple is not None:
            if simple["role"] == "assistant":
                trained.append(len(messages))
            messages.append(simple)
            continue
        converted, learned = read_message(turn, f"{where}[{index}]", unread)
        messages += converted
        if learned:
            trained.append(len(messages) - 1)
    return messages, trained


class MessageKeys(NamedTuple):
    """The keys of simple messages by use: of the speaker, the words ("" for none), whether it is learned, and calls and their results."""

    speaker: str
    words: str
    learned: tuple[str, ...]
    more: tuple[str, ...]


CALLING = ("tool_calls", "tool_call_id", "name")
_plain: dict[tuple[str, ...], MessageKeys | None] = {}
"""The use of each set of a message's keys; None where other keys are among them that are read or reported."""


def at_a_glance(turn: Message) -> Message | None:
    """Convert a message in OpenAI's form or as simple as that, as most are; None for one that needs `read_message`."""
    plan = plain_keys(tuple(turn))
    if plan is None:
        return None
    name, words, learned, more = plan
    speaker, content = turn[name], turn[words] if words else None
    if type(content) is list and len(content) == 1:
        content = only_text(content[0])
    role = SPEAKERS.get(speaker) if type(speaker) is str else None
    if learned and any(turn[key] not in (None, 1) or role != "assistant" for key in learned):
        return None
    if more:
        return _calling(turn, role, content, more)
    return {"role": role, "content": content} if type(content) is str and role in USUAL else None


def _calling(turn: Message, role: str | None, content: object, more: tuple[str, ...]) -> Message | None:
    """An assistant's message with calls, or a tool's with its result."""
    calls = turn["tool_calls"] if "tool_calls" in more else None
    if role == "tool" and not calls and type(content) is str:
        message = {"role": role, "content": content}
        for key in more:
            if key != "tool_calls" and type(turn[key]) is str:
                message[key] = turn[key]
        return message
    if role != "assistant" or type(calls) is not list or not calls or len(more) > 1 or (content is not None and type(content) is not str):
        return None
    plain = [plain_call(call) for call in calls]
    return {"role": role, "content": content or "", "tool_calls": plain} if None not in plain else None


def plain_keys(keys: tuple[str, ...]) -> MessageKeys | None:
    """The use of a message's keys; None where messages with them may hold more than words and calls."""
    if keys in _plain:
        return _plain[keys]
    if len(_plain) >= MOST_KNOWN:
        _plain.clear()
    speakers, words = [key for key in ("role", "from") if key in keys], [key for key in WORDS if key in keys]
    learned, more = (tuple(key for key in names if key in keys) for names in (TRAIN_KEYS, CALLING))
    rest = [key for key in keys if key not in (*speakers, *words, *learned, *more) and key not in HARMLESS_IN_MESSAGE]
    spoken = words or ([""] if "tool_calls" in more else [])  # Parquet's nulls are gone: a message that calls has no content at all
    _plain[keys] = plan = MessageKeys(speakers[0], spoken[0], learned, more) if len(speakers) == len(spoken) == 1 and not rest else None
    return plan


def read_message(turn: Message, where: str, unread: Unread) -> tuple[list[Message], bool]:
    """Convert one message, to several where a user's holds results of tools, and say whether the last of them carries loss."""
    role = _role(turn, where)
    has = _look_at_keys(turn, where, unread)
    learned = _carries_loss(turn, role, where, unread) if has.loss else role in {"assistant", "call"}
    if role == "call":
        calls = written_calls(_words(turn, where), f"{where}.{_spoken(turn)}")
        return [{"role": "assistant", "content": "", "tool_calls": calls}], learned
    if role == "tool":
        return [_tool_message(turn, where)], False
    content = _content(turn, role, where)
    calls = _openai_calls(turn, role, where) if has.calls else []
    if content.calls:
        calls = [*content.calls, *calls]
    if content.results and not content.has_text:
        return content.results, False
    message: Message = {"role": role, "content": content.text}
    thoughts = content.thoughts or (_thoughts(turn, role, unread) if has.thoughts else "")
    if thoughts:
        message["reasoning_content"] = thoughts
    if calls:
        message["tool_calls"] = calls
    if isinstance(turn.get("name"), str):
        message["name"] = turn["name"]
    if role == "assistant" and (turn.get("cut") is True or is_cut(turn.get("stop_reason") or turn.get("finish_reason"))):
        message["cut"] = True
    return [*content.results, message], learned


def _role(turn: Message, where: str) -> str:
    key = "role" if turn.get("role") is not None or "from" not in turn else "from"
    value = turn.get(key)
    if value is None:
        raise BadRow(f"{where} has no {key}")
    role = SPEAKERS.get(value) or SPEAKERS.get(value.lower()) if isinstance(value, str) else None
    if role is None:
        raise BadRow(f"{where}.{key} is {value!r}, not one of {NAMES}")
    return role


class _Keys(NamedTuple):
    """What a set of keys says of the messages that have it: few sets make up most data."""

    others: tuple[str, ...]
    """Keys that are neither read nor harmless."""
    meant: tuple[str, ...]
    """Keys that change a message's meaning."""
    loss: bool
    thoughts: bool
    calls: bool


_known: dict[tuple[str, ...], _Keys] = {}
MOST_KNOWN = 4096


def _look_at_keys(turn: Message, where: str, unread: Unread) -> _Keys:
    keys = tuple(turn)
    known = _known.get(keys)
    if known is None:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        read = (READ, HARMLESS_IN_MESSAGE, MEANING_IN_MESSAGE)
        others = tuple(key for key in keys if not any(key in names for names in read))
        meant = tuple(key for key in keys if key in MEANING_IN_MESSAGE)
        has = (not TRAIN.isdisjoint(keys), not THOUGHT.isdisjoint(keys), "tool_calls" in keys or "function_call" in keys)
        known = _known[keys] = _Keys(others, meant, *has)
    for key in known.meant:
        if turn[key] not in EMPTY:
            raise BadRow(f"{where}.{key}: {MEANING_IN_MESSAGE[key]}")
    for key in known.others:
        if turn[key] not in EMPTY and key != _spoken(turn):
            unread.add(f"messages[].{key}")
    return known


def _spoken(turn: Message) -> str:
    """The key of a turn's words; "" where it has none."""
    for key in WORDS:
        if turn.get(key) is not None:
            return key
    return ""


def _carries_loss(turn: Message, role: str, where: str, unread: Unread) -> bool:
    """Whether a message carries loss: an assistant's does, unless one of the keys says that it does not."""
    speaks = role in {"assistant", "call"}
    learned = speaks
    for key in TRAIN_KEYS:
        value = turn.get(key)
        if value is None:
            continue
        if value not in (0, 1):
            raise BadRow(f"{where}.{key} is {value!r}: a message carries loss (1, true) or it does not (0, false)")
        if not value:
            learned = False
        elif not speaks:
            unread.add(f"messages[].{key} of the {role}")
    return learned


def _words(turn: Message, where: str) -> str:
    """The words of a turn, which are a string."""
    key = _spoken(turn)
    value = turn.get(key)
    if not isinstance(value, str):
        raise BadRow(f"{where} has no {'value' if 'from' in turn else 'content'}" if value is None else _no_string(value, f"{where}.{key}"))
    return value


def _no_string(value: object, where: str) -> str:
    return f"{where} is {name_of(value)}, not a string"


def _content(turn: Message, role: str, where: str) -> Content:
    key = _spoken(turn)
    if key:
        return content_of(turn[key], role, f"{where}.{key}")
    if isinstance(turn.get("refusal"), str):
        return Content(turn["refusal"], has_text=True)  # OpenAI's: an answer that declines has this instead of a content
    if turn.get("tool_calls") not in EMPTY or turn.get("function_call") not in EMPTY:
        return Content()
    raise BadRow(f"{where} has no {'value' if 'from' in turn else 'content'}")


def _tool_message(turn: Message, where: str) -> Message:
    key = _spoken(turn)
    if not key:
        raise BadRow(f"{where} has no {'value' if 'from' in turn else 'content'}")
    message: Message = {"role": "tool", "content": tool_text(turn[key], f"{where}.{key}")}
    for key in ("tool_call_id", "name"):
        if isinstance(turn.get(key), str):
            message[key] = turn[key]
    return message


def _openai_calls(turn: Message, role: str, where: str) -> list[dict[str, Any]]:
    calls = turn.get("tool_calls")
    if calls is None and turn.get("function_call") is not None:
        calls = [{"function": turn["function_call"]}]
    if not calls:
        return []
    if role != "assistant":
        raise BadRow(f"{where} has tool_calls and is not the assistant's")
    if isinstance(calls, str):
        calls = parsed(calls, f"{where}.tool_calls")
    if not isinstance(calls, list):
        raise BadRow(f"{where}.tool_calls is {name_of(calls)}, not an array")
    return [openai_call(tool_call, f"{where}.tool_calls[{index}]") for index, tool_call in enumerate(calls)]


def _thoughts(turn: Message, role: str, unread: Unread) -> str:
    """What the assistant thought, in the first of the keys that holds words."""
    for key in THOUGHTS:
        value = turn.get(key)
        if isinstance(value, str) and value:
            if role == "assistant":
                return value
            unread.add(f"messages[].{key} of the {role}")
        elif value not in EMPTY:
            unread.add(f"messages[].{key}")
    details = turn.get("reasoning_details")  # https://openrouter.ai/docs/use-cases/reasoning-tokens
    if isinstance(details, list) and role == "assistant":
        parts = [detail.get("text") or detail.get("summary") for detail in details if isinstance(detail, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""
