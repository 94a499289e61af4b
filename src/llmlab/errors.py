"""Every failure the user can meet: one sentence, a hint that is a runnable command, and an exit code.

`LabError` is the root. What AWS answers becomes one of the classes below in `aws/session.py`, and nowhere else; above
`aws/` nobody knows botocore. Commands never catch: `cli.main` turns these into words once.
"""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process ends with, for scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PLAN_NOT_EMPTY = 3
    REFUSED = 4
    DENIED = 5
    INTERRUPTED = 130


class LabError(Exception):
    """Something the user should know, said in one sentence without a period, with the command that mends it."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "", exit_code: ExitCode | None = None, without: Sequence[str] = ()) -> None:
        """`hint` names the least that differs from what was typed; `without` names what of that line may not stand in the next.

        Whoever shows the error lays the hint over the line as typed (`contract.typed`).
        """
        Exception.__init__(self, message)  # not super(): an AwsError is a ClientError too, which wants other arguments
        self.message = message
        self.hint = hint
        self.without = tuple(without)
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return self.message


class UsageError(LabError):
    """The arguments or a file the user wrote cannot be used as they are."""

    exit_code = ExitCode.USAGE


class Refused(LabError):
    """Possible, but not without the user saying so: a question no one answered, a stranger's resource, a guard."""

    exit_code = ExitCode.REFUSED


class Interrupted(LabError):
    """Ctrl-C in the middle of something: the message says what is left, the hint goes on from there."""

    exit_code = ExitCode.INTERRUPTED


class DataError(LabError):
    """The dataset has lines that cannot be trained on."""


class NoCapacity(LabError):
    """No pool had an instance to give."""


class QuotaExceeded(LabError):
    """An account quota is smaller than what was asked for."""

    exit_code = ExitCode.REFUSED


MOST_WORDS = 1000
"""Characters of a sentence in which what the user or AWS wrote is quoted."""


def one_line(words: object) -> str:
    """Words on one line, and not too many: what somebody else wrote may be among them."""
    return " ".join(str(words).split())[:MOST_WORDS]
