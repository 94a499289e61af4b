"""Lambda."""

from llmlab.sandbox.completion_delays import role_unseen
from llmlab.sandbox.refusals.rule import Call, Rule, Until

WRITES = ("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration")


def _unseen(call: Call) -> bool:
    return role_unseen(call.account, call.values.get("Role", ""))


ROWS = (
    Rule(
        name="function-role-not-assumable-yet",
        operations=WRITES,
        when="the function's role is so new that Lambda does not know it",
        code="InvalidParameterValueException",
        message="The role defined for the function cannot be assumed by Lambda.",
        source="https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency",
        applies=_unseen,
        until=Until.WAITING,
    ),
)
