"""What AWS's refusals mean to somebody who runs a lab, and the command that helps.

AWS's own sentence is kept. Where it alone leads to the wrong place, a row of `MENDS` says what is meant.
"""

import re
from typing import NamedTuple

OPERATOR_POLICY = "llmlab bootstrap --print-operator-policy"
"""The command that prints the permissions an operator needs."""
ACTION = re.compile(r"not authorized to perform: ([\w-]+:\w+)")
"""The action that IAM denied, which may be another than the call's: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""
BECAUSE = re.compile(r"\b(?:because|with(?= an explicit deny)) (.+?)(?:\. ?Encoded authorization failure message|\.?$)", re.DOTALL)
"""The kind of policy that denied it. EC2 adds a code of some hundred characters to it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html#access-denied-explicit-deny-examples"""
BARE = {"", "access denied", "forbidden", "you are not authorized to perform this operation"}
"""Sentences that say no more than the code does."""
ENABLED_BY_DEFAULT = frozenset({
    "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1",
    "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
})  # fmt: skip
"""Every other region must be switched on by the account first.
https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html"""
COST_EXPLORER = "python3 -m webbrowser https://console.aws.amazon.com/costmanagement/home#/cost-explorer"
"""Cost Explorer is switched on by opening it; no call does.
https://docs.aws.amazon.com/cost-management/latest/userguide/ce-enable.html"""


class Mend(NamedTuple):
    """A refusal by its code and some words of its sentence (either may be ""), what it means, and a command: `{region}` is filled in."""

    code: str
    words: str
    means: str
    hint: str


CHECKING = "AWS is still checking this account, which takes minutes, at most four hours"
VERIFIED = "llmlab launch --dry-run  # then launch again; after four hours write to aws-verification@amazon.com"
MENDS = (
    # https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/free-tier-plans.html
    # https://github.com/aws-samples/eks-workshop-v2/issues/1644
    Mend(
        "InvalidParameterCombination",
        "not eligible for Free Tier",
        "this account is on the free plan, which starts no GPU instances",
        "aws freetier upgrade-account-plan --account-plan-type PAID --region us-east-1",
    ),
    # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
    Mend("PendingVerification", "", CHECKING, VERIFIED),
    Mend("Blocked", "", "AWS has blocked this account", "aws support create-case help"),
    Mend("OptInRequired", "", "this account is not signed up for the service", "aws account get-contact-information"),
    # https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
    Mend(
        "VpcLimitExceeded",
        "",
        "the account has as many VPCs as it may in {region}; the lab can use one of them, by --vpc-id and --subnet-id",
        "aws ec2 describe-subnets --region {region}",
    ),
    Mend(
        "InternetGatewayLimitExceeded",
        "",
        "the account has as many internet gateways as it may in {region}; the lab can use a VPC that has one, by --vpc-id and --subnet-id",
        "aws ec2 describe-subnets --region {region}",
    ),
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/BucketRestrictions.html
    Mend("TooManyBuckets", "", "the account has as many buckets as it may", "aws s3 ls"),
)


def mend(code: str, message: str) -> Mend | None:
    """The row of `MENDS` for a refusal, None where it has none."""
    return next((row for row in MENDS if row.code in {code, ""} and row.words in message), None)


def reason(message: str) -> str:
    """Why something was denied, in AWS's own words; "" where it says no more than that."""
    because = BECAUSE.search(message)
    if because:
        return because[1].strip()
    return "" if ACTION.search(message) or message.lower() in BARE else message


def denied_hint(message: str) -> str:
    """The command that helps after a denial, by the kind of policy that denied it."""
    if "cost explorer" in message.lower():
        return COST_EXPLORER
    if "service control policy" in message or "resource control policy" in message:
        return "aws organizations describe-organization"
    if "permissions boundary" in message:
        return "aws sts get-caller-identity"
    return OPERATOR_POLICY


def must_be_enabled(region: str) -> bool:
    """Whether an account has to switch the region on before any service answers there."""
    return region not in ENABLED_BY_DEFAULT


def enable(region: str) -> str:
    """The command that switches a region on."""
    return f"aws account enable-region --region-name {region}"
