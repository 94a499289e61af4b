"""Calls that programs of others make with a role's credentials, by their own documentation: the sandbox runs stand-ins for them."""

import re
from dataclasses import dataclass
from pathlib import Path

from llmlab.contract import LogStream, Names
from tests.policies.evaluator import Request

WORKFLOW = Path(__file__).parents[2] / ".github/workflows/build-push-ecr.yml"


@dataclass(frozen=True)
class Documented:
    """A program, where it says what it calls, and those calls."""

    program: str
    source: str
    requests: tuple[Request, ...]


def documented(names: Names) -> dict[str, list[Documented]]:
    """Role → programs."""
    repositories = [names.arn("ecr", f"repository/{repository}") for repository in names.repositories]
    sign_in = Request("ecr:GetAuthorizationToken", "*")
    pull = tuple(Request(f"ecr:{action}", one) for one in repositories for action in ("BatchGetImage", "GetDownloadUrlForLayer"))
    upload = ("BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage")
    push = Documented(
        "docker push", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html",
        (sign_in, *pull, *(Request(f"ecr:{action}", one) for one in repositories for action in upload)),
    )  # fmt: skip
    channels = ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
    # a channel is named by the instance or the session, which the agent does not choose
    session = tuple(Request(f"ssmmessages:{channel}", "*") for channel in channels)
    log = names.arn("logs", f"log-group:{names.log_group(LogStream.WATCHDOG)}:log-stream:2026/01/01/[$LATEST]0123456789abcdef")
    return {
        "instance": [
            Documented(
                "docker pull", "https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonEC2ContainerRegistryPullOnly.html",
                (sign_in, *pull),
            ),
            Documented(
                "SSM agent", "https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-add-permissions-to-existing-profile.html",
                (Request("ssm:UpdateInstanceInformation", names.arn("ec2", "instance/i-0123456789abcdef0")), *session),
            ),
            Documented(
                "CloudWatch agent", "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/create-iam-roles-for-cloudwatch-agent.html",
                (Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": names.metrics}),),
            ),
        ],
        "watchdog": [
            Documented(
                "Lambda, of events that failed",
                "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html",
                (Request("s3:PutObject", f"arn:aws:s3:::{names.outputs_bucket}/aws/lambda/async/{names.watchdog}/2026/12/01/x"),),
            ),
            Documented(
                "Lambda", "https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSLambdaBasicExecutionRole.html",
                (Request("logs:CreateLogStream", log), Request("logs:PutLogEvents", log)),
            ),
        ],
        "operator": [push],
        "github push": [
            push,
            Documented(
                "aws ecr describe-image-scan-findings",
                "https://docs.aws.amazon.com/cli/latest/reference/ecr/describe-image-scan-findings.html",
                tuple(Request("ecr:DescribeImageScanFindings", one) for one in repositories),
            ),
        ],
    }  # fmt: skip


def asked_by_the_workflow(names: Names, text: str) -> list[Request]:
    """What the workflow's own `aws ecr …` lines ask for."""
    found = re.findall(r"\baws ecr ([\w-]+)", text)
    actions = {"".join(word.capitalize() for word in one.split("-")) for one in found}
    return [
        Request(f"ecr:{action}", names.arn("ecr", f"repository/{repository}"))
        for action in sorted(actions)
        for repository in names.repositories
    ]
