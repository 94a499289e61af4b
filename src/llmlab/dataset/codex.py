"""Codex's transcripts: their lines, each an item that the model saw or an event for the program, gathered into conversations."""

from collections.abc import Iterator
from typing import Any

from llmlab.dataset.conversation import ENDS, Conversation, fits
from llmlab.dataset.formats import Format, Message
from llmlab.dataset.heads import CODEX
from llmlab.dataset.items import CALLS, RESULTS, ConversationBuilder
from llmlab.dataset.line import Line
from llmlab.dataset.messages import system_text
from llmlab.dataset.reasons import FAILED, BadRow

BARE = CALLS | RESULTS | {"message", "reasoning"}
"""Types of items that a line may hold by themselves, without a `payload`."""


class Codex:
    """Gathers the lines of a Codex transcript into conversations.

    `RolloutItem` in https://github.com/openai/codex/blob/main/codex-rs/protocol/src/protocol.rs; earlier files have the items bare.
    What the model saw is `response_item`; everything else is for the program. Where the history was compacted, another conversation
    begins with what was kept; where turns were taken back, with what is left.
    """

    def __init__(self) -> None:
        self.number = 0
        self.turns = ConversationBuilder()
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
        instructions = meta.get("base_instructions")
        text = instructions.get("text") if isinstance(instructions, dict) else meta.get("instructions")
        if isinstance(text, str) and text and not self.turns.messages:
            self.turns.messages += system_text(text, "instructions")

    def _event(self, number: int, payload: dict[str, Any]) -> Iterator[Line]:
        if payload.get("type") in ("error", "stream_error"):
            yield Line(number, reason=f"a failed request: {str(payload.get('message'))[:200]}", skipped=FAILED)
        turns = payload.get("num_turns")
        if payload.get("type") == "thread_rolled_back" and isinstance(turns, int) and turns > 0:
            user_turns = [at for at, message in enumerate(self.turns.messages) if message["role"] == "user"]
            count = user_turns[-turns] if turns <= len(user_turns) else 0
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
            fits(self.size)
            self.turns.add(item, "payload", self.unread)
        except BadRow as error:
            yield from self._broken(number, error)

    def _broken(self, number: int, error: BadRow) -> Iterator[Line]:
        if self.turns.trained:
            yield from self.end()
        yield Line(number, reason=f"{error}{ENDS}")
        self.ended = True

    def _open(self, number: int, messages: list[Message]) -> None:
        self.number, self.turns, self.size, self.ended = number, ConversationBuilder(messages), 0, False

    def end(self) -> Iterator[Line]:
        if self.ended or not any(message["role"] != "system" for message in self.turns.messages):
            return
        done = Conversation(self.number, self.turns.messages, set(self.turns.trained), unread=self.unread)
        yield done.row(Format.CODEX)
        self.ended, self.unread = True, set()
