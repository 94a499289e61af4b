"""What the person at the keyboard must be allowed to do, and whether IAM says so."""

from llmlab.aws.session import Aws, AwsError

ACTIONS = (
    "ec2:CreateVpc", "ec2:CreateLaunchTemplate", "ec2:CreateFleet", "ec2:RunInstances", "ec2:TerminateInstances", "ec2:CreateTags",
    "iam:CreateRole", "iam:PutRolePolicy", "iam:PassRole", "iam:CreateInstanceProfile", "iam:CreateServiceLinkedRole",
    "s3:CreateBucket", "s3:PutObject", "s3:DeleteBucket", "ecr:CreateRepository", "lambda:CreateFunction", "events:PutRule",
    "scheduler:CreateSchedule", "sns:CreateTopic", "logs:CreateLogGroup", "cloudwatch:PutMetricAlarm", "budgets:ModifyBudget",
    "servicequotas:GetServiceQuota", "ssm:GetParameter",
)  # fmt: skip
"""One of each kind that bootstrap, launch and teardown need: who may do these may do the rest."""


def denied_actions(aws: Aws) -> list[str] | None:
    """Which of `ACTIONS` IAM's policy simulator says no to; None when it may not be asked, or knows nothing of the caller (a root user)."""
    principal = _principal(aws.client("sts").get_caller_identity()["Arn"])
    if principal is None:
        return None
    try:
        pages = aws.client("iam").get_paginator("simulate_principal_policy").paginate(PolicySourceArn=principal, ActionNames=list(ACTIONS))
        return [one["EvalActionName"] for page in pages for one in page["EvaluationResults"] if one["EvalDecision"] != "allowed"]
    except (AwsError, NotImplementedError):
        return None


def _principal(arn: str) -> str | None:
    """The user or role behind a caller's ARN: an assumed role's session is not something that has policies."""
    if ":assumed-role/" in arn:
        account, role = arn.split(":")[4], arn.split("/")[1]
        return f"arn:aws:iam::{account}:role/{role}"
    return arn if ":user/" in arn else None
