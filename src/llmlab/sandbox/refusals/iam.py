"""Refusals of IAM, and answers that differ from moto's."""

from collections.abc import Mapping

from llmlab.sandbox.refusals.rule import Call, On, Rule


def _foreign_actions(call: Call) -> Mapping[str, object] | bool:
    unknown = [name for name in call.values["ActionNames"] if name.startswith(("scheduler:", "budgets:"))]
    return bool(unknown) and {"action": unknown[0]}


ROWS = (
    Rule(
        name="simulation-does-not-know-the-service",
        operations=("iam:SimulatePrincipalPolicy",),
        when="actions of Scheduler or Budgets are simulated; whether AWS takes their names is not known",
        code="InvalidInput",
        message="Invalid Input Action: {action} is not a supported action",
        source="https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html",
        applies=_foreign_actions,
        on=On.NAMED,
    ),
    Rule(
        name="no-instance-arn-in-a-resource",
        operations=("iam:SimulateCustomPolicy",),
        when="a policy's Resource holds ${ec2:SourceInstanceARN}}; whether IAM fills it in there is not known",
        code="",
        message="implicitDeny for the instance's own folder, too",
        source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html",
        on=On.NAMED,
    ),
    Rule(
        name="profile-holds-a-role",
        operations=("iam:AddRoleToInstanceProfile",),
        when="the instance profile has its one role",
        code="LimitExceeded",
        message="Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
        source="https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddRoleToInstanceProfile.html",
    ),
    Rule(
        name="inline-policies-too-long",
        operations=("iam:PutRolePolicy",),
        when="the policy has more than 10,240 characters without white space",
        code="LimitExceeded",
        message="Maximum policy size of 10240 bytes exceeded for role {role}",
        source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html",
        applies=lambda call: len("".join(call.values["PolicyDocument"].split())) > 10_240 and {"role": call.values["RoleName"]},
    ),
    Rule(
        name="managed-policy-too-long",
        operations=("iam:CreatePolicy", "iam:CreatePolicyVersion"),
        when="the policy has more than 6,144 characters without white space",
        code="LimitExceeded",
        message="Cannot exceed quota for PolicySize: 6144",
        source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html",
        applies=lambda call: len("".join(call.values["PolicyDocument"].split())) > 6_144,
    ),
    Rule(
        name="role-with-a-profile",
        operations=("iam:DeleteRole",),
        when="the role is in an instance profile",
        code="DeleteConflict",
        message="Cannot delete entity, must remove roles from instance profile first.",
        source="https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html",
        applies=lambda call: any(
            call.values["RoleName"] == role.name for profile in call.backend("iam").instance_profiles.values() for role in profile.roles
        ),
    ),
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
