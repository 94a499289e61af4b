"""Transcripts, where a file is a conversation and a line is a piece of one: Claude Code's and Codex's, to rows of messages.

A row is numbered by the line that its conversation begins at, or where it leaves one that came before. No more than the open conversations
are held. What cannot be trained on (a picture) ends its conversation: what came before it is a row, and the line is told.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmlab.dataset.formats import Example, Format, Message, canonical
from llmlab.dataset.heads import CLAUDE_CODE, CODEX
from llmlab.dataset.items import CALLS, RESULTS, Turns, one_system
from llmlab.dataset.line import MOST_BYTES, Line
from llmlab.dataset.messages import read_message, system_text
from llmlab.dataset.reasons import FAILED, UNANSWERED, BadRow

ENDS = "; what follows in this conversation is left out"


def read_transcript(lines: Iterable[Line], program: Format) -> Iterator[Line]:
    """The conversations of a transcript as rows, its bad lines as they are."""
    reading = _ClaudeCode() if program is Format.CLAUDE_CODE else _Codex()
    seen = 0
    for line in lines:
        if line.row is None:
            if line.reason:
                yield line
            continue
        for made in reading.line(line.number, line.row, len(line.raw)):
            seen += 1
            yield made
    for made in reading.end():
        seen += 1
        yield made
    if not seen:
        yield Line(1, reason="no message in the transcript", skipped=UNANSWERED)


@dataclass
class _Conversation:
    """Messages that are being gathered. `at` tells after each of the file's lines how many there were."""

    number: int
    messages: list[Message] = field(default_factory=list)
    trained: set[int] = field(default_factory=set)
    at: dict[str, int] = field(default_factory=dict)
    size: int = 0
    answer: str = ""
    """The identity of the assistant's last message, of which more may come, and `answer_at` its index."""
    answer_at: int = -1
    ended: bool = False
    unread: set[str] = field(default_factory=set)

    def row(self, form: Format) -> Line:
        """The conversation up to its last answer."""
        if not self.trained:
            return Line(self.number, reason="a conversation without an answer", skipped=UNANSWERED)
        messages, trained = one_system(self.messages, sorted(self.trained))
        unread = tuple(sorted(self.unread))
        return Line(self.number, canonical(Example(form, messages, trained, [])), form=form, unread=unread)

    def branch(self, number: int, count: int) -> "_Conversation":
        """Another conversation that begins with the first `count` messages of this one, which are context there."""
        places = {uuid: at for uuid, at in self.at.items() if at <= count}
        return _Conversation(number, [dict(message) for message in self.messages[:count]], at=places)


def _fits(size: int) -> None:
    """Refuse a conversation that would not fit into memory.

    Raises:
        BadRow: it is longer than any line may be.
    """
    if size > MOST_BYTES:
        raise BadRow(f"a conversation of more than {MOST_BYTES >> 20} MiB")


# ---------------------------------------------------------------- Claude Code


