"""Claude Code's transcripts: their lines, each a message or a part of one, gathered into conversations."""

from collections.abc import Iterator
from typing import Any

from llmlab.dataset.content import only_text
from llmlab.dataset.conversation import ENDS, Conversation, fits
from llmlab.dataset.formats import Format, Message
from llmlab.dataset.heads import CLAUDE_CODE
from llmlab.dataset.keys import is_cut
from llmlab.dataset.line import Line
from llmlab.dataset.messages import read_message
from llmlab.dataset.reasons import FAILED, BadRow


class ClaudeCode:
    """Gathers the lines of a Claude Code transcript into conversations.

    https://github.com/ticpu/claude-conversation-search-mcp/blob/main/docs/jsonl-format.md describes the lines from 69,000 messages.

    A message of the assistant comes in several lines of one `message.id`. Each line names the one before it (`parentUuid`): where a user's
    words name an earlier one, the user has taken back what came after, and another conversation begins there. Lines with `isSidechain` are
    a subagent's. What the program wrote for the user's eyes or in the model's name is no message.
    """

    MAIN = ""

    def __init__(self) -> None:
        self.open: dict[str, Conversation] = {}
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
            conversation = self.open[key] = Conversation(number)
        yield from self._add(conversation, number, row, message, size)

    def _owner(self, row: dict[str, Any]) -> str:
        """Which conversation of the file a line belongs to: the main one, or a subagent's."""
        if not row.get("isSidechain"):
            return self.MAIN
        uuid, agent = str(row.get("uuid")), row.get("agentId")
        key = agent if isinstance(agent, str) and agent else self.owner.get(str(row.get("parentUuid"))) or uuid
        self.owner[uuid] = key
        return key

    def _add(self, conversation: Conversation, number: int, row: dict[str, Any], message: dict[str, Any], size: int) -> Iterator[Line]:
        conversation.size += size
        try:
            fits(conversation.size)
            messages = _words_alone(row["type"], message)
            if not messages:
                messages, _ = read_message({"role": row["type"], **_said(message)}, "message", conversation.unread)
        except BadRow as error:
            if conversation.trained:
                yield conversation.row(Format.CLAUDE_CODE)
            yield Line(number, reason=f"{error}{ENDS}")
            conversation.ended, conversation.trained = True, set()
            return
        if row["type"] == "assistant":
            _answer(conversation, messages[-1], str(message.get("id")))
        else:
            _ask(conversation, messages)
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


def _words_alone(kind: str, message: dict[str, Any]) -> list[Message]:
    """A message that says words, as a string or one part, and was not cut off; nothing where it may hold more."""
    content = message.get("content")
    if type(content) is list and len(content) == 1:
        content = only_text(content[0])
    return [{"role": kind, "content": content}] if type(content) is str and not is_cut(message.get("stop_reason")) else []


def _said(message: dict[str, Any]) -> dict[str, Any]:
    return {key: message[key] for key in ("content", "stop_reason") if message.get(key) is not None}


def _place(conversation: Conversation, row: dict[str, Any], count: int) -> None:
    if isinstance(row.get("uuid"), str):
        conversation.at[row["uuid"]] = count


def _left_at(conversation: Conversation, row: dict[str, Any], message: dict[str, Any]) -> int | None:
    """The number of messages after which a user's words branch off the conversation; None where they continue it.

    Results of tools never do: those of calls made side by side name the lines of their calls.
    """
    if row["type"] != "user" or _has_results(message.get("content")) or not conversation.messages:
        return None
    parent = row.get("parentUuid")
    count = 0 if parent is None else conversation.at.get(str(parent))
    if count is None or not any(later["role"] == "assistant" for later in conversation.messages[count:]):
        return None
    return count


def _has_results(content: object) -> bool:
    return isinstance(content, list) and any(isinstance(part, dict) and part.get("type") == "tool_result" for part in content)


def _answer(conversation: Conversation, message: Message, identity: str) -> None:
    """Add a line of the assistant: a new message, or more of the last one."""
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


def _ask(conversation: Conversation, messages: list[Message]) -> None:
    """Add a line of the user: results of tools, or words, which the API joins to the words before them."""
    for message in messages:
        last = conversation.messages[-1] if conversation.messages else None
        if last and message["role"] == last["role"] == "user":
            last["content"] = f"{last['content']}\n{message['content']}"
        else:
            conversation.messages.append(message)
