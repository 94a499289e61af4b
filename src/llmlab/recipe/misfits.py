"""Fields of a recipe that do not go together, and the sentence about the first of them."""

from collections.abc import Iterable
from shlex import quote
from typing import NamedTuple

from llmlab.errors import UsageError


class Misfit(NamedTuple):
    """A conflict of fields: whether a recipe has it, why it cannot be, and the `--set` that mends it."""

    wrong: bool
    why: str
    mends: str


def refuse(whose: str, misfits: Iterable[Misfit], source: str) -> None:
    """Refuse the first misfit that the recipe has, in a sentence that begins with `whose`.

    Raises:
        UsageError: there is one; the hint does without.
    """
    for wrong, why, mends in misfits:
        if wrong:
            raise UsageError(f"{whose} {why} ({source})", f"llmlab launch --set {quote(mends)}", without=[mends.partition("=")[0]])
