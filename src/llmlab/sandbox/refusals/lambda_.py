"""Refusals of Lambda, and answers that differ from moto's."""

from llmlab.sandbox.completion_delays import DELAY, role_age, role_unseen
from llmlab.sandbox.refusals.rule import Call, On, Rule, Until

WRITES = ("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration")


def _unseen(call: Call) -> bool:
    return role_unseen(call.account, call.values.get("Role", ""))


def _no_grant(call: Call) -> bool:
    """Whether Lambda may assume the function's role already, but KMS does not know it yet."""
    variables = call.values.get("Environment", {}).get("Variables")
    return bool(variables) and role_age(call.account, call.values.get("Role", "")) < DELAY.seconds + call.amount


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
    Rule(
        name="function-role-not-granted-yet",
        operations=WRITES,
        when="the function has environment variables, and its role is so new that the key service does not know it",
        code="InvalidParameterValueException",
        message="Lambda was unable to configure access to your environment variables because the KMS key is invalid for CreateGrant. "
        "Please check your KMS key settings. KMS Exception: InvalidArnException KMS Message: ARN does not refer to a valid principal: "
        "{role}",
        source="https://github.com/hashicorp/terraform-provider-aws/issues/4633",
        applies=lambda call: _no_grant(call) and {"role": call.values["Role"]},
        on=On.NAMED,
        until=Until.WAITING,
        amount=10,
    ),
    Rule(
        name="runtime-with-an-older-boto3",
        operations=("lambda:Invoke",),
        when="the Python runtime is asked for its own boto3; AWS does not say which it has",
        code="",
        message="boto3 1.34.145, which knows no IfNoneMatch",
        source="https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html",
        on=On.NAMED,
    ),
)
