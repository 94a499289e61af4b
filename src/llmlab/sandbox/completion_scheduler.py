"""EventBridge Scheduler: errors for missing schedules, updates that replace everything, and idempotent calls, as its API says."""

from datetime import UTC, datetime
from typing import Any

from llmlab.sandbox.completion import answer
from llmlab.sandbox.completion_compute import remembered
from llmlab.sandbox.completion_lambda import now
from llmlab.sandbox.refusals.checking import refused


def install() -> None:
    """Patch moto's Scheduler."""
    from moto.scheduler.responses import EventBridgeSchedulerResponse as Response

    for operation, method in (
        ("CreateSchedule", Response.create_schedule),
        ("UpdateSchedule", Response.update_schedule),
        ("CreateScheduleGroup", Response.create_schedule_group),
        ("DeleteScheduleGroup", Response.delete_schedule_group),
    ):
        answer(Response, operation, _checked(operation, method))


def _checked(operation: str, original: Any) -> Any:
    def call(self: Any, values: dict[str, Any]) -> Any:
        return remembered(self.scheduler_backend, (values.get("ClientToken"), operation), values, lambda: act(self, values))

    def act(self: Any, values: dict[str, Any]) -> Any:
        groups = self.scheduler_backend.schedule_groups
        group = values.get("GroupName") or ("default" if operation.endswith("Schedule") else values.get("Name"))
        if operation == "CreateScheduleGroup" and group in groups:
            raise refused("schedule-group-exists", group=group)
        if operation != "CreateScheduleGroup" and group not in groups:
            raise refused("schedule-group-missing", group=group)
        if operation.endswith("Schedule"):
            _check_expression(values)
        result = original(self)
        if operation == "CreateSchedule":
            groups[group].schedules[values["Name"]]._llmlab_created = now()
        if operation == "UpdateSchedule":
            schedule = groups[group].schedules[values["Name"]]
            schedule.action_after_completion = values.get("ActionAfterCompletion")
            vars(schedule).pop("_llmlab_last", None)
        return result

    return call


def _check_expression(values: dict[str, Any]) -> None:
    from llmlab.sandbox.schedules import next_time

    try:
        next_time(values["ScheduleExpression"], datetime.fromtimestamp(0, UTC), values.get("ScheduleExpressionTimezone") or "UTC")
    except (ValueError, KeyError) as error:
        raise refused("schedule-expression-unreadable", expression=values["ScheduleExpression"]) from error
