"""Read transcripts of Claude Code and Codex, where a line is a piece of a conversation, as rows of messages.

A row is numbered by the line that its conversation begins at, or where it leaves one that came before. No more than the open conversations
are held. What cannot be trained on (a picture) ends its conversation: what came before it is a row, and the line is reported.
"""

from collections.abc import Iterable, Iterator

from llmlab.dataset.claude_code import ClaudeCode
from llmlab.dataset.codex import Codex
from llmlab.dataset.formats import Format
from llmlab.dataset.line import Line
from llmlab.dataset.reasons import UNANSWERED


def read_transcript(lines: Iterable[Line], program: Format) -> Iterator[Line]:
    """The conversations of a transcript as rows, its bad lines as they are."""
    reading = ClaudeCode() if program is Format.CLAUDE_CODE else Codex()
    seen = 0
    for line in lines:
        if line.row is None:
            if line.reason:
                yield line
            continue
        for row in reading.line(line.number, line.row, len(line.raw)):
            seen += 1
            yield row
    for row in reading.end():
        seen += 1
        yield row
    if not seen:
        yield Line(1, reason="no message in the transcript", skipped=UNANSWERED)
