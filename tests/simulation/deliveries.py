"""EventBridge and its Scheduler, simulated: events and one-time schedules reach the function late, twice or not at all."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from llmlab import contract
from llmlab.aws.event_rule import INSTANCE_CHANGED
from llmlab.lifecycle import one_time_schedules
from llmlab.watchdog.events import STATE_CHANGE
from tests.simulation.cloud import Cloud
from tests.simulation.dice import SeededRandom
from tests.simulation.history import History
from tests.simulation.timeline import Timeline
from tests.simulation.weather import Weather

HEARD: Any = cast("Any", INSTANCE_CHANGED)["detail"]["state"]
"""The instance states whose changes the lab's EventBridge rule delivers to the function."""

Facts = tuple[float, str]
"""Moment and target of a schedule, compared to detect a change."""


@dataclass
class Deliveries:
    """Delivers events and schedules with the weather's faults.

    `invoke` calls the function, `terminate` ends an instance, and `certain` tells whether a schedule must not be lost now.
    """

    timeline: Timeline
    dice: SeededRandom
    weather: Weather
    cloud: Cloud
    history: History
    invoke: Callable[[Mapping[str, Any]], None]
    terminate: Callable[[str], None]
    certain: Callable[[], bool]
    _planned: dict[str, Facts] = field(default_factory=dict)

    def emit(self, kind: str, identity: str, detail: Mapping[str, Any]) -> None:
        """Deliver an event of EC2: possibly lost, repeated or late."""
        if kind == STATE_CHANGE and detail["state"] not in HEARD:
            return
        name = (kind, identity, detail.get("state"))
        event = {"detail-type": kind, "time": contract.build_timestamp(self.timeline.now()), "detail": {"instance-id": identity, **detail}}
        self.history.seen["events"] += 1
        if self.dice.happens(self.weather.lost_event, *name, "lost"):
            self.history.seen["events lost"] += 1
            return
        copies = 2 if self.dice.happens(self.weather.repeated_event, *name, "repeated") else 1
        self.history.seen["events repeated"] += copies - 1
        for copy in range(copies):
            wait = self.dice.between(0.2, self.weather.slow_event_seconds, *name, "wait", copy)
            self.timeline.after(wait, partial(self.invoke, event))

    def changed(self) -> None:
        """Plan new and changed one-time schedules. A schedule in the past never fires."""
        schedules = self.cloud.schedules()
        for name, schedule in schedules.items():
            facts = (schedule.moment, schedule.target + schedule.payload)
            if self._planned.get(name) != facts:
                self._planned[name] = facts
                late = self.dice.between(0, self.weather.late_schedule_seconds, "late", name, schedule.moment)
                if schedule.moment >= self.timeline.moment:
                    self.timeline.at(schedule.moment + late, partial(self._fire, name, facts))
        for name in [name for name in self._planned if name not in schedules]:
            del self._planned[name]

    def _fire(self, name: str, facts: Facts) -> None:
        schedule = self.cloud.schedules().get(name)
        if schedule is None or self._planned.get(name) != facts:
            return
        self.cloud.drop(name)
        del self._planned[name]
        if not self.certain() and self.dice.happens(self.weather.lost_schedule, "schedule", name, schedule.moment):
            self.history.seen["schedules lost"] += 1
            self.history.note(self.timeline.moment, "scheduler", f"{name} is lost")
            return
        self.history.seen["schedules fired"] += 1
        self.history.note(self.timeline.moment, "scheduler", f"{name} goes off")
        payload = json.loads(schedule.payload)
        if schedule.target == one_time_schedules.TERMINATE:
            for identity in payload["InstanceIds"]:
                self.terminate(identity)
        else:
            self.invoke(payload)
