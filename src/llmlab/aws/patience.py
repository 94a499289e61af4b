"""Retries of calls that AWS refuses only for a while: a resource is still in use, or is not seen yet."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from llmlab.aws.session import AwsError
from llmlab.clock import Clock
from llmlab.errors import LabError

T = TypeVar("T")
IN_USE = ("DependencyViolation",)
"""EC2's error code for a resource that cannot be deleted because others depend on it.
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html"""


def patiently(
    call: Callable[[], T],
    clock: Clock,
    *,
    passing: Sequence[str],
    awaited: str,
    hint: str,
    seconds: float = 120,
    every: float = 5,
    why: Callable[[bool], LabError | None] = lambda _last: None,
) -> T:
    """Repeat a call while AWS refuses it with one of `passing`: error codes, or words of its sentence.

    `why` is called after each refusal: with False, for an error where waiting would not help; with True, at the limit, for an error that
    names what is in the way, where that is known.

    Raises:
        LabError: the error of `why`; or that what was awaited did not happen within the limit, with AWS's last words.
        AwsError: another refusal.
    """
    limit = clock.now().timestamp() + seconds
    while True:
        try:
            return call()
        except AwsError as error:
            if error.code not in passing and not any(words in error.message for words in passing):
                raise
            last = clock.now().timestamp() + every > limit
            if reason := why(last):
                raise reason from error
            if last:
                raise LabError(f"{awaited} did not happen within {seconds:.0f} seconds: {error.message}", hint) from error
        clock.sleep(every)
