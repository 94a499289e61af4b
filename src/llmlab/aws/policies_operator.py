"""The permissions that the person who runs `llmlab` needs, as few as a lab allows: by name where AWS goes by names, else by tag."""

from llmlab.aws.policies import GITHUB, IMAGES, PUSH, starting
from llmlab.aws.policies_boundary import SERVICES, boundary, boundary_arn, boundary_name, log_groups
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere, document, images, request_tags, resource_tags, size
from llmlab.contract import Names

LARGEST = 6144
"""Characters of a managed policy. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
SPOT_ROLE = "aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
QUOTA_ROLE = "aws-service-role/servicequotas.amazonaws.com/AWSServiceRoleForServiceQuotas"
"""Made with an account's first request for a larger quota.
https://docs.aws.amazon.com/servicequotas/latest/userguide/using-service-linked-roles.html"""
ALARMS = ("max-runtime", "failed-runs", "watchdog-errors", "watchdog-silent")
RULES = ("spot-interruption", "instance-ended", "sweep", "overdue")
"""By name, because a lab whose name begins alike has others."""


def documents(names: Names) -> dict[str, Policy]:
    """Name of a managed policy → what is in it: the operator's, as many as IAM's size asks for, and the boundary of the lab's roles."""
    parts: list[list[Policy]] = [[]]
    for statement in operator(names):
        if size(document([*parts[-1], statement])) > LARGEST:
            parts.append([])
        parts[-1].append(statement)
    numbered = {f"{names.prefix}-operator-{number}": document(part) for number, part in enumerate(parts, 1)}
    return {**numbered, boundary_name(names): boundary(names)}


def operator(names: Names) -> list[Policy]:
    """Every statement of the operator's policy, by area."""
    return [*_reading(), *_network(names), *_machines(names), *_identity(names), *_storage(names), *_watching(names), *_calling(names)]


# ---------------------------------------------------------------- by area


def _reading() -> list[Policy]:
    """Statements about actions that have no resource of their own to be bound to."""
    see = actions(
        "ec2", "DescribeAddresses", "DescribeAvailabilityZones", "DescribeInstanceTypeOfferings", "DescribeInstanceTypes",
        "DescribeInstances", "DescribeInternetGateways", "DescribeLaunchTemplateVersions", "DescribeLaunchTemplates",
        "DescribeNetworkInterfaces", "DescribeRegions", "DescribeRouteTables",
        "DescribeSecurityGroups", "DescribeSnapshots", "DescribeSpotInstanceRequests",
        "DescribeSpotPriceHistory", "DescribeSubnets", "DescribeVolumes", "DescribeVpcAttribute", "DescribeVpcEndpoints", "DescribeVpcs",
        "GetEbsDefaultKmsKeyId", "GetSpotPlacementScores",
    )  # fmt: skip
    lists = [
        "budgets:ViewBudget",
        *actions("cloudwatch", "DescribeAlarms", "GetMetricData", "GetMetricStatistics", "ListDashboards", "ListMetrics"),
        "ecr:DescribeRepositories", "ecr:GetAuthorizationToken", "events:ListRules", "iam:ListInstanceProfiles", "iam:ListRoles",
        "lambda:ListFunctions", "logs:DescribeLogGroups", "s3:ListAllMyBuckets", "secretsmanager:ListSecrets", "sns:ListTopics",
    ]  # fmt: skip
    return [
        allow_anywhere("See", see),
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
        allow_anywhere("List", lists),
        allow_anywhere("Unsubscribe", "sns:Unsubscribe"),
    ]


MADE = ("vpc", "subnet", "internet-gateway", "route-table", "security-group", "vpc-endpoint", "launch-template")


