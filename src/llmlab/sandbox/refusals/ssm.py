"""Refusals of Systems Manager."""

from llmlab.sandbox.refusals.rule import Rule, Until

ROWS = (
    Rule(
        name="no-agent-answers",
        operations=("ssm:StartSession",),
        when="the instance is not running, or its agent has not reached Systems Manager yet",
        code="TargetNotConnected",
        message="{target} is not connected.",
        source="https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartSession.html",
        until=Until.WAITING,
    ),
)