class _ClaudeCode:
    """https://github.com/ticpu/claude-conversation-search-mcp/blob/main/docs/jsonl-format.md describes the lines from 69,000 messages.

    A message of the assistant comes in several lines of one `message.id`. Each line names the one before it (`parentUuid`): where a user's
    words name an earlier one, the user has taken back what came after, and another conversation begins there. Lines with `isSidechain` are
    a subagent's. What the program wrote for the user's eyes or in the model's name is no message.
    """

    MAIN = ""

    def __init__(self) -> None:
        self.open: dict[str, _Conversation] = {}
        self.owner: dict[str, str] = {}
        self.unread: set[str] = set()

    def line(self, number: int, row: dict[str, Any], size: int) -> Iterator[Line]:
        kind, message = str(row.get("type")), row.get("message")
        key = self._owner(row)
        if kind == "system" and row.get("subtype") == "compact_boundary":
            yield from self._close(key)
            return
        conversation = self.open.get(key)
        if kind not in {"user", "assistant"} or not isinstance(message, dict) or _is_the_programs(row, message):
            if row.get("isApiErrorMessage"):
                yield Line(number, reason="a failed request", skipped=FAILED)
            if kind not in CLAUDE_CODE:
                self.unread.add(f"lines of type {kind}")
            if conversation is not None:
                _place(conversation, row, conversation.at.get(str(row.get("parentUuid")), len(conversation.messages)))
            return
        if conversation is not None and conversation.ended and row.get("parentUuid") is not None:
            return
        if conversation is not None and str(row.get("uuid")) in conversation.at:
            return  # a line that was written twice
        if conversation is not None and (count := _left_at(conversation, row, message)) is not None:
            yield conversation.row(Format.CLAUDE_CODE)
            conversation = self.open[key] = conversation.branch(number, count)
        if conversation is None:
            conversation = self.open[key] = _Conversation(number)
        yield from self._add(conversation, number, row, message, size)

    def _owner(self, row: dict[str, Any]) -> str:
        """Which conversation of the file a line belongs to: the main one, or a subagent's."""
        uuid, parent = str(row.get("uuid")), str(row.get("parentUuid"))
        key = self.MAIN
        if row.get("isSidechain"):
            agent = row.get("agentId")
            key = agent if isinstance(agent, str) and agent else self.owner.get(parent) or uuid
            self.owner[uuid] = key
        return key

    def _add(self, conversation: _Conversation, number: int, row: dict[str, Any], message: dict[str, Any], size: int) -> Iterator[Line]:
        conversation.size += size
        try:
            _fits(conversation.size)
            made, _ = read_message({"role": row["type"], **_said(message)}, "message", conversation.unread)
        except BadRow as error:
            if conversation.trained:
                yield conversation.row(Format.CLAUDE_CODE)
            yield Line(number, reason=f"{error}{ENDS}")
            conversation.ended, conversation.trained = True, set()
            return
        if row["type"] == "assistant":
            _answer(conversation, made[-1], str(message.get("id")))
        else:
            _ask(conversation, made)
        _place(conversation, row, len(conversation.messages))

    def _close(self, key: str) -> Iterator[Line]:
        conversation = self.open.pop(key, None)
        if conversation is not None and not conversation.ended:
            conversation.unread |= self.unread
            yield conversation.row(Format.CLAUDE_CODE)

    def end(self) -> Iterator[Line]:
        for key in list(self.open):
            yield from self._close(key)


def _is_the_programs(row: dict[str, Any], message: dict[str, Any]) -> bool:
    """Whether a message is the program's own: an error, a text for the user's eyes, an answer that no model gave."""
    return bool(row.get("isApiErrorMessage") or row.get("isVisibleInTranscriptOnly") or message.get("model") == "<synthetic>")


def _said(message: dict[str, Any]) -> dict[str, Any]:
    return {key: message[key] for key in ("content", "stop_reason") if message.get(key) is not None}


def _place(conversation: _Conversation, row: dict[str, Any], count: int) -> None:
    if isinstance(row.get("uuid"), str):
        conversation.at[row["uuid"]] = count


def _left_at(conversation: _Conversation, row: dict[str, Any], message: dict[str, Any]) -> int | None:
    """After how many messages a user's words leave the conversation so far; None where they go on with it.

    Results of tools never do: those of calls made side by side name the lines of their calls.
    """
    if row["type"] != "user" or _has_results(message.get("content")) or not conversation.messages:
        return None
    parent = row.get("parentUuid")
    count = 0 if parent is None else conversation.at.get(str(parent))
    if count is None or not any(one["role"] == "assistant" for one in conversation.messages[count:]):
        return None
    return count


def _has_results(content: object) -> bool:
    return isinstance(content, list) and any(isinstance(part, dict) and part.get("type") == "tool_result" for part in content)


def _answer(conversation: _Conversation, message: Message, identity: str) -> None:
    """A line of the assistant: a message, or more of the last one."""
    if identity != "None" and identity == conversation.answer:
        last = conversation.messages[conversation.answer_at]
        for key in ("content", "reasoning_content"):
            if message.get(key):
                last[key] = f"{last[key]}\n{message[key]}" if last.get(key) else message[key]
        if message.get("tool_calls"):
            last["tool_calls"] = [*last.get("tool_calls", ()), *message["tool_calls"]]
        if message.get("cut"):
            last["cut"] = True
        return
    conversation.answer, conversation.answer_at = identity, len(conversation.messages)
    conversation.trained.add(len(conversation.messages))
    conversation.messages.append(message)


