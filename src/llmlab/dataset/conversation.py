"""A conversation that is being gathered from the lines of a transcript."""

from dataclasses import dataclass, field

from llmlab.dataset.formats import Example, Format, Message, canonical
from llmlab.dataset.items import one_system
from llmlab.dataset.line import MOST_BYTES, Line
from llmlab.dataset.reasons import UNANSWERED, BadRow

ENDS = "; what follows in this conversation is left out"


@dataclass
class Conversation:
    """A conversation that is being gathered. `at` maps the uuid of a line to the number of messages after it."""

    number: int
    messages: list[Message] = field(default_factory=list)
    trained: set[int] = field(default_factory=set)
    at: dict[str, int] = field(default_factory=dict)
    size: int = 0
    answer: str = ""
    """The id of the assistant's last message, which later lines may continue; `answer_at` is its index."""
    answer_at: int = -1
    ended: bool = False
    unread: set[str] = field(default_factory=set)

    def row(self, form: Format) -> Line:
        """The conversation as one line with a row of messages; a skipped line where nothing was answered."""
        if not self.trained:
            return Line(self.number, reason="a conversation without an answer", skipped=UNANSWERED)
        messages, trained = one_system(self.messages, sorted(self.trained))
        unread = tuple(sorted(self.unread))
        return Line(self.number, canonical(Example(form, messages, trained, [])), form=form, unread=unread)

    def branch(self, number: int, count: int) -> "Conversation":
        """A new conversation that begins with the first `count` messages of this one, which are context there."""
        places = {uuid: at for uuid, at in self.at.items() if at <= count}
        return Conversation(number, [dict(message) for message in self.messages[:count]], at=places)


def fits(size: int) -> None:
    """Refuse a conversation that would not fit into memory.

    Raises:
        BadRow: it is longer than any line may be.
    """
    if size > MOST_BYTES:
        raise BadRow(f"a conversation of more than {MOST_BYTES >> 20} MiB")
