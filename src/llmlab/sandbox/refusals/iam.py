"""IAM."""

from llmlab.sandbox.refusals.rule import Rule

ROWS = (
    Rule(
        name="role-not-in-the-profile",
        operations=("iam:RemoveRoleFromInstanceProfile",),
        when="the instance profile does not hold the role",
        code="NoSuchEntity",
        message="The role with name {role} cannot be found in instance profile {profile}.",
        source="https://docs.aws.amazon.com/IAM/latest/APIReference/API_RemoveRoleFromInstanceProfile.html",
    ),
    Rule(
        name="service-linked-role-exists",
        operations=("iam:CreateServiceLinkedRole",),
        when="the account has the service's role",
        code="InvalidInput",
        message="Service role name {name} has been taken in this account, please try a different suffix.",
        source="https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateServiceLinkedRole.html",
    ),
)
