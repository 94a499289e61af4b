"""The boundary of a lab's roles: the most that any of them may ever do, whatever its own policy says.

Without it, whoever may write a role's policy and hand the role to a function may do anything. With it, a role of the lab can do no more
than this; the operator can neither make a role without it nor take it off.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html#access_policies_boundaries-delegate
"""

from llmlab.aws.policies import IMAGES, PUSH
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere, document, images, request_tags, resource_tags
from llmlab.contract import HF_TOKEN, WEBHOOK_URL, LogStream, Names, RunKeys

SERVICES = ["ec2.amazonaws.com", "lambda.amazonaws.com", "scheduler.amazonaws.com"]
"""The services that a role of the lab may be passed to."""


def boundary_name(names: Names) -> str:
    return f"{names.prefix}-boundary"


def boundary_arn(names: Names) -> str:
    return f"arn:aws:iam::{names.account}:policy/{boundary_name(names)}"


def boundary(names: Names) -> Policy:
    """The most that a role of the lab may ever do: what the four roles may together, on the lab's own things, and nothing of IAM."""
    buckets = [f"arn:aws:s3:::{bucket}" for bucket in (names.data_bucket, names.outputs_bucket)]
    ours, anything = names.arn("ec2", "*"), f"arn:aws:ec2:{names.region}::*"
    return document(
        [
            allow(
                "Buckets",
                actions("s3", "ListBucket", "ListBucketVersions", "GetObject", "GetObjectVersion", "PutObject", "AbortMultipartUpload"),
                [*buckets, *(f"{bucket}/*" for bucket in buckets)],
            ),
            allow("Drop", "s3:DeleteObjectVersion", f"arn:aws:s3:::{names.outputs_bucket}/{RunKeys('*').checkpoints}*"),
            allow_anywhere("See", actions("ec2", "DescribeInstances", "DescribeSpotPriceHistory")),
            allow("Terminate", "ec2:TerminateInstances", ours, StringEquals=resource_tags(names.tags)),
            allow("Start", actions("ec2", "RunInstances", "CreateFleet"), [ours, anything]),
            allow(
                "Tag",
                "ec2:CreateTags",
                ours,
                StringEquals={**request_tags(names.tags), "ec2:CreateAction": ["RunInstances", "CreateFleet"]},
            ),
            allow("ResolveImage", "ssm:GetParameters", f"arn:aws:ssm:{names.region}::{IMAGES}"),
            allow("Pass", "iam:PassRole", names.role_arn(f"{names.prefix}-*"), StringEquals={"iam:PassedToService": SERVICES}),
            allow_anywhere("SignInToRegistry", "ecr:GetAuthorizationToken"),
            allow("Images", [*PUSH, "ecr:DescribeImageScanFindings"], images(names)),
            allow("WriteLogs", actions("logs", "CreateLogStream", "PutLogEvents"), log_groups(names)),
            allow_anywhere("WriteMetrics", "cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": names.metrics}),
            allow("ReadSecrets", "secretsmanager:GetSecretValue", [names.secret_arn(HF_TOKEN), names.secret_arn(WEBHOOK_URL)]),
            allow_anywhere(
                "SessionManager",
                [
                    "ssm:UpdateInstanceInformation",
                    *actions("ssmmessages", "CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"),
                ],
            ),
            allow(
                "Schedules",
                actions("scheduler", "CreateSchedule", "UpdateSchedule", "GetSchedule", "DeleteSchedule"),
                names.arn("scheduler", f"schedule/{names.schedule_group}/*"),
            ),
            allow("Call", "lambda:InvokeFunction", names.arn("lambda", f"function:{names.watchdog}")),
            allow("Alert", "sns:Publish", names.arn("sns", names.topic)),
        ]
    )


def log_groups(names: Names) -> list[str]:
    """ARNs of the lab's log groups, and of the streams in them."""
    return [names.arn("logs", f"log-group:/{names.lab}/*"), names.arn("logs", f"log-group:{names.log_group(LogStream.WATCHDOG)}*")]
