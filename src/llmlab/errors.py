"""Every failure the user can meet: one sentence, a hint that is a runnable command, and an exit code.

`LabError` is the root. What AWS answers becomes one of the classes below in `aws/session.py`, and nowhere else; above
`aws/` nobody knows botocore. Commands never catch: `cli.main` turns these into words once.
"""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the process, for scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PLAN_NOT_EMPTY = 3
    REFUSED = 4
    DENIED = 5
    INTERRUPTED = 130


class LabError(Exception):
    """An error for the user: one sentence without a period, and the command that fixes it."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "", exit_code: ExitCode | None = None, without: Sequence[str] = ()) -> None:
        """`hint` names only what differs from the typed line; `without` names the words of that line to leave out.

        The output merges the hint into the typed line (`contract.typed`).
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
    """An action that needs the user's consent: an unanswered question, a resource that is not ours, a safeguard."""

    exit_code = ExitCode.REFUSED


class Interrupted(LabError):
    """Ctrl-C during a command: the message says what is left behind, the hint continues from there."""

    exit_code = ExitCode.INTERRUPTED


class DataError(LabError):
    """The dataset has lines that cannot be trained on."""


class NoCapacity(LabError):
    """No pool had an instance to give."""


class QuotaExceeded(LabError):
    """An account quota is smaller than what was asked for."""

    exit_code = ExitCode.REFUSED


MOST_WORDS = 1000
"""Characters of a sentence that quotes text of the user or of AWS."""


def one_line(words: object) -> str:
    """Text of unknown origin on one line, cut to `MOST_WORDS` characters."""
    return " ".join(str(words).split())[:MOST_WORDS]
