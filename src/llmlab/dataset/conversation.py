"""A conversation that is being gathered from the lines of a transcript."""

from dataclasses import dataclass, field

from llmlab.dataset.formats import Example, Format, Message, canonical
from llmlab.dataset.items import one_system
from llmlab.dataset.line import MOST_BYTES, Line
from llmlab.dataset.reasons import UNANSWERED, BadRow

ENDS = "; what follows in this conversation is left out"


@dataclass
class Conversation:
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

    def branch(self, number: int, count: int) -> "Conversation":
        """Another conversation that begins with the first `count` messages of this one, which are context there."""
        places = {uuid: at for uuid, at in self.at.items() if at <= count}
        return Conversation(number, [dict(message) for message in self.messages[:count]], at=places)


def fits(size: int) -> None:
    """Refuse a conversation that would not fit into memory.

    Raises:
        BadRow: it is longer than any line may be.
    """
    if size > MOST_BYTES:
        raise BadRow(f"a conversation of more than {MOST_BYTES >> 20} MiB")
