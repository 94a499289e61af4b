"""Read rows that hold a conversation, or a question and its answer, into an `Example`."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from llmlab.dataset.calls import Unread, parsed, tool_definitions
from llmlab.dataset.formats import Example, Format, Message
from llmlab.dataset.gemini import gemini_messages
from llmlab.dataset.keys import EMPTY, THOUGHTS, is_cut
from llmlab.dataset.logs import gemini_system
from llmlab.dataset.messages import read_messages, system_text
from llmlab.dataset.reasons import BadRow, name_of

Row = Mapping[str, Any]
SYSTEMS = ("system", "system_prompt", "system_message", "systemMessage")
"""Where rows keep a system prompt beside their messages: Anthropic's and LLaMA-Factory's name first, OpenOrca's and others'."""
TOOLS = ("tools", "functions", "toolConfig", "tool_config")
STOPS = frozenset({"stop_reason", "finish_reason", "stopReason"})
AROUND = frozenset((*SYSTEMS, *TOOLS))
"""Keys of the system prompt and the tools, which every chat may have beside its messages."""


def around(row: Row, unread: Unread) -> tuple[list[Message], list[dict[str, Any]]]:
    """The system prompt and the tools beside a row's messages."""
    if AROUND.isdisjoint(row):
        return [], []
    system: list[Message] = []
    tools: list[dict[str, Any]] = []
    for key in SYSTEMS:
        if key not in row:
            continue
        if not system:
            system = system_text(row[key], key)
        elif row[key] not in EMPTY:
            raise BadRow(f"two system prompts, {' and '.join(name for name in SYSTEMS if row.get(name) not in EMPTY)}")
    for key in TOOLS:
        if key in row and not tools:
            tools = tool_definitions(row[key], key, unread)
    return system, tools


def messages_of(key: str, form: Format) -> Callable[[Row, Unread], Example]:
    """The reader of rows whose messages stand under `key`."""

    def read(row: Row, unread: Unread) -> Example:
        system, tools = around(row, unread)
        messages, trained = _conversation(row[key], key, unread)
        if system:
            if messages[0] == system[0]:
                system = []  # the same prompt, written twice
            elif messages[0]["role"] == "system":
                raise BadRow("two system prompts, one beside the messages and one among them")
            messages, trained = [*system, *messages], [at + len(system) for at in trained]
        if not trained:
            raise BadRow(f"no assistant {'turn' if form is Format.CONVERSATIONS else 'message'} to train on")
        if not STOPS.isdisjoint(row) and any(is_cut(row.get(stop)) for stop in STOPS) and trained[-1] == len(messages) - 1:
            messages[-1] = {**messages[-1], "cut": True}
        return Example(form, messages, trained, tools)

    return read


def _conversation(value: object, where: str, unread: Unread) -> tuple[list[Message], list[int]]:
    """Messages, or turns that hold a question and its answer each (ms-swift's and XTuner's)."""
    first = value[0] if isinstance(value, list) and value else None
    if not isinstance(first, dict):
        return read_messages(value, where, unread)
    for asks, answers in (("human", "assistant"), ("input", "output")):
        if asks in first and answers in first:
            return _pairs(value, where, asks, answers)  # type: ignore[arg-type]
    return read_messages(value, where, unread)


def _pairs(value: list[Any], where: str, asks: str, answers: str) -> tuple[list[Message], list[int]]:
    messages: list[Message] = []
    trained: list[int] = []
    for index, turn in enumerate(value):
        if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) for key in (asks, answers)):
            raise BadRow(f"{where}[{index}] is not a turn with {asks} and {answers} as strings")
        messages += system_text(turn.get("system"), f"{where}[{index}].system")
        messages += [{"role": "user", "content": turn[asks]}] if turn[asks] else []
        trained.append(len(messages))
        messages.append({"role": "assistant", "content": turn[answers]})
    return messages, trained


def read_gemini(row: Row, unread: Unread) -> Example:
    """Read a row of Gemini's `contents`, with its system instruction."""
    system, tools = around(row, unread)
    for key in ("systemInstruction", "system_instruction"):
        if row.get(key) not in EMPTY and not system:
            system = gemini_system(row[key], key)
    messages, trained = gemini_messages(row["contents"], "contents")
    if not trained:
        raise BadRow("no content of the model to train on")
    return Example(Format.GEMINI, [*system, *messages], [at + len(system) for at in trained], tools)


