"""Rows of no supported form, and the sentence that says what they are and what to do."""

# ruff: noqa: E501 - examples and sentences, one a line, read better than cut up

from collections.abc import Mapping, Sequence
from typing import Any

REFUSED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("role", "content"), 'one message of a conversation, not a row: write each conversation on one line, as {"messages": […]}'),
    (("from", "value"), 'one turn of a conversation, not a row: write each conversation on one line, as {"conversations": […]}'),
    (("custom_id", "method", "body"), "a request of OpenAI's batches without its answer: join it with the output file by custom_id, as request and response"),
    (("custom_id", "response"), "an answer of OpenAI's batches without its request: join it with the input file by custom_id, as request and response"),
    (("segments",), "axolotl's segments, with and without loss, are not read: use prompt and completion"),
    (("inputs", "outputs"), 'a run of LangSmith: export its messages, as {"messages": […]}'),
    (("mapping", "current_node"), 'an export of ChatGPT: its tree of messages is not read; write each conversation as {"messages": […]}'),
    (("chat_messages",), 'an export of Claude.ai is not read; write each conversation as {"messages": […]}'),
    (("observations",), "a trace of Langfuse: export its generations, as request and response"),
    (("url", "sha256"), "a list of files, not rows"),
    (("completion", "label"), "unpaired preferences (KTO) have a prompt beside completion and label"),
    (("response_j", "response_k"), "a preference under other names: rename them question, chosen and rejected"),
    (("response_0", "response_1"), "a comparison of two responses: name the better one chosen, the other rejected, beside prompt"),
    (("problem", "solution"), "rename problem and solution to prompt and completion"),
    (("inputs", "targets"), "rename inputs and targets to prompt and completion"),
    (("user", "assistant"), "rename user and assistant to prompt and completion"),
    (("type", "message", "sessionId"), "a line of a Claude Code transcript, which is one conversation a file: keep it in the file that Claude Code wrote"),
    (("type", "payload"), "a line of a Codex transcript, which is one conversation a file: keep it in the file that Codex wrote"),
    (("content",), "rename content to text"),
)  # fmt: skip
"""Sets of keys, and what rows with them are; the first set of which a row has all keys decides."""


def refused(row: Mapping[str, Any], needs: Sequence[tuple[str, ...]], names: Sequence[str]) -> str:
    """Why a row of no supported form cannot be trained on."""
    keys = [key for key, value in row.items() if value is not None]
    if not keys:
        return "an empty object"
    for known, reason in REFUSED:
        if all(key in keys for key in known):
            return reason
    for wanted, name in zip(needs, names, strict=True):
        missing = [key for key in wanted if key not in keys]
        if len(missing) == 1 and len(wanted) > 1 and wanted[0] in keys:
            return f"{wanted[0]} without {missing[0]} ({name})"
    shown = ", ".join(keys[:5]) + (", …" if len(keys) > 5 else "")
    return f"no known form has the keys {shown}"