def _network(names: Names) -> list[Policy]:
    """Whatever is made carries the lab's tags from the start; nothing without them is changed. A network of the user's is only used."""
    tagged = [names.arn("ec2", f"{kind}/*") for kind in MADE]
    create = [
        f"Create{kind}" for kind in ("Vpc", "Subnet", "InternetGateway", "RouteTable", "SecurityGroup", "VpcEndpoint", "LaunchTemplate")
    ]
    change = actions(
        "ec2", "AssociateRouteTable", "AttachInternetGateway", "AuthorizeSecurityGroupEgress", "AuthorizeSecurityGroupIngress",
        "CreateLaunchTemplateVersion", "CreateRoute", "DeleteInternetGateway", "DeleteLaunchTemplate", "DeleteRouteTable",
        "DeleteSecurityGroup", "DeleteSubnet", "DeleteVpc", "DeleteVpcEndpoints", "DetachInternetGateway", "DisassociateRouteTable",
        "ModifyLaunchTemplate", "ModifySubnetAttribute", "ModifyVpcAttribute", "ModifyVpcEndpoint", "ReplaceRoute",
        "ReplaceRouteTableAssociation", "RevokeSecurityGroupEgress", "RevokeSecurityGroupIngress", "TerminateInstances",
    )  # fmt: skip
    within = [names.arn("ec2", "vpc/*"), names.arn("ec2", "route-table/*")]
    return [
        allow("MakeTagged", actions("ec2", *create), tagged, StringEquals=request_tags(names.tags)),
        allow("TagWhatIsMade", "ec2:CreateTags", tagged, StringEquals={**request_tags(names.tags), "ec2:CreateAction": create}),
        allow(
            "MakeInOurs",
            actions("ec2", "CreateSubnet", "CreateRouteTable", "CreateVpcEndpoint"),
            within,
            StringEquals=resource_tags(names.tags),
        ),
        allow("MakeInAnyNetwork", "ec2:CreateSecurityGroup", names.arn("ec2", "vpc/*")),
        allow("ChangeOurs", change, names.arn("ec2", "*"), StringEquals=resource_tags(names.tags)),
    ]


def _machines(names: Names) -> list[Policy]:
    session = [f"arn:aws:ssm:{names.region}::document/AWS-Start{kind}" for kind in ("InteractiveCommand", "PortForwardingSession")]
    return [
        *starting(names),
        allow("ReadImageName", "ssm:GetParameter", f"arn:aws:ssm:{names.region}::{IMAGES}"),
        allow(
            "Connect",
            "ssm:StartSession",
            names.arn("ec2", "instance/*"),
            StringEquals={f"ssm:resourceTag/{key}": value for key, value in names.tags.items()},
        ),
        allow("ConnectBy", "ssm:StartSession", session),
    ]


def _identity(names: Names) -> list[Policy]:
    """Roles of the lab, none of them more than the boundary."""
    roles, profiles = names.role_arn(f"{names.prefix}-*"), f"arn:aws:iam::{names.account}:instance-profile/{names.prefix}-*"
    bound = {"iam:PermissionsBoundary": boundary_arn(names)}
    spot = names.role_arn(SPOT_ROLE)
    provider = f"arn:aws:iam::{names.account}:oidc-provider/{GITHUB}"
    return [
        allow(
            "MakeBoundRoles",
            actions("iam", "CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary"),
            roles,
            StringEquals=bound,
        ),
        allow(
            "KeepRoles",
            actions(
                "iam",
                "DeleteRole",
                "DeleteRolePolicy",
                "DetachRolePolicy",
                "GetRole",
                "GetRolePolicy",
                "ListAttachedRolePolicies",
                "ListRolePolicies",
                "ListRoleTags",
                "TagRole",
                "UpdateAssumeRolePolicy",
                "UpdateRole",
            ),
            roles,
        ),
        allow("PassRoles", "iam:PassRole", roles, StringEquals={"iam:PassedToService": SERVICES}),
        allow(
            "KeepProfile",
            actions(
                "iam",
                "AddRoleToInstanceProfile",
                "CreateInstanceProfile",
                "DeleteInstanceProfile",
                "GetInstanceProfile",
                "RemoveRoleFromInstanceProfile",
                "TagInstanceProfile",
            ),
            profiles,
        ),
        allow("KnowRoles", "iam:GetRole", [spot, names.role_arn("aws-reserved/*")]),
        allow(
            "MakeServiceRoles",
            "iam:CreateServiceLinkedRole",
            [spot, names.role_arn(QUOTA_ROLE)],
            StringEquals={"iam:AWSServiceName": ["spot.amazonaws.com", "servicequotas.amazonaws.com"]},
        ),
        allow(
            "KeepProvider",
            actions(
                "iam",
                "AddClientIDToOpenIDConnectProvider",
                "CreateOpenIDConnectProvider",
                "DeleteOpenIDConnectProvider",
                "GetOpenIDConnectProvider",
                "TagOpenIDConnectProvider",
            ),
            provider,
        ),
        allow("AskWhatIsAllowed", "iam:SimulatePrincipalPolicy", [f"arn:aws:iam::{names.account}:{kind}/*" for kind in ("user", "role")]),
    ]


