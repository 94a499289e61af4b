"""Check and measure usual rows in one pass: a conversation of words alone, or a question and its answer, in ASCII.

Most lines of most datasets are such, counted with the estimate, and `to_example` and `measure` take three times as long to say the same of
them: a test holds the two together. What is done with a row follows from its keys, and with a message from its own, and is worked out once
for each set of them. Whatever is unusual, or wrong, or has a key that would be reported, is left to them: `forms` says which.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest as digest

from llmlab.dataset.chats import SYSTEMS
from llmlab.dataset.content import only_text
from llmlab.dataset.formats import Format
from llmlab.dataset.forms import REDUNDANT, plan_of
from llmlab.dataset.keys import EMPTY, HARMLESS
from llmlab.dataset.messages import SPEAKERS, plain_keys

BYTES_PER_TOKEN = 4
MARKS_PER_MESSAGE = 5
"""ChatML writes `<|im_start|>role\n … <|im_end|>\n`."""

Measured = tuple[int, int, int, bool]
"""Tokens, tokens that carry loss, the digest of the content, and whether an answer has anything in it.

The digest tells examples apart: the 64 bits of XXH3 (https://xxhash.com), a twentieth of a cryptographic hash's time. The tokens that carry
loss are its seed, and stand for the roles and the length. That two different examples among a million have one digest has a chance of
less than one in a million.
"""


class RowShape(NamedTuple):
    """How usual rows of one set of keys are read: a conversation, or a question and its answer in two strings."""

    format: Format
    key: str
    speaker: str = ""
    """Of a conversation: the key of who speaks; of a pair, nothing."""
    words: str = ""
    """Of a conversation: the key of what is said; of a pair, the key of the answer."""
    more: tuple[str, ...] = ()
    """Of a pair: keys of what follows the question."""
    system: str = ""
    """The key of a system prompt beside it."""
    empty: tuple[str, ...] = ()
    """Keys that a form reads and that must hold nothing in a usual row."""
    earlier: str = ""
    """Of a pair: the key of what was asked and answered before, as pairs of strings."""


_shapes: dict[tuple[str, ...], RowShape | None] = {}
MOST_SHAPES = 4096


def _shape(keys: tuple[str, ...]) -> RowShape | None:
    """The shape of rows that have these keys; None where one of them is reported or refused, or their form is never usual."""
    if len(_shapes) >= MOST_SHAPES:
        _shapes.clear()
    _shapes[keys] = shape = _worked_out(keys)
    return shape


def _worked_out(keys: tuple[str, ...]) -> RowShape | None:
    plan = plan_of(keys)
    form = plan.form
    if form is None or plan.unread or plan.suspects or plan.label:  # labels are counted one by one
        return None
    systems = tuple(key for key in keys if key in SYSTEMS)
    more = MORE.get(form.format, ())
    aside = (*form.needs, *systems, *more, *REDUNDANT.get(form.format, ()))
    earlier = "history" if form.format in PAIRS and "history" in keys else ""
    empty = tuple(key for key in keys if key not in aside and key not in HARMLESS and key != earlier)
    if len(systems) > 1:
        return None
    system = systems[0] if systems else ""
    if form.needs in CHATS:
        return RowShape(form.format, form.needs[0], *CHATS[form.needs], (), system, empty)
    if form.format in PAIRS:
        after = tuple(key for key in more if key in keys)
        return RowShape(form.format, form.needs[0], "", form.needs[1], after, system, empty, earlier)
    return None


CHATS = {
    ("messages",): ("role", "content"), ("conversation",): ("role", "content"), ("conversations",): ("from", "value"),
    ("items",): ("from", "value"),
}  # fmt: skip
PAIRS = frozenset({
    Format.PROMPT_COMPLETION, Format.PROMPT_RESPONSE, Format.PROMPT_ANSWER, Format.ALPACA, Format.INSTRUCTION_RESPONSE,
    Format.QUERY_RESPONSE, Format.QUESTION_ANSWER, Format.QUESTION_RESPONSE, Format.INPUT_OUTPUT,
})  # fmt: skip
MORE = {Format.ALPACA: ("input",), Format.INSTRUCTION_RESPONSE: ("context", "input")}


UNKNOWN = RowShape(Format.TEXT, "")
"""The placeholder of a shape that has not been worked out."""


def usual(row: Mapping[str, Any]) -> tuple[Format, Measured] | None:
    """The format of a usual row, and what `measure` would return for it; None when the row is not a usual one."""
    keys = tuple(row)
    shape = _shapes.get(keys, UNKNOWN)
    if shape is UNKNOWN:
        shape = _shape(keys)
    if shape is None:
        return None
    form, key, speaker, words, more, beside, empty, earlier = shape
    for other in empty:
        if row[other] not in EMPTY:
            return None
    system = ""
    if beside:
        value = row[beside]
        if type(value) is list and len(value) == 1:
            value = only_text(value[0])
        if type(value) is not str:
            return None
        system = value
    if speaker:
        measured = _chat(row[key], speaker, words, system)
    elif earlier and row[earlier] not in EMPTY:
        measured = None if more else _chat(_turns(row[earlier], row[key], row[words]), "role", "content", system)
    else:
        measured = _pair(row, key, words, more, system)
    return (form, measured) if measured else None


def _pair(row: Mapping[str, Any], asks: str, answers: str, more: tuple[str, ...], system: str) -> Measured | None:
    question, answer = row[asks], row[answers]
    if type(question) is not str or type(answer) is not str or question[:2] == "[{" or answer[:2] == "[{":
        return None
    for key in more:
        added = row[key]
        if type(added) is not str:
            return None
        if added:
            question = f"{question}\n\n{added}".lstrip("\n")
    joined = f"{system}\0{question}\0{answer}" if system else f"{question}\0{answer}"
    if not joined.isascii():
        return None
    learned = (len(answer) + 3 >> 2) + MARKS_PER_MESSAGE
    length = (len(question) + 3 >> 2) + MARKS_PER_MESSAGE + learned
    if system:
        length += (len(system) + 3 >> 2) + MARKS_PER_MESSAGE
    return length, learned, digest(joined.encode(), learned), answer != "" and not answer.isspace()


def _turns(earlier: object, question: object, answer: object) -> list[dict[str, str]] | None:
    """A question and its answer behind earlier ones, as messages; None where they may be more than strings."""
    turns = [*earlier, [question, answer]] if type(earlier) is list else []
    messages = []
    for turn in turns:
        if type(turn) is not list or len(turn) != 2 or type(turn[0]) is not str or type(turn[1]) is not str:
            return None
        messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    return None if not messages or messages[-2]["content"][:2] == "[{" or messages[-1]["content"][:2] == "[{" else messages


def _chat(messages: object, speaker: str, words: str, system: str) -> Measured | None:
    if type(messages) is not list:
        return None
    contents: list[str] = []
    add = contents.append
    length = learned = 0
    full = False
    try:
        for message in messages:
            if len(message) != 2:  # not only who speaks and what is said
                return _mixed(messages, system)
            content = message[words]
            add(content)
            role = message[speaker]
            if role == "user" or role in OTHERS:  # most are, and to compare is quicker than to look up
                length += (len(content) + 3 >> 2) + MARKS_PER_MESSAGE
            elif role in ANSWERS:
                learned += (len(content) + 3 >> 2) + MARKS_PER_MESSAGE
                if not full:
                    full = content != "" and not content.isspace()
            else:
                return None
        joined = "\0".join(contents)
    except (TypeError, KeyError, AttributeError):  # other keys, or no words
        return _mixed(messages, system)
    if not learned or not joined.isascii():
        return None
    if system:
        if SPEAKERS[messages[0][speaker]] == "system" or not system.isascii():
            return None
        joined = f"{system}\0{joined}"
        length += (len(system) + 3 >> 2) + MARKS_PER_MESSAGE
    return length + learned, learned, digest(joined.encode(), learned), full


def _mixed(messages: list[Any], system: str) -> Measured | None:
    """A conversation whose messages have other keys, each of which says words and nothing else."""
    contents: list[str] = []
    length = learned = answers = 0
    full = False
    for message in messages:
        plan = plain_keys(tuple(message)) if type(message) is dict else None
        if plan is None or plan.more:
            return None
        role, content = message[plan.speaker], message[plan.words]
        if type(content) is list and len(content) == 1:
            content = only_text(content[0])
        if type(content) is not str or type(role) is not str:
            return None
        size = len(content) + 3 >> 2
        length += size
        weights = [message[key] for key in plan.learned if message[key] is not None] if plan.learned else None
        if role in ANSWERS:
            if weights and any(weight not in (0, 1) for weight in weights):
                return None
            if not weights or all(weights):
                learned += size
                answers += 1
                full = full or (size > 0 and not content.isspace())
        elif role not in OTHERS or weights or (system and not contents and SPEAKERS[role] == "system"):
            return None
        contents.append(content)
    joined = "\0".join([system, *contents] if system else contents)
    if not answers or not joined.isascii():
        return None
    length += len(contents) * MARKS_PER_MESSAGE
    learned += answers * MARKS_PER_MESSAGE
    if system:
        length += (len(system) + 3 >> 2) + MARKS_PER_MESSAGE
    return length, learned, digest(joined.encode(), learned), full


ANSWERS = frozenset(name for name, role in SPEAKERS.items() if role == "assistant")
OTHERS = frozenset(name for name, role in SPEAKERS.items() if role in {"user", "system"})