# ---------------------------------------------------------------- a question and its answer


def pair_of(asks: str, answers: str, form: Format, more: tuple[str, ...] = ()) -> Callable[[Row, Unread], Example]:
    """The reader of rows with a question and an answer, and perhaps `more` to the question, which follows it after a blank line."""

    def read(row: Row, unread: Unread) -> Example:
        system, tools = around(row, unread)
        question = prompt(row[asks], asks, unread)
        for key in more:
            added = row.get(key)
            if added in EMPTY:
                continue
            if not isinstance(added, str):
                raise BadRow(f"{key} is {name_of(added)}, not a string")
            question = [*question[:-1], {**question[-1], "content": f"{question[-1]['content']}\n\n{added}".lstrip("\n")}]
        earlier, learned = history(row.get("history"), "history")
        messages = [*system, *earlier, *question]
        reply, trained = answer(_number_as_text(row[answers]) if form is Format.PROMPT_ANSWER else row[answers], answers, unread)
        if not trained:
            raise BadRow(f"{answers} has no assistant message that carries loss")
        reply = _thinking(row, reply)
        trained = [len(messages) + at for at in trained]
        return Example(form, messages + reply, [at + len(system) for at in learned] + trained, tools)

    return read


def history(value: object, where: str) -> tuple[list[Message], list[int]]:
    """Earlier turns as pairs of strings, which carry loss like the last (LLaMA-Factory's and ms-swift's).

    https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md: the responses of the history are learned, too.
    """
    if value in EMPTY:
        return [], []
    if isinstance(value, str):
        value = parsed(value, where)
    if not isinstance(value, list):
        raise BadRow(f"{where} is {name_of(value)}, not an array")
    messages: list[Message] = []
    for index, turn in enumerate(value):
        if not isinstance(turn, (list, tuple)) or len(turn) != 2 or not (isinstance(turn[0], str) and isinstance(turn[1], str)):
            raise BadRow(f"{where}[{index}] is not a pair of strings")
        messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    return messages, list(range(1, len(messages), 2))


THINKING = frozenset(THOUGHTS)


def _thinking(row: Row, reply: list[Message]) -> list[Message]:
    """The answer with the thoughts that stand beside it."""
    if THINKING.isdisjoint(row):
        return reply
    thoughts = next((row[key] for key in THOUGHTS if isinstance(row.get(key), str) and row[key]), "")
    if not thoughts:
        return reply
    if len(reply) != 1 or "reasoning_content" in reply[0]:
        raise BadRow("thoughts beside an answer of several messages; put them into one")
    return [{**reply[0], "reasoning_content": thoughts}]


def prompt(value: object, where: str, unread: Unread) -> list[Message]:
    """The messages of a prompt, which is a string or messages."""
    value = _spelled(value)
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return read_messages(_listed(value, where), where, unread)[0]


def answer(value: object, where: str, unread: Unread) -> tuple[list[Message], list[int]]:
    """The messages of an answer, which is a string, a message or messages, and the indexes of those that carry loss."""
    value = _spelled(value)
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}], [0]
    messages, trained = read_messages(_listed(value, where), where, unread)
    if not trained and not any(message["role"] == "assistant" for message in messages):
        raise BadRow(f"{where} has no assistant message")
    return messages, trained


def _number_as_text(value: object) -> object:
    """A number that is the answer as JSON writes it; every other value as it is."""
    return orjson.dumps(value).decode() if type(value) in {int, float} else value


def _listed(value: object, where: str) -> object:
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise BadRow(f"{where} is {name_of(value)}, not a string")
    return value


def _spelled(value: object) -> object:
    """Messages that a string spells as JSON, as tables keep them; every other value as it is."""
    if not isinstance(value, str) or not value.startswith("[{"):
        return value
    try:
        messages = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return messages if all(isinstance(message, dict) and ("role" in message or "from" in message) for message in messages) else value


def read_text(row: Row, _unread: Unread) -> Example:
    """Read a row of plain text."""
    text = row["text"]
    if not isinstance(text, str):
        raise BadRow(f"text is {name_of(text)}, not a string")
    return Example(Format.TEXT, [], [], [], text)
