"""The permissions that the person who runs `llmlab` needs, as few as a lab allows: by name where AWS goes by names, else by tag.

What they may do with a resource, its class says (`operator_statements`). Here is what the commands do beside that: they look at prices and
quotas, start and end machines, connect to them, and keep secrets and deadlines.
"""

from collections.abc import Sequence

from llmlab.aws.owned import AwsResource
from llmlab.aws.policies import IMAGES, starting
from llmlab.aws.policies_boundary import boundary, boundary_name
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere, change, document, see, size, together
from llmlab.contract import Names

LARGEST = 6144
"""Characters of a managed policy. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
SPOT_ROLE = "aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
QUOTA_ROLE = "aws-service-role/servicequotas.amazonaws.com/AWSServiceRoleForServiceQuotas"
"""Made with an account's first request for a larger quota.
https://docs.aws.amazon.com/servicequotas/latest/userguide/using-service-linked-roles.html"""


def documents(names: Names, resources: Sequence[type[AwsResource]]) -> dict[str, Policy]:
    """Name of a managed policy → what is in it: the operator's, as many as IAM's size asks for, and the boundary of the lab's roles."""
    parts: list[list[Policy]] = [[]]
    for statement in operator(names, resources):
        if size(document([*parts[-1], statement])) > LARGEST:
            parts.append([])
        parts[-1].append(statement)
    numbered = {f"{names.prefix}-operator-{number}": document(part) for number, part in enumerate(parts, 1)}
    return {**numbered, boundary_name(names): boundary(names)}


def operator(names: Names, resources: Sequence[type[AwsResource]]) -> list[Policy]:
    """Every statement of the policy of a lab's operator, whose lab may have resources of these classes."""
    of_resources = [statement for resource in resources for statement in resource.operator_statements(names)]
    return together([*_reading(), *of_resources, *_machines(names), *_roles_of_aws(names), *_by_name(names)])


def _reading() -> list[Policy]:
    """Statements about actions that have no resource of their own to be bound to."""
    return [
        see(
            "DescribeAddresses",
            "DescribeAvailabilityZones",
            "DescribeInstanceTypeOfferings",
            "DescribeInstanceTypes",
            "DescribeInstances",
            "DescribeNetworkInterfaces",
            "DescribeRegions",
            "DescribeSnapshots",
            "DescribeSpotInstanceRequests",
            "DescribeSpotPriceHistory",
            "DescribeVolumes",
            "GetEbsDefaultKmsKeyId",
            "GetSpotPlacementScores",
        ),
        allow_anywhere(
            "SeePrices",
            [
                "pricing:GetProducts",
                "freetier:GetAccountPlanState",
                *actions(
                    "servicequotas",
                    "GetAWSDefaultServiceQuota",
                    "GetServiceQuota",
                    "ListRequestedServiceQuotaChangeHistoryByQuota",
                    "RequestServiceQuotaIncrease",
                ),
            ],
        ),
        allow_anywhere("SeeSpending", actions("ce", "GetCostAndUsage", "GetCostForecast", "ListCostAllocationTags")),
        allow_anywhere("List", ["cloudwatch:GetMetricData", "secretsmanager:ListSecrets"]),
    ]


def _machines(names: Names) -> list[Policy]:
    session = [f"arn:aws:ssm:{names.region}::document/AWS-Start{kind}" for kind in ("InteractiveCommand", "PortForwardingSession")]
    return [
        *starting(names),
        change(names, "TerminateInstances"),
        allow("ReadImageName", "ssm:GetParameter", f"arn:aws:ssm:{names.region}::{IMAGES}"),
        allow(
            "Connect",
            "ssm:StartSession",
            names.arn("ec2", "instance/*"),
            StringEquals={f"ssm:resourceTag/{key}": value for key, value in names.tags.items()},
        ),
        allow("ConnectBy", "ssm:StartSession", session),
    ]


def _roles_of_aws(names: Names) -> list[Policy]:
    """AWS's own roles, which an account has once; and asking IAM what the asker may do."""
    spot = names.role_arn(SPOT_ROLE)
    return [
        allow("KnowRoles", "iam:GetRole", [spot, names.role_arn("aws-reserved/*")]),
        allow(
            "MakeServiceRoles",
            "iam:CreateServiceLinkedRole",
            [spot, names.role_arn(QUOTA_ROLE)],
            StringEquals={"iam:AWSServiceName": ["spot.amazonaws.com", "servicequotas.amazonaws.com"]},
        ),
        allow("AskWhatIsAllowed", "iam:SimulatePrincipalPolicy", [f"arn:aws:iam::{names.account}:{kind}/*" for kind in ("user", "role")]),
    ]


def _by_name(names: Names) -> list[Policy]:
    """Secrets, which users set, and the deadlines of runs."""
    return [
        allow(
            "KeepSecrets",
            actions("secretsmanager", "CreateSecret", "DeleteSecret", "DescribeSecret", "PutSecretValue", "RestoreSecret", "TagResource"),
            names.arn("secretsmanager", f"secret:{names.secret('*')}"),
        ),
        allow(
            "KeepSchedules",
            actions("scheduler", "CreateSchedule", "DeleteSchedule", "GetSchedule", "UpdateSchedule"),
            names.arn("scheduler", f"schedule/{names.schedule_group}/*"),
        ),
    ]
