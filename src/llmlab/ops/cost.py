"""This month's costs: by run from the prices noted at launch, and as Cost Explorer, the budget and the forecast report them.

The first is exact for instance time and known at once; the others see everything, about a day late. What AWS does not answer
(a tag not yet activated, a permission missing) is left out with a note: the rest is still worth reading.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from llmlab import stack
from llmlab.aws import costs, documents, idle_cost, logs, rates
from llmlab.aws.costs import BudgetSpending
from llmlab.aws.idle_cost import StandingCosts
from llmlab.aws.session import Aws, AwsError, BadCredentials, Unreachable
from llmlab.clock import Clock
from llmlab.contract import Heartbeat, LogStream, Marker, RunKeys, Spec, Tag
from llmlab.lifecycle import billing
from llmlab.ops import attempt_spending, runs
from llmlab.ops.attempt_spending import Account, AttemptCost
from llmlab.ops.billing_reconciliation import Comparison, comparable_days, compare, midnight

T = TypeVar("T")
GB = 1e9
NO_DATA = "DataUnavailableException"
"""https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_GetCostForecast.html"""
TOO_NEW = "AWS has not seen enough days of this lab yet"


@dataclass(frozen=True)
class RunCost:
    """What one run cost in this month, in hours and US dollars. `running` while an attempt has no end; `cost` is the sum of `parts`."""

    run: str
    instance_types: tuple[str, ...]
    spot: bool
    attempts: int
    hours: float
    cost: float
    running: bool
    parts: dict[str, float]
    by_attempt: tuple[AttemptCost, ...]


@dataclass(frozen=True)
class Kept:
    """What is paid for beside machines: `storage` a month for what the lab's buckets and log groups hold, and this month's log lines.

    In US dollars at list prices, however much of the account's free tier is left.
    """

    storage: dict[str, float]
    """By the name of what holds it; what holds nothing is left out."""
    log_gb: float
    logs: float


@dataclass(frozen=True)
class Costs:
    """A month's costs. `services` and `forecast` are None without Cost Explorer's answer, `budget` without Budgets'; `notes` say why."""

    month: str
    runs: tuple[RunCost, ...]
    total: float
    services: dict[str, float] | None
    forecast: float | None
    budget: BudgetSpending | None
    comparison: Comparison | None
    while_idle: StandingCosts | None
    """The monthly cost of the lab while nothing runs."""
    notes: tuple[str, ...]
    kept: Kept | None = None
    """The storage of finished runs, which costs until it is deleted."""


def cost(aws: Aws, clock: Clock, *, cost_explorer: bool = True) -> Costs:
    """This month's costs. Cost Explorer charges a cent a request (four are made), so it can be left out.

    Raises:
        LabError: there is no lab, or no credentials.
    """
    now = clock.now()
    first = now.date().replace(day=1)
    notes: list[str] = []
    accounts = _accounts(aws, _since(aws, midnight(first)), notes)
    run_costs = tuple(month_cost for run, written in accounts.items() if (month_cost := share(run, written, midnight(first), now)))
    services = forecast = comparison = None
    if cost_explorer:
        active = _answer_or_note(lambda: costs.active_tags(aws), "which cost tags are active", notes)
        active = frozenset({Tag.PROJECT, Tag.LAB}) if active is None else active
        services = _answer_or_note(lambda: costs.by_service(aws, first, now.date(), active), "Cost Explorer", notes)
        forecast = _answer_or_note(lambda: costs.forecast(aws, now.date(), next_month(first), active), "the forecast", notes)
        if days := comparable_days(first, now):
            billed = _answer_or_note(lambda: costs.by_day(aws, days[0], days[-1] + timedelta(days=1), active), "the comparison", notes)
            comparison = None if billed is None else compare(accounts, billed, days, now, by_run=Tag.RUN in active)
            if comparison and comparison.unseen:
                inactive = "" if Tag.PROJECT in active else f", because the tag {Tag.PROJECT} is not active: {costs.ACTIVATE}"
                notes.append(f"Cost Explorer sees none of the {billing.dollars(comparison.ours)} of {len(comparison.days)} days{inactive}")
    budget = _answer_or_note(lambda: costs.budget(aws), "the budget", notes)
    stands = _answer_or_note(lambda: idle_cost.read(aws, stack.RESOURCES, now), "what the lab costs while nothing runs", notes)
    total = sum(month_cost.cost for month_cost in run_costs)
    groups = [aws.names.log_group(stream) for stream in LogStream]
    lines = _answer_or_note(lambda: logs.ingested(aws, groups, midnight(first), now), "what CloudWatch took of log lines", notes)
    kept = None if stands is None or lines is None else _kept(stands, lines)
    return Costs(f"{first:%Y-%m}", run_costs, total, services, forecast, budget, comparison, stands, tuple(notes), kept)


