"""The names of the formats a row may have, and the one shape that all of them become: an `Example`, with messages in OpenAI's form."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

Message = dict[str, Any]
GOOD, BAD = "good", "bad"
"""The two labels of an unpaired preference's answer."""


class Kind(StrEnum):
    """What an example teaches: to answer a chat, to go on with a text, to prefer one answer to another, or that one is good or bad."""

    CHAT = "chat"
    TEXT = "text"
    PREFERENCE = "preference"
    KTO = "kto"


OBJECTIVES = {Kind.PREFERENCE: "dpo", Kind.KTO: "kto"}
"""The objective that learns from a kind of examples; sft learns from the other kinds."""


def objective_of(kinds: Mapping[str, int]) -> str:
    """The objective that learns from examples of these kinds, by their counts."""
    return next((objective for kind, objective in OBJECTIVES.items() if kinds.get(kind)), "sft")


class Format(StrEnum):
    """The format that a row is written in; `forms` describes each."""

    SESSION = "session"
    OPENAI_LOG = "openai-log"
    RESPONSES_LOG = "responses-log"
    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    PREFERENCE = "preference"
    OPENAI_PREFERENCE = "openai-preference"
    REJECTED_RESPONSE = "rejected-response"
    KTO = "kto"
    MESSAGES = "messages"
    CONVERSATIONS = "conversations"
    GEMINI = "gemini"
    PROMPT_COMPLETION = "prompt-completion"
    ALPACA = "alpaca"
    INSTRUCTION_RESPONSE = "instruction-response"
    PROMPT_RESPONSE = "prompt-response"
    PROMPT_ANSWER = "prompt-answer"
    QUERY_RESPONSE = "query-response"
    QUESTION_ANSWER = "question-answer"
    QUESTION_RESPONSE = "question-response"
    INPUT_OUTPUT = "input-output"
    TEXT = "text"

    __hash__ = str.__hash__  # an Enum's own is written in Python, and every line of a dataset asks for it

    @property
    def kind(self) -> Kind:
        return KINDS.get(self, Kind.CHAT)

    @property
    def is_log(self) -> bool:
        """Whether a row is a request with its answer, so that a later one may hold an earlier one whole."""
        return self in LOGS


KINDS = {
    Format.TEXT: Kind.TEXT, Format.KTO: Kind.KTO, Format.PREFERENCE: Kind.PREFERENCE, Format.OPENAI_PREFERENCE: Kind.PREFERENCE,
    Format.REJECTED_RESPONSE: Kind.PREFERENCE,
}  # fmt: skip
TRANSCRIPTS = frozenset({Format.CLAUDE_CODE, Format.CODEX})
LOGS = TRANSCRIPTS | {Format.SESSION, Format.OPENAI_LOG, Format.RESPONSES_LOG}


class Example(NamedTuple):
    """One example in the common shape.

    `messages` are `{"role": system|user|assistant|tool, "content": str}` with, where they apply, `tool_calls` (`{"id", "type": "function",
    "function": {"name", "arguments": object}}`), `tool_call_id`, `name`, `reasoning_content`, and `cut: True` for an answer that was cut
    off, so that its end is not learned. `trained` holds the indexes of those whose tokens carry loss. A preference has its prompt in
    `messages` and its two answers in `chosen` and `rejected`. A text has only `text`. `label` says whether a KTO row's answer is a good
    one.
    """

    format: Format
    messages: list[Message]
    trained: list[int]
    tools: list[dict[str, Any]]
    text: str = ""
    chosen: list[Message] = []  # noqa: RUF012 - never changed, and a tuple's default
    rejected: list[Message] = []  # noqa: RUF012
    label: bool | None = None
    unread: tuple[str, ...] = ()
    """Keys of the row and of its messages that are neither read nor known to be harmless, as the report names them."""

    @property
    def kind(self) -> Kind:
        return self.format.kind


def canonical(example: Example) -> dict[str, Any]:
    """A chat as a row of messages that reads back as the same example: answers without loss have the weight 0."""
    trained = set(example.trained)
    messages = [
        {**message, "weight": 0} if message["role"] == "assistant" and index not in trained else message
        for index, message in enumerate(example.messages)
    ]
    return {"messages": messages, **({"tools": example.tools} if example.tools else {})}
