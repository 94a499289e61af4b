"""Our account of instance costs compared with AWS's, for days that ended a day ago, since Cost Explorer is about a day behind.

The two differ a little: we count from the launch to the marker and AWS from start to termination, prices out of a shipped table are
approximate, and AWS rounds each line of a bill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from llmlab.contract import Tag
from llmlab.ops import attempt_spending
from llmlab.ops.attempt_spending import Account

BEHIND = timedelta(hours=24)
"""How long after a day's end its costs are compared.
https://docs.aws.amazon.com/cost-management/latest/userguide/ce-what-is.html"""


@dataclass(frozen=True)
class Compared:
    """US dollars of a day, a run, or everything. `percent` is the difference in those of the bill, None where it is 0."""

    name: str
    ours: float
    billed: float
    difference: float
    percent: float | None

    @staticmethod
    def of(name: str, ours: float, billed: float) -> "Compared":
        return Compared(name, ours, billed, ours - billed, 100 * (ours - billed) / billed if billed else None)


@dataclass(frozen=True)
class Comparison:
    """By day, and by run where Cost Explorer knows the tag; `whole` is the sum of either."""

    tag: str
    days: tuple[Compared, ...]
    runs: tuple[Compared, ...]
    whole: Compared

    @property
    def ours(self) -> float:
        return self.whole.ours

    @property
    def unseen(self) -> bool:
        """Whether Cost Explorer shows no costs at all where we counted some."""
        return self.whole.billed == 0 and self.whole.ours > 0


def comparable_days(first: date, now: datetime) -> tuple[date, ...]:
    """The days from `first` on that ended a day ago or more (UTC)."""
    last = (now.astimezone(UTC) - BEHIND).date()
    return tuple(first + timedelta(days=index) for index in range((last - first).days))


def compare(
    accounts: Mapping[str, Account], billed: Mapping[date, Mapping[str, float]], days: Sequence[date], now: datetime, *, by_run: bool
) -> Comparison:
    """Compare our costs with the billed ones of the same days. `billed` is by day and run, "" where runs cannot be told apart."""
    ours = {(day, run): _cost_of(written, day, now) for run, written in accounts.items() for day in days}
    theirs = {(day, run): dollars for day in days for run, dollars in billed.get(day, {}).items()}
    names = dict.fromkeys(run for cells in (ours, theirs) for (_, run), dollars in cells.items() if dollars) if by_run else {}
    by_day = tuple(
        Compared.of(
            day.isoformat(),
            sum(dollars for (when, _), dollars in ours.items() if when == day),
            sum(dollars for (when, _), dollars in theirs.items() if when == day),
        )
        for day in days
    )
    runs = tuple(
        Compared.of(
            name or "no run",
            sum(dollars for (_, run), dollars in ours.items() if run == name),
            sum(dollars for (_, run), dollars in theirs.items() if run == name),
        )
        for name in sorted(names)
    )
    whole = Compared.of("total", sum(ours.values()), sum(theirs.values()))
    return Comparison(str(Tag.RUN if by_run else Tag.PROJECT), by_day, runs, whole)


def _cost_of(account: Account, day: date, now: datetime) -> float:
    begin = midnight(day)
    return sum(attempt.cost for attempt in attempt_spending.by_attempt(account, now, begin, begin + timedelta(days=1)))


def midnight(day: date) -> datetime:
    """When a day begins (UTC)."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
