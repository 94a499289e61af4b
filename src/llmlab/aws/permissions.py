"""The permissions that the person who runs `llmlab` needs, and whether IAM grants them.

IAM is asked about the lab's own resources with the lab's own tags: about `*` it would call denied whatever is allowed for a lab alone.
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from typing import Any

from llmlab.aws.daemon_pool import DaemonThreadPool
from llmlab.aws.pages import every
from llmlab.aws.policies_boundary import boundary_arn
from llmlab.aws.policies_documents import request_tags, resource_tags
from llmlab.aws.policies_operator import SPOT_ROLE
from llmlab.aws.session import Aws, AwsError, Denied, NotFound
from llmlab.contract import LogStream, Names

AT_ONCE = 8


def questions(names: Names) -> list[tuple[str, tuple[str, ...]]]:
    """Resource → actions: one of each kind that bootstrap, launch and teardown need. Who may do these may do the rest."""
    iam, bucket = f"arn:aws:iam::{names.account}", f"arn:aws:s3:::{names.outputs_bucket}"
    return [
        (names.arn("ec2", "vpc/vpc-0123456789abcdef0"), ("ec2:CreateVpc", "ec2:DeleteVpc")),
        (names.arn("ec2", "launch-template/lt-0123456789abcdef0"), ("ec2:CreateLaunchTemplate",)),
        (names.arn("ec2", "fleet/fleet-0123456789abcdef0"), ("ec2:CreateFleet",)),
        (names.arn("ec2", "instance/i-0123456789abcdef0"), ("ec2:TerminateInstances", "ec2:CreateTags")),
        (names.role_arn(names.instance_role), ("iam:CreateRole", "iam:PutRolePolicy", "iam:PassRole")),
        (f"{iam}:instance-profile/{names.instance_role}", ("iam:CreateInstanceProfile",)),
        (names.role_arn(SPOT_ROLE), ("iam:CreateServiceLinkedRole",)),
        (bucket, ("s3:CreateBucket", "s3:DeleteBucket")),
        (f"{bucket}/runs/x", ("s3:PutObject",)),
        (names.arn("ecr", f"repository/{names.repository}"), ("ecr:CreateRepository",)),
        (names.arn("lambda", f"function:{names.watchdog}"), ("lambda:CreateFunction",)),
        (names.arn("events", f"rule/{names.lab}-instance-ended"), ("events:PutRule",)),
        (names.arn("scheduler", f"schedule/{names.schedule_group}/x"), ("scheduler:CreateSchedule",)),
        (names.arn("sns", names.topic), ("sns:CreateTopic",)),
        (names.arn("logs", f"log-group:{names.log_group(LogStream.SETUP)}"), ("logs:CreateLogGroup",)),
        (names.arn("cloudwatch", f"alarm:{names.lab}-max-runtime"), ("cloudwatch:PutMetricAlarm",)),
        (f"arn:aws:budgets::{names.account}:budget/{names.budget}", ("budgets:ModifyBudget",)),
        ("*", ("servicequotas:GetServiceQuota", "ec2:DescribeInstances")),
    ]


def circumstances(names: Names, boundary: str | None = None) -> dict[str, str]:
    """Condition keys as they are when `llmlab` calls. `boundary`: the ARN that roles are made with."""
    return {
        **request_tags(names.tags),
        **resource_tags(names.tags),
        "ec2:CreateAction": "RunInstances",
        "iam:PassedToService": "ec2.amazonaws.com",
        "iam:AWSServiceName": "spot.amazonaws.com",
        "iam:PermissionsBoundary": boundary or boundary_arn(names),
    }


def denied_actions(aws: Aws, boundary: str | None = None) -> list[str] | None:
    """The actions that IAM's policy simulator denies; None when it may not be asked, or knows nothing of the caller (a root user)."""
    principal = _principal(aws, aws.client("sts").get_caller_identity()["Arn"])
    if principal is None:
        return None
    context: Any = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in circumstances(aws.names, boundary).items()
    ]

    def ask(resource: str, actions: tuple[str, ...]) -> list[str]:
        question: Any = {"PolicySourceArn": principal, "ActionNames": list(actions), "ResourceArns": [resource], "ContextEntries": context}
        results = every(aws.client("iam"), "simulate_principal_policy", "EvaluationResults", **question)
        return [result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"]

    try:
        with DaemonThreadPool(AT_ONCE) as pool:
            futures = [pool.submit(ask, *question) for question in questions(aws.names)]
            return [action for future in futures for action in future.result()]
    except (AwsError, NotImplementedError):
        return None


def _principal(aws: Aws, arn: str) -> str | None:
    """The user or role behind a caller's ARN: an assumed role's session is not something that has policies.

    A role may have a path, which its session's ARN leaves out: those of IAM Identity Center do, so IAM is asked for it.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
    """
    if ":assumed-role/" in arn:
        account, role = arn.split(":")[4], arn.split("/")[1]
        try:
            return str(aws.client("iam").get_role(RoleName=role)["Role"]["Arn"])
        except (Denied, NotFound):
            return f"arn:aws:iam::{account}:role/{role}"
    return arn if ":user/" in arn else None
