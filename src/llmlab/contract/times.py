"""Types for times and amounts in documents, with their checks: readers compute with these values."""

from datetime import UTC, datetime
from typing import Annotated

TIMESTAMP = "%Y-%m-%dT%H:%M:%SZ"
FIRST_YEAR, LAST_YEAR = 1970, 2999
"""Years in which a time can be added to and shown in every time zone; times outside of them are refused."""
MOST = 10**9
"""No count of hours, dollars, attempts or steps is larger."""


def build_timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(TIMESTAMP)


def parse_timestamp(text: str) -> datetime:
    return datetime.strptime(text, TIMESTAMP).replace(tzinfo=UTC)


def _check_moment(text: str) -> None:
    if not FIRST_YEAR <= parse_timestamp(text).year <= LAST_YEAR:
        raise ValueError(f"{text} is no moment of a run")


def _check_moment_or_none(text: str) -> None:
    if text:
        _check_moment(text)


def _check_seconds(seconds: int) -> None:
    if not 0 <= seconds < datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp():
        raise ValueError(f"{seconds:.3g} seconds are no moment of a run")


def _check_amount(amount: float) -> None:
    if not 0 <= amount <= MOST:
        raise ValueError(f"{amount:.3g} is none")


Moment = Annotated[str, _check_moment]
"""A timestamp, as `build_timestamp` makes it."""
MomentOrNone = Annotated[str, _check_moment_or_none]
"""A timestamp, or ""."""
Seconds = Annotated[int, _check_seconds]
"""A moment in seconds since 1970."""
Count = Annotated[int, _check_amount]
"""How many: attempts, steps."""
Amount = Annotated[float, _check_amount]
"""How much: hours, US dollars. A negative one would give a run more than it was allowed."""