def _storage(names: Names) -> list[Policy]:
    buckets = [f"arn:aws:s3:::{bucket}" for bucket in (names.data_bucket, names.outputs_bucket)]
    return [
        allow(
            "KeepBuckets",
            actions(
                "s3",
                "CreateBucket",
                "DeleteBucket",
                "GetBucketOwnershipControls",
                "GetBucketPolicy",
                "GetBucketPublicAccessBlock",
                "GetBucketTagging",
                "GetBucketVersioning",
                "GetEncryptionConfiguration",
                "GetLifecycleConfiguration",
                "ListBucket",
                "ListBucketMultipartUploads",
                "ListBucketVersions",
                "PutBucketOwnershipControls",
                "PutBucketPolicy",
                "PutBucketPublicAccessBlock",
                "PutBucketVersioning",
                "PutEncryptionConfiguration",
                "PutLifecycleConfiguration",
                "TagResource",
            ),
            buckets,
        ),
        allow(
            "KeepObjects",
            actions("s3", "AbortMultipartUpload", "DeleteObject", "DeleteObjectVersion", "GetObject", "PutObject", "RestoreObject"),
            [f"{bucket}/*" for bucket in buckets],
        ),
        allow(
            "KeepImages",
            [
                *PUSH,
                *actions(
                    "ecr",
                    "CreateRepository",
                    "DeleteRepository",
                    "DescribeImages",
                    "GetLifecyclePolicy",
                    "ListTagsForResource",
                    "PutImageScanningConfiguration",
                    "PutLifecyclePolicy",
                    "TagResource",
                ),
            ],
            images(names),
        ),
        allow(
            "KeepSecrets",
            actions("secretsmanager", "CreateSecret", "DeleteSecret", "DescribeSecret", "PutSecretValue", "RestoreSecret", "TagResource"),
            names.arn("secretsmanager", f"secret:{names.secret('*')}"),
        ),
    ]


def _watching(names: Names) -> list[Policy]:
    alarms = [names.arn("cloudwatch", f"alarm:{names.lab}-{suffix}") for suffix in ALARMS]
    dashboards = [f"arn:aws:cloudwatch::{names.account}:dashboard/{name}" for name in (names.dashboard, names.lab)]
    budgets = [f"arn:aws:budgets::{names.account}:budget/{name}" for name in (names.budget, f"{names.lab}-monthly")]
    return [
        allow(
            "KeepLogs",
            actions(
                "logs", "CreateLogGroup", "DeleteLogGroup", "FilterLogEvents", "ListTagsForResource", "PutRetentionPolicy", "TagResource"
            ),
            log_groups(names),
        ),
        allow(
            "KeepTopic",
            actions(
                "sns",
                "CreateTopic",
                "DeleteTopic",
                "GetTopicAttributes",
                "ListSubscriptionsByTopic",
                "ListTagsForResource",
                "SetTopicAttributes",
                "Subscribe",
                "TagResource",
            ),
            names.arn("sns", names.topic),
        ),
        allow("KeepAlarms", actions("cloudwatch", "DeleteAlarms", "ListTagsForResource", "PutMetricAlarm", "TagResource"), alarms),
        allow("KeepDashboard", actions("cloudwatch", "DeleteDashboards", "GetDashboard", "PutDashboard"), dashboards),
        allow(
            "KeepBudget",
            actions("budgets", "ListTagsForResource", "ModifyBudget", "TagResource"),
            budgets,
        ),
    ]


def _calling(names: Names) -> list[Policy]:
    """The watchdog, and what calls it."""
    group = names.arn("scheduler", f"schedule-group/{names.schedule_group}")
    return [
        allow(
            "KeepFunction",
            actions(
                "lambda",
                "AddPermission",
                "CreateFunction",
                "DeleteFunction",
                "GetFunction",
                "GetFunctionConfiguration",
                "GetFunctionEventInvokeConfig",
                "GetPolicy",
                "PutFunctionEventInvokeConfig",
                "RemovePermission",
                "TagResource",
                "UpdateFunctionCode",
                "UpdateFunctionConfiguration",
            ),
            names.arn("lambda", f"function:{names.watchdog}"),
        ),
        allow(
            "KeepRules",
            actions(
                "events",
                "DeleteRule",
                "DescribeRule",
                "ListTagsForResource",
                "ListTargetsByRule",
                "PutRule",
                "PutTargets",
                "RemoveTargets",
                "TagResource",
            ),
            [names.arn("events", f"rule/{names.lab}-{suffix}") for suffix in RULES],
        ),
        allow(
            "KeepGroup",
            actions("scheduler", "CreateScheduleGroup", "DeleteScheduleGroup", "GetScheduleGroup", "ListTagsForResource", "TagResource"),
            group,
        ),
        allow(
            "KeepSchedules",
            actions("scheduler", "CreateSchedule", "DeleteSchedule", "GetSchedule", "UpdateSchedule"),
            names.arn("scheduler", f"schedule/{names.schedule_group}/*"),
        ),
    ]
