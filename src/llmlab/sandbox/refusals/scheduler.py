"""Refusals of EventBridge Scheduler, and answers that differ from moto's."""

from collections.abc import Mapping

from llmlab.sandbox.completion_delays import role_unseen
from llmlab.sandbox.refusals.rule import Call, On, Rule, Until
from llmlab.sandbox.refusals.switch import amount, holds


def _deleting(call: Call) -> Mapping[str, object] | bool:
    return call.young(call.happened("schedule group deleted", call.values["Name"])) and {"group": call.values["Name"]}


def _shown(call: Call) -> dict[str, object]:
    name = call.values["Name"]
    return {"Name": name, "Arn": f"arn:aws:scheduler:{call.region}:{call.account}:schedule-group/{name}", "State": "DELETING"}


def _season(call: Call) -> bool:
    """Whether the group was deleted within the amount of `schedule-group-stays-deleting`, which refuses to create it again."""
    return call.young(call.happened("schedule group deleted", call.values["Name"]), amount("schedule-group-stays-deleting"))


NOTED = {"scheduler:DeleteScheduleGroup": lambda call: call.remember("schedule group deleted", call.values["Name"])}
ROWS = (
    Rule(
        name="schedule-group-stays-deleting",
        operations=("scheduler:CreateScheduleGroup", "scheduler:DeleteScheduleGroup"),
        when="a group of this name was deleted, and what it held is going still",
        code="ConflictException",
        message="Schedule group {group} is being deleted.",
        source="https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeleteScheduleGroup.html",
        applies=_deleting,
        on=On.NAMED,
        until=Until.WAITING,
        amount=20,
    ),
    Rule(
        name="schedule-group-reads-deleting",
        operations=("scheduler:GetScheduleGroup",),
        when="the group was deleted, and what it held is going still",
        code="",
        message="its State is DELETING",
        source="https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeleteScheduleGroup.html",
        applies=lambda call: holds("schedule-group-stays-deleting") and _season(call),
        answers=_shown,
        until=Until.WAITING,
    ),
    Rule(
        name="scheduler-role-not-assumable-yet",
        operations=("scheduler:CreateSchedule", "scheduler:UpdateSchedule"),
        when="the role that the schedule shall take is so new that Scheduler does not know it",
        code="ValidationException",
        message="The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
        source="https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html#setting-up-execution-role",
        applies=lambda call: role_unseen(call.account, call.values.get("Target", {}).get("RoleArn", "")),
        until=Until.WAITING,
    ),
    Rule(
        name="schedule-group-exists",
        operations=("scheduler:CreateScheduleGroup",),
        when="there is a schedule group of this name",
        code="ConflictException",
        message="Schedule group {group} already exists.",
        source="https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateScheduleGroup.html",
    ),
    Rule(
        name="schedule-group-missing",
        operations=("scheduler:CreateSchedule", "scheduler:UpdateSchedule", "scheduler:DeleteScheduleGroup"),
        when="there is no schedule group of this name",
        code="ResourceNotFoundException",
        message="Schedule group {group} does not exist.",
        source="https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html",
    ),
    Rule(
        name="schedule-expression-unreadable",
        operations=("scheduler:CreateSchedule", "scheduler:UpdateSchedule"),
        when="the expression is no at(), rate() or cron()",
        code="ValidationException",
        message="Invalid Schedule Expression {expression}.",
        source="https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html",
    ),
)
