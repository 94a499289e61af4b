"""What this month has cost: by run from the prices noted at launch, beside what Cost Explorer, the budget and the forecast say.

The first is exact for instance time and known at once; the others see everything, about a day late. What AWS does not answer
(a tag not yet activated, a permission missing) is left out with a note: the rest is still worth reading.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from llmlab import contract
from llmlab.aws import costs, documents
from llmlab.aws.costs import Budget
from llmlab.aws.session import Aws, AwsError, BadCredentials, Denied, Unreachable
from llmlab.clock import Clock
from llmlab.contract import Attempt, AttemptEnd, Marker, RunKeys

T = TypeVar("T")
LONGEST = timedelta(days=8)
"""A run started this long before the month may still cost in it: the longest `max_hours` is a week."""


@dataclass(frozen=True)
class RunCost:
    """Instance time of one run in this month, in hours and US dollars. `running` while an attempt has no end."""

    run: str
    instance_types: tuple[str, ...]
    spot: bool
    attempts: int
    hours: float
    cost: float
    running: bool


@dataclass(frozen=True)
class Costs:
    """`services` and `forecast` are None when Cost Explorer did not answer, `budget` when Budgets did not; `notes` say why."""

    month: str
    runs: tuple[RunCost, ...]
    total: float
    services: dict[str, float] | None
    forecast: float | None
    budget: Budget | None
    notes: tuple[str, ...]


def cost(aws: Aws, clock: Clock, *, cost_explorer: bool = True) -> Costs:
    """This month's costs. Cost Explorer takes a cent a question (two are asked), so it can be left out.

    Raises:
        LabError: there is no lab, or no credentials.
    """
    now = clock.now()
    first = now.date().replace(day=1)
    names = documents.runs(aws, aws.names.outputs_bucket)
    recent = [run for run in names if contract.run_started(run) >= _midnight(first) - LONGEST]
    with ThreadPoolExecutor(16) as pool:
        found = [one for one in pool.map(lambda run: run_cost(aws, run, _midnight(first), now), recent) if one]
    notes: list[str] = []
    services = forecast = None
    if cost_explorer:
        services = _asked(lambda: costs.by_service(aws, first, now.date()), "Cost Explorer", notes)
        forecast = _asked(lambda: costs.forecast(aws, now.date(), next_month(first)), "the forecast", notes)
    budget = _asked(lambda: costs.budget(aws), "the budget", notes)
    return Costs(f"{first:%Y-%m}", tuple(found), sum(one.cost for one in found), services, forecast, budget, tuple(notes))


def run_cost(aws: Aws, run: str, since: datetime, now: datetime) -> RunCost | None:
    """One run's share of the time from `since` to `now`; None when it had none."""
    keys = RunKeys(run)
    bucket = aws.names.outputs_bucket
    attempts: list[Attempt] = []
    ends: dict[int, AttemptEnd] = {}
    for key in documents.keys_under(aws, bucket, keys.attempts):
        _, kind = contract.parse_attempt(key)
        if kind == "end":
            end = documents.read(aws, AttemptEnd, bucket, key)
            ends |= {end.number: end} if end else {}
        elif kind == "claim":
            attempt = documents.read(aws, Attempt, bucket, key)
            attempts += [attempt] if attempt else []
    marker = documents.read(aws, Marker, bucket, keys.success) or documents.read(aws, Marker, bucket, keys.failure)
    return share(run, attempts, ends, marker, since, now)


def share(
    run: str, attempts: Iterable[Attempt], ends: dict[int, AttemptEnd], marker: Marker | None, since: datetime, now: datetime
) -> RunCost | None:
    """Price times time of each attempt within the window. An attempt lasts until its end, the run's marker, its deadline or now."""
    hours = dollars = 0.0
    running = False
    started = sorted((one for one in attempts if one.launched), key=lambda one: one.number)
    for index, attempt in enumerate(started):
        limits = [now, datetime.fromtimestamp(attempt.deadline, UTC)]
        end = ends.get(attempt.number)
        if end:
            limits.append(contract.parse_timestamp(end.ended))
        elif index + 1 < len(started):
            limits.append(contract.parse_timestamp(started[index + 1].launched))
        elif marker:
            limits.append(contract.parse_timestamp(marker.ended))
        until = min(limits)
        running |= until == now
        used = max(0.0, (until - max(since, contract.parse_timestamp(attempt.launched))).total_seconds() / 3600)
        hours += used
        dollars += used * attempt.price
    if not started or not hours:
        return None
    types = tuple(dict.fromkeys(one.instance_type for one in started))
    return RunCost(run, types, started[-1].spot, len(started), hours, dollars, running)


def _asked(question: Callable[[], T], what: str, notes: list[str]) -> T | None:
    """The answer, or None and a note. A problem with the credentials or the line is no detail: it goes on."""
    try:
        return question()
    except (BadCredentials, Unreachable):
        raise
    except Denied as error:
        notes.append(f"{what} is left out: {error.message}")
    except AwsError as error:
        notes.append(f"{what} is left out: {error.message}")
    return None


def next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