def _ask(conversation: _Conversation, messages: list[Message]) -> None:
    """A line of the user: results of tools, or words, which the API joins to the words before them."""
    for message in messages:
        last = conversation.messages[-1] if conversation.messages else None
        if last and message["role"] == last["role"] == "user":
            last["content"] = f"{last['content']}\n{message['content']}"
        else:
            conversation.messages.append(message)


# ---------------------------------------------------------------- Codex


BARE = CALLS | RESULTS | {"message", "reasoning"}
"""Items that a line may be by itself."""


class _Codex:
    """`RolloutItem` in https://github.com/openai/codex/blob/main/codex-rs/protocol/src/protocol.rs; earlier files have the items bare.

    What the model saw is `response_item`; everything else is for the program. Where the history was compacted, another conversation
    begins with what was kept; where turns were taken back, with what is left.
    """

    def __init__(self) -> None:
        self.number = 0
        self.turns = Turns()
        self.size = 0
        self.ended = False
        self.unread: set[str] = set()

    def line(self, number: int, row: dict[str, Any], size: int) -> Iterator[Line]:
        kind, payload = str(row.get("type", "")), row.get("payload")
        self.number = self.number or number
        if kind in CODEX and isinstance(payload, dict):
            if kind == "compacted":
                yield from self._compacted(number, payload)
                return
            if kind == "session_meta":
                self._begin(payload)
            elif kind == "event_msg":
                yield from self._event(number, payload)
            elif kind == "inter_agent_communication":
                self.unread.add(f"lines of type {kind}")
            if kind != "response_item":
                return
            row = payload
        elif not kind:
            self._begin(row)
            return
        elif kind not in BARE:
            self.unread.add(f"lines of type {kind}")
            return
        yield from self._item(number, row, size)

    def _begin(self, meta: dict[str, Any]) -> None:
        given = meta.get("base_instructions")
        text = given.get("text") if isinstance(given, dict) else meta.get("instructions")
        if isinstance(text, str) and text and not self.turns.messages:
            self.turns.messages += system_text(text, "instructions")

    def _event(self, number: int, payload: dict[str, Any]) -> Iterator[Line]:
        if payload.get("type") in ("error", "stream_error"):
            yield Line(number, reason=f"a failed request: {str(payload.get('message'))[:200]}", skipped=FAILED)
        turns = payload.get("num_turns")
        if payload.get("type") == "thread_rolled_back" and isinstance(turns, int) and turns > 0:
            asked = [at for at, message in enumerate(self.turns.messages) if message["role"] == "user"]
            count = asked[-turns] if turns <= len(asked) else 0
            kept = [dict(message) for message in self.turns.messages[:count]]
            yield from self.end()
            self._open(number, kept)

    def _compacted(self, number: int, payload: dict[str, Any]) -> Iterator[Line]:
        system = [message for message in self.turns.messages[:1] if message["role"] == "system"]
        yield from self.end()
        self._open(number, [dict(message) for message in system])
        self.turns.learning = False
        history = payload.get("replacement_history")
        if not isinstance(history, list) or not history:
            history = [{"role": "user", "content": str(payload.get("message") or "")}]
        try:
            for index, item in enumerate(history):
                self.turns.add(item, f"replacement_history[{index}]", self.unread)
        except BadRow as error:
            yield from self._broken(number, error)
        self.turns.learning = True

    def _item(self, number: int, item: dict[str, Any], size: int) -> Iterator[Line]:
        if self.ended:
            return
        self.size += size
        try:
            _fits(self.size)
            self.turns.add(item, "payload", self.unread)
        except BadRow as error:
            yield from self._broken(number, error)

    def _broken(self, number: int, error: BadRow) -> Iterator[Line]:
        if self.turns.trained:
            yield from self.end()
        yield Line(number, reason=f"{error}{ENDS}")
        self.ended = True

    def _open(self, number: int, messages: list[Message]) -> None:
        self.number, self.turns, self.size, self.ended = number, Turns(messages), 0, False

    def end(self) -> Iterator[Line]:
        if self.ended or not any(message["role"] != "system" for message in self.turns.messages):
            return
        done = _Conversation(self.number, self.turns.messages, set(self.turns.trained), unread=self.unread)
        yield done.row(Format.CODEX)
        self.ended, self.unread = True, set()