HOLDING = {"data bucket", "outputs bucket", "log group"}
"""Kinds of resources that are charged by the bytes that they hold."""


def _kept(stands: StandingCosts, lines: float) -> Kept:
    storage = {
        resource.name: resource.without_free_tier for resource in stands.items if resource.kind in HOLDING and resource.without_free_tier
    }
    return Kept(storage, lines / GB, lines / GB * rates.LOG_INGESTED.dollars)


def _accounts(aws: Aws, names: list[str], notes: list[str]) -> dict[str, Account]:
    """The account of each run; a run whose documents cannot be read is left out with a note."""

    def read(run: str) -> Account | str:
        try:
            return account(aws, run)
        except documents.Unreadable as error:
            return error.message

    with ThreadPoolExecutor(16) as pool:
        outcomes = dict(zip(names, pool.map(read, names), strict=True))
    notes += [f"run {run} is left out: {outcome}" for run, outcome in outcomes.items() if isinstance(outcome, str)]
    return {run: outcome for run, outcome in outcomes.items() if isinstance(outcome, Account)}


def _since(aws: Aws, begin: datetime) -> list[str]:
    """The runs that may have had an instance after `begin`: whenever they were launched, a resume may have continued them since."""
    ended = documents.ended(aws, aws.names.outputs_bucket)
    return [run for run in documents.runs(aws, aws.names.outputs_bucket) if run not in ended or ended[run].at >= begin]


def run_cost(aws: Aws, run: str, since: datetime, now: datetime) -> RunCost | None:
    """What one run cost from `since` to `now`; None when it had no instance in that time."""
    return share(run, account(aws, run), since, now)


def account(aws: Aws, run: str) -> Account:
    """Read the documents about a run's attempts: the spec's charges, attempts, their ends, the marker and the heartbeat."""
    bucket, keys = aws.names.outputs_bucket, RunKeys(run)
    attempts = runs.attempts(aws, run)
    spec = documents.read(aws, Spec, bucket, keys.spec)
    marker = documents.read(aws, Marker, bucket, keys.success) or documents.read(aws, Marker, bucket, keys.failure)
    heartbeat = None if marker else documents.read(aws, Heartbeat, bucket, keys.status)
    return Account(spec.charges if spec else (), attempts.claims, {end.number: end for end in attempts.ends}, marker, heartbeat)


def share(run: str, written: Account, since: datetime, now: datetime) -> RunCost | None:
    """What a run cost within the window, by its documents `written`; None when no attempt of it lies there."""
    attempts = attempt_spending.by_attempt(written, now, since)
    hours = sum(attempt.hours for attempt in attempts)
    if not hours:
        return None
    types = tuple(dict.fromkeys(attempt.instance_type for attempt in attempts))
    parts = billing.total_parts(attempt.parts for attempt in attempts)
    running = any(attempt.running for attempt in attempts)
    return RunCost(run, types, attempts[-1].spot, len(written.attempts), hours, billing.total(parts), running, parts, attempts)


def _answer_or_note(question: Callable[[], T], what: str, notes: list[str]) -> T | None:
    """The answer of AWS, or None and a note. Errors of the credentials or the connection are raised."""
    try:
        return question()
    except (BadCredentials, Unreachable):
        raise
    except AwsError as error:
        notes.append(f"{what} is left out: {TOO_NEW if error.code == NO_DATA else error.message}")
    return None


def next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)
