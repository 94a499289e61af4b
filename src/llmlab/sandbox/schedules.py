"""EventBridge Scheduler and EventBridge's scheduled rules on the sandbox's clock: `rate(…)`, `cron(…)` and `at(…)`.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
When the clock was moved over several occurrences, the schedule fires once for all of them.
"""

import json
import logging
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from llmlab.sandbox.completion import LOCK
from llmlab.sandbox.events import Events
from llmlab.sandbox.timetable import Timetable

LOG = logging.getLogger(__name__)
EVERY_SECONDS = 1.0
UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
DAYS = {"SUN": "0", "MON": "1", "TUE": "2", "WED": "3", "THU": "4", "FRI": "5", "SAT": "6"}
MONTHS = {
    name: str(number) for number, name in enumerate(("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1)
}


def next_time(expression: str, after: datetime, zone: str = "UTC", *, since: datetime | None = None) -> datetime | None:
    """The first occurrence later than `after`, or None when there is none. `since` is where a rate counts from.

    Raises:
        ValueError: the expression is none of Scheduler's.
    """
    kind, _, rest = expression.partition("(")
    inner = rest.removesuffix(")").strip()
    if kind == "at":
        moment = datetime.fromisoformat(inner).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        return moment if moment > after else None
    if kind == "rate":
        number, unit = inner.split()
        step = int(number) * UNITS[unit.removesuffix("s")]
        begin = since or after
        return begin + step * (max(0, (after - begin) // step) + 1)
    if kind == "cron":
        return _next_cron(inner.split(), after.astimezone(ZoneInfo(zone)))
    raise ValueError(f"Invalid Schedule Expression {expression}.")


def _next_cron(fields: list[str], after: datetime) -> datetime | None:
    minutes, hours, days, months, weekdays, years = fields
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    limit = moment + timedelta(days=366 * 5)
    while moment < limit:
        if not (_in(years, moment.year, 1970, 2199) and _in(_named(months, MONTHS), moment.month, 1, 12) and _day(days, weekdays, moment)):
            moment = (moment + timedelta(days=1)).replace(hour=0, minute=0)
        elif not _in(hours, moment.hour, 0, 23):
            moment = (moment + timedelta(hours=1)).replace(minute=0)
        elif not _in(minutes, moment.minute, 0, 59):
            moment += timedelta(minutes=1)
        else:
            return moment.astimezone(UTC)
    return None


def _day(days: str, weekdays: str, moment: datetime) -> bool:
    if days == "L":
        return (moment + timedelta(days=1)).day == 1
    if days != "?" and not _in(days, moment.day, 1, 31):
        return False
    week = (
        re.sub(r"\d", lambda digit: str(int(digit[0]) - 1), weekdays) if not weekdays.upper().isalpha() else weekdays
    )  # AWS counts weekdays from Sunday as 1
    return weekdays in {"?", "*"} or _in(_named(week, DAYS), moment.isoweekday() % 7, 0, 6)


def _named(text: str, names: dict[str, str]) -> str:
    for name, number in names.items():
        text = re.sub(name, number, text, flags=re.IGNORECASE)
    return text


def _in(text: str, value: int, low: int, high: int) -> bool:
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin = low if first in {"*", "?"} else int(first)
        end = int(last) if dash else high if first in {"*", "?"} or step else begin
        if begin <= value <= end and (value - begin) % int(step or 1) == 0:
            return True
    return False


class Schedules:
    """Fires due schedules and scheduled rules, every second and whenever the clock is moved."""

    def __init__(self, timetable: Timetable, events: Events) -> None:
        self.timetable = timetable
        self.events = events
        self._lock = threading.Lock()

    def start(self) -> None:
        self.timetable.after(EVERY_SECONDS, self._tick)

    def _tick(self) -> None:
        try:
            self.look()
        finally:
            self.timetable.after(EVERY_SECONDS, self._tick)

    def look(self) -> None:
        """Fire the schedules and scheduled rules that are due."""
        from moto.scheduler.models import scheduler_backends

        now = self.timetable.now()
        self._rules(now)
        with self._lock, LOCK:
            due = [
                (backend, group, schedule)
                for account in list(scheduler_backends.values())
                for backend in list(account.values())
                for group in list(backend.schedule_groups.values())
                for schedule in list(group.schedules.values())
                if self._due(schedule, now)
            ]
            for backend, group, schedule in due:
                self._fire(backend, group, schedule)

    def _rules(self, now: datetime) -> None:
        """Fire the due scheduled rules. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-rule-schedule.html."""
        from moto.events.models import events_backends

        with self._lock, LOCK:
            for account in list(events_backends.values()):
                for backend in list(account.values()):
                    for rule in list(backend.event_buses["default"].rules.values()):
                        if rule.scheduled_expression and rule.state == "ENABLED" and _is_due(rule, rule.scheduled_expression, now):
                            LOG.info("rule %s fires", rule.name)
                            for target in rule.targets:
                                payload = json.loads(target.get("Input") or "{}")
                                self.events.deliver(target["Arn"], payload, backend.region_name, backend.account_id)

    def _due(self, schedule: Any, now: datetime) -> bool:
        if schedule.state != "ENABLED":
            return False
        return _is_due(schedule, schedule.schedule_expression, now, schedule.schedule_expression_timezone)

    def _fire(self, backend: Any, group: Any, schedule: Any) -> None:
        text = schedule.target.get("Input") or "{}"
        LOG.info("schedule %s/%s fires", group.name, schedule.name)
        self.events.deliver(schedule.target["Arn"], json.loads(text), backend.region_name, backend.account_id)
        if schedule.action_after_completion == "DELETE" and schedule.schedule_expression.startswith("at("):
            group.schedules.pop(schedule.name, None)


def _is_due(schedule: Any, expression: str, now: datetime, zone: str = "UTC") -> bool:
    """Whether a schedule or a rule is due, and if so record it there: it fires once, however many occurrences were missed."""
    one_time = expression.startswith("at(")
    created = vars(schedule).setdefault("_llmlab_created", now)
    last = vars(schedule).get("_llmlab_last") or (created - timedelta(days=1) if one_time else created)
    moment = next_time(expression, last, zone, since=created)
    if moment is None or moment > now:
        return False
    schedule._llmlab_last = now
    return True
