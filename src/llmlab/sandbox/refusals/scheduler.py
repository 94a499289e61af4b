"""EventBridge Scheduler."""

from llmlab.sandbox.completion_delays import role_unseen
from llmlab.sandbox.refusals.rule import Rule, Until

ROWS = (
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
