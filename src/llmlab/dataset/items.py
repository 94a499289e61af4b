"""Convert the items of OpenAI's Responses API, which Codex also writes to its transcripts, to messages.

What the assistant does between two turns of others (thoughts, words, calls) is one message, as the chat templates write it. Sources:
https://platform.openai.com/docs/api-reference/responses, and `ResponseItem` in
https://github.com/openai/codex/blob/main/codex-rs/protocol/src/models.rs.
"""

from dataclasses import dataclass, field
from typing import Any

from llmlab.dataset.calls import Unread, call
from llmlab.dataset.content import only_text, text_of, tool_text
from llmlab.dataset.formats import Message
from llmlab.dataset.messages import SPEAKERS
from llmlab.dataset.reasons import BadRow, name_of

CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})
RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})
SILENT = frozenset({"ghost_snapshot", "other", "compaction", "compaction_trigger", "additional_tools"})
"""Types of items that hold nothing for a model, or nothing that can be read."""


@dataclass
class ConversationBuilder:
    """Builds messages from items. `trained` are the indexes of the assistant's that were added while `learning` was set."""

    messages: list[Message] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)
    learning: bool = True

    def add_all(self, items: list[Any], where: str, unread: Unread) -> None:
        """Add the next items."""
        for index, item in enumerate(items):
            words = _words_alone(item)
            if words is None:
                self.add(item, f"{where}[{index}]", unread)
            else:
                self._say(*words)

    def add(self, item: Any, where: str, unread: Unread) -> None:
        """Add the next item.

        Raises:
            BadRow: it is no item, or holds something other than text.
        """
        if not isinstance(item, dict):
            raise BadRow(f"{where} is {name_of(item)}, not an object")
        kind = item.get("type") or ("message" if "role" in item else None)
        if not isinstance(kind, str):
            raise BadRow(f"{where} has no type")
        if kind == "message":
            self._message(item, where)
        elif kind == "reasoning":
            self._think(item, where)
        elif kind in CALLS:
            self._call(kind, item, where)
        elif kind in RESULTS:
            self._result(item, where)
        elif kind == "item_reference":
            raise BadRow(f"{where} refers to an item that stands in another row, and would be lost")
        elif kind not in SILENT:
            unread.add(f"items of type {kind}")

    def _message(self, item: Message, where: str) -> None:
        speaker = item.get("role")
        role = SPEAKERS.get(speaker.lower()) if isinstance(speaker, str) else None
        if role not in SPEAKING:
            raise BadRow(f"{where}.role is {speaker!r}, not one of system, developer, user, assistant")
        if item.get("content") is None:
            raise BadRow(f"{where} has no content")
        self._say(role, text_of(item["content"], f"{where}.content", role))
        if role == "assistant" and item.get("status") == "incomplete":
            self.messages[-1]["cut"] = True

    def _say(self, role: str, text: str) -> None:
        """Add a message's words; the assistant's are added to the message that it is in."""
        if role != "assistant":
            self.messages.append({"role": role, "content": text})
            return
        message = self._speaking(after_calls=False)
        message["content"] = f"{message['content']}\n{text}" if message["content"] else text

    def _think(self, item: Message, where: str) -> None:
        """Add thoughts: in full where the item has them, else their summary; nothing of encrypted ones."""
        parts = [*(item.get("content") or ())] or [*(item.get("summary") or ())]
        texts: list[Any] = [part.get("text") if isinstance(part, dict) else part for part in parts]
        if not all(isinstance(text, str) for text in texts):
            raise BadRow(f"{where}: thoughts that are no text")
        if texts:
            message = self._speaking(after_calls=False)
            if message.get("reasoning_content"):
                texts.insert(0, message["reasoning_content"])
            message["reasoning_content"] = "\n".join(texts)

    def _call(self, kind: str, item: Message, where: str) -> None:
        identity = item.get("call_id") or item.get("id")
        if kind == "local_shell_call":
            tool_call = call("local_shell", item.get("action"), identity, where)
        elif kind == "custom_tool_call":
            tool_call = call(item.get("name"), {"input": item.get("input")}, identity, where)
        else:
            tool_call = call(item.get("name"), item.get("arguments"), identity, where)
        self._speaking(after_calls=True).setdefault("tool_calls", []).append(tool_call)

    def _result(self, item: Message, where: str) -> None:
        output = item.get("output")
        if isinstance(output, dict) and isinstance(output.get("content"), str):
            output = output["content"]  # Codex's earlier form: {"content", "success"}
        message: Message = {"role": "tool", "content": tool_text(output, f"{where}.output")}
        if isinstance(item.get("call_id"), str):
            message["tool_call_id"] = item["call_id"]
        self.messages.append(message)

    def _speaking(self, *, after_calls: bool) -> Message:
        """The assistant's message to add to: the last one, or a new one where words follow calls or `learning` has changed."""
        last = self.messages[-1] if self.messages else None
        known = bool(self.trained) and self.trained[-1] == len(self.messages) - 1
        if last and last["role"] == "assistant" and known == self.learning and (after_calls or "tool_calls" not in last):
            return last
        message: Message = {"role": "assistant", "content": ""}
        if self.learning:
            self.trained.append(len(self.messages))
        self.messages.append(message)
        return message


SPEAKING = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def _words_alone(item: object) -> tuple[str, str] | None:
    """Role and text of an item that is a whole message of one text, as most are; None for any other."""
    if type(item) is not dict or item.get("type") != "message" or item.get("status") == "incomplete":
        return None
    speaker, content = item.get("role"), item.get("content")
    role = SPEAKING.get(speaker) if type(speaker) is str else None
    if type(content) is list and len(content) == 1:
        content = only_text(content[0])
    return (role, content) if role is not None and type(content) is str else None


def one_system(messages: list[Message], trained: list[int]) -> tuple[list[Message], list[int]]:
    """Join the system and developer messages that a conversation begins with: chat templates take only one, at the start."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "system":
        return messages, trained
    count = next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))
    joined = "\n\n".join(message["content"] for message in messages[:count])
    return [{"role": "system", "content": joined}, *messages[count:]], [at - count + 1 for at in trained]
