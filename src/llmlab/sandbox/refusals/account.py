"""Refusals of a whole account: regions not enabled, organization policies, verification, and the free plan."""

from collections.abc import Mapping
from typing import Any

from llmlab.sandbox.refusals.ec2_launch import LAUNCH
from llmlab.sandbox.refusals.rule import Call, On, Rule, Until

OPT_IN = {
    "af-south-1", "ap-east-1", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ca-west-1", "eu-central-2",
    "eu-south-1", "eu-south-2", "il-central-1", "me-central-1", "me-south-1", "mx-central-1",
}  # fmt: skip
"""Opt-in regions. https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html."""
QUERY = ("sts:*", "sns:*", "cloudwatch:*")
JSON = ("ssm:*", "logs:*", "lambda:*", "ecr:*", "events:*", "scheduler:*", "secretsmanager:*", "service-quotas:*")
USER = "arn:aws:iam::{account}:user/me"
FREE = ("t2.micro", "t3.micro", "t3.small", "t4g.micro", "t4g.small", "c7i-flex.large", "m7i-flex.large")
SCP = "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"


def _off(call: Call) -> bool:
    return call.region in OPT_IN


def _fields(call: Call) -> Mapping[str, object]:
    return {"user": USER.format(account=call.account), "action": call.operation, "account": call.account, "region": call.region}


def _first(call: Call) -> bool:
    return call.begun()


def _on_free_plan(call: Call) -> bool:
    from moto.backends import get_backend

    from llmlab.sandbox import free_plan

    backends: Any = get_backend(free_plan.SERVICE)
    return free_plan.kind(backends[call.account]["us-east-1"]) == free_plan.FREE and call.values.get("InstanceType") not in FREE


def _spot_role_unseen(call: Call) -> bool:
    """Whether the spot role of a spot launch does not exist, or was created less than `amount` seconds ago."""
    roles = [role for role in call.backend("iam").roles.values() if role.name == "AWSServiceRoleForEC2Spot"]
    return call.spot and (not roles or call.young(vars(roles[0]).get("_llmlab_new_")))


ROWS = (
    Rule(
        name="region-not-enabled-ec2",
        operations=("ec2:*",),
        when="the region must be opted into, and the account has not",
        code="AuthFailure",
        message="AWS was not able to validate the provided access credentials",
        source="https://github.com/boto/boto3/issues/2065",
        applies=_off,
        status=401,
        on=On.NAMED,
        until=Until.OWNER,
    ),
    Rule(
        name="region-not-enabled-query",
        operations=QUERY,
        when="the region must be opted into, and the account has not",
        code="InvalidClientTokenId",
        message="The security token included in the request is invalid",
        source="https://github.com/epsagon/clear-lambda-storage/issues/9",
        applies=_off,
        status=403,
        on=On.NAMED,
        until=Until.OWNER,
    ),
    Rule(
        name="region-not-enabled-json",
        operations=JSON,
        when="the region must be opted into, and the account has not",
        code="UnrecognizedClientException",
        message="The security token included in the request is invalid.",
        source="https://github.com/aws/chalice/issues/1445",
        applies=_off,
        on=On.NAMED,
        until=Until.OWNER,
    ),
    Rule(
        name="denied-by-the-organization-ec2",
        operations=("ec2:CreateVpc", *LAUNCH),
        when="a service control policy of the account's organization denies it",
        code="UnauthorizedOperation",
        message="You are not authorized to perform this operation. User: {user} is not authorized to perform: {action} on resource: "
        "arn:aws:ec2:{region}:{account}:* with an explicit deny in a service control policy",
        source=SCP,
        applies=_fields,
        status=403,
        on=On.NAMED,
        until=Until.OWNER,
    ),
    Rule(
        name="denied-by-the-organization",
        operations=("iam:CreateRole", "budgets:CreateBudget", "lambda:CreateFunction"),
        when="a service control policy of the account's organization denies it",
        code="AccessDenied",
        message="User: {user} is not authorized to perform: {action} on resource: arn:aws:iam::{account}:role/r "
        "with an explicit deny in a service control policy",
        source=SCP,
        applies=_fields,
        status=403,
        on=On.NAMED,
        until=Until.OWNER,
    ),
    Rule(
        name="denied-by-a-boundary",
        operations=("iam:CreateRole",),
        when="the permissions boundary of whoever asks does not allow it",
        code="AccessDenied",
        message="User: {user} is not authorized to perform: {action} on resource: arn:aws:iam::{account}:role/r "
        "because no permissions boundary allows the {action} action",
        source=SCP,
        applies=_fields,
        status=403,
        on=On.NAMED,
        until=Until.OWNER,
    ),
    Rule(
        name="service-not-signed-up-for",
        operations=("ec2:CreateVpc", *LAUNCH),
        when="the account's sign-up is not over",
        code="OptInRequired",
        message="You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.",
        source="https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html",
        applies=lambda _: True,
        status=401,
        on=On.NAMED,
        until=Until.WAITING,
    ),
    Rule(
        name="account-being-verified",
        operations=LAUNCH,
        when="the account has never started an instance in this region; minutes, or up to four hours",
        code="PendingVerification",
        message="Your request for accessing resources in this region is being validated, and you will not be able to launch additional "
        "resources in this region until the validation is complete. We will notify you by email once your request has been validated. "
        "While normally resolved within minutes, please allow up to 4 hours for this process to complete. If the issue still persists, "
        "please let us know by writing to aws-verification@amazon.com for further assistance.",
        source="https://github.com/skyplane-project/skyplane/issues/799",
        applies=_first,
        on=On.NEW_ACCOUNT,
        until=Until.WAITING,
        amount=600,
        each_launch=True,
    ),
    Rule(
        name="account-blocked",
        operations=LAUNCH,
        when="AWS has closed the account to launches",
        code="Blocked",
        message="This account is currently blocked and not recognized as a valid account. Please contact aws-verification@amazon.com if "
        "you have questions.",
        source="https://github.com/aws/amazon-sagemaker-examples/issues/1858",
        applies=lambda _: True,
        on=On.NAMED,
        until=Until.OWNER,
        each_launch=True,
    ),
    Rule(
        name="free-plan",
        operations=LAUNCH,
        when="the account is on the free plan, and the type not among those it allows",
        code="InvalidParameterCombination",
        message="The specified instance type is not eligible for Free Tier. For a list of Free Tier instance types, run "
        "'describe-instance-types' with the filter 'free-tier-eligible=true'.",
        source="https://github.com/aws-samples/eks-workshop-v2/issues/1644",
        applies=_on_free_plan,
        on=On.NEW_ACCOUNT,
        until=Until.OWNER,
        each_launch=True,
    ),
    Rule(
        name="spot-role-unseen",
        operations=LAUNCH,
        when="the account has no service-linked role for spot, or EC2 does not see it yet",
        code="AuthFailure.ServiceLinkedRoleCreationNotPermitted",
        message="The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances.",
        source="https://github.com/LeanerCloud/AutoSpotting/issues/187",
        status=403,
        applies=_spot_role_unseen,
        on=On.NEW_ACCOUNT,
        until=Until.WAITING,
        amount=60,
        each_launch=True,
    ),
)
