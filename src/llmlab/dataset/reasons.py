"""The reasons why a row cannot be trained on."""

from llmlab.errors import one_line


class BadRow(ValueError):
    """A row cannot be trained on; the reason is one line, and may quote keys and values of the row."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


class LeftOut(BadRow):
    """A row of a log that is not wrong but teaches nothing, such as a failed request: no example and no bad line, but counted.

    `why` is the name it is counted under, in the plural.
    """

    def __init__(self, why: str, reason: str) -> None:
        super().__init__(reason)
        self.why = why


FAILED = "failed requests"
CUT_CALLS = "answers cut off within a call"
UNANSWERED = "conversations without an answer"
REPEATED = "repeated requests"


def name_of(value: object) -> str:
    """A value's JSON type in words."""
    return {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}.get(
        type(value), "null"
    )
