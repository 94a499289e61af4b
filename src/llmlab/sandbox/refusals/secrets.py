"""Refusals of Secrets Manager."""

import re

from llmlab.sandbox.refusals.rule import Call, On, Rule, Until

API = "https://docs.aws.amazon.com/secretsmanager/latest/apireference/"


def _deleted(call: Call) -> None:
    if call.values.get("ForceDeleteWithoutRecovery"):
        name = call.values["SecretId"]
        call.remember("secret deleted", re.sub(r"^arn:.*:secret:(.*)-\w{6}$", r"\1", name))


NOTED = {"secretsmanager:DeleteSecret": _deleted}
ROWS = (
    Rule(
        name="secret-being-deleted",
        operations=("secretsmanager:CreateSecret",),
        when="a secret of this name was deleted without recovery a moment ago",
        code="InvalidRequestException",
        message="You can't create this secret because a secret with this name is already scheduled for deletion.",
        source=f"{API}API_DeleteSecret.html",
        applies=lambda call: call.young(call.happened("secret deleted", call.values["Name"])),
        on=On.NAMED,
        until=Until.WAITING,
        amount=20,
    ),
)
