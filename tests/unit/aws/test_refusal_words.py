"""What AWS's refusals become: its own sentence, what is meant where that is something else, and a command that helps."""

import pytest
from botocore.exceptions import ClientError

from llmlab.aws.refusal_words import VERIFIED
from llmlab.aws.session import Aws, AwsError, BadCredentials, Denied, translate
from llmlab.contract import PROJECT
from llmlab.errors import ExitCode, LabError, UsageError

OPERATOR = "llmlab bootstrap --print-operator-policy"
USER = "User: arn:aws:iam::1:user/x is not authorized to perform: ec2:CreateVpc on resource: arn:aws:ec2:us-east-1:123456789012:vpc/*"
NO_POLICY = "no identity-based policy allows the ec2:CreateVpc action"
SECRET = "x" * 900
SCP = "with an explicit deny in a service control policy"
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html#access-denied-explicit-deny-examples"""


def refused(code: str, message: str, region: str = "us-east-1", operation: str = "ec2:CreateVpc") -> LabError:
    return translate(ClientError({"Error": {"Code": code, "Message": message}}, operation), operation, region)


@pytest.mark.parametrize(
    ("code", "message", "says", "hint"),
    [
        ("AccessDenied", f"{USER} because {NO_POLICY}", f"AWS denied ec2:CreateVpc: {NO_POLICY}", OPERATOR),
        (
            "UnauthorizedOperation",
            f"You are not authorized. {USER} because {NO_POLICY}. Encoded authorization failure message: {SECRET}",
            f"AWS denied ec2:CreateVpc: {NO_POLICY}",
            OPERATOR,
        ),
        (
            "AccessDeniedException",
            f"{USER} {SCP}",
            "AWS denied ec2:CreateVpc: an explicit deny in a service control policy",
            "aws organizations describe-organization",
        ),
        (
            "AccessDenied",
            f"{USER} because no permissions boundary allows the ec2:CreateVpc action",
            "AWS denied ec2:CreateVpc: no permissions boundary allows the ec2:CreateVpc action",
            "aws sts get-caller-identity",
        ),
        ("AccessDenied", "Access Denied", "AWS denied ec2:CreateVpc", OPERATOR),
        (
            "AccessDeniedException",
            "User not enabled for cost explorer access",
            "AWS denied ec2:CreateVpc: User not enabled for cost explorer access",
            "python3 -m webbrowser https://console.aws.amazon.com/costmanagement/home#/cost-explorer",
        ),
    ],
)
def test_why_it_was_denied_is_kept(code: str, message: str, says: str, hint: str) -> None:
    error = refused(code, message)
    assert isinstance(error, Denied)
    assert (error.message, error.hint, error.exit_code) == (says, hint, ExitCode.DENIED)


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "AuthFailure", "UnrecognizedClientException"])
def test_a_region_that_is_not_switched_on(code: str) -> None:
    """It answers good credentials as if they were bad ones: https://github.com/boto/boto3/issues/2065."""
    late, always = (refused(code, "The security token included in the request is invalid", region) for region in ("ap-east-1", "eu-west-1"))
    assert isinstance(late, BadCredentials)
    assert late.message == "AWS does not accept these credentials, or region ap-east-1 is not enabled in this account"
    assert late.hint == "aws account enable-region --region-name ap-east-1"
    assert (always.message, always.hint) == ("AWS does not accept these credentials", "aws configure")


@pytest.mark.parametrize(
    ("code", "message", "part", "hint"),
    [
        (
            "InvalidParameterCombination",
            "The specified instance type is not eligible for Free Tier",
            "this account is on the free plan",
            "aws freetier upgrade-account-plan --account-plan-type PAID --region us-east-1",
        ),
        ("VpcLimitExceeded", "The maximum number of VPCs has been reached.", "--vpc-id and", "aws ec2 describe-subnets --region us-east-1"),
        ("PendingVerification", "Your request is being validated", "AWS is still checking this account", VERIFIED),
        ("OptInRequired", "You are not subscribed", "is not signed up for the service", "aws account get-contact-information"),
    ],
)  # fmt: skip
def test_what_doctor_cannot_mend_has_another_hint(code: str, message: str, part: str, hint: str) -> None:
    error = refused(code, message)
    assert isinstance(error, AwsError)
    assert part in error.message
    assert message.rstrip(".") in error.message
    assert (error.hint, error.code) == (hint, code)


def test_every_refusal_has_a_command() -> None:
    for code in ("EntityAlreadyExists", "NoSuchEntity", "ConflictException", "Whatever", "ThrottlingException"):
        assert refused(code, "x").hint.startswith("llmlab "), code


@pytest.mark.parametrize(
    ("region", "partition"), [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("eusc-de-east-1", "aws-eusc")]
)
def test_other_partitions_are_refused_before_anything_is_asked(region: str, partition: str) -> None:
    with pytest.raises(UsageError, match=f"is in the partition {partition}, and llmlab works in AWS's commercial regions alone"):
        Aws(region, lab=PROJECT)
