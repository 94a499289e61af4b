"""What an account is set to, of which a launch depends: asked one by one, and changed nowhere here."""

from collections.abc import Sequence

from llmlab.aws.session import Aws

HOME = "us-east-1"
"""A region that every account has; the free tier is asked for there."""
AWS_DISK_KEY = "alias/aws/ebs"
"""The key that AWS manages: https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html."""


def opt_in_status(aws: Aws) -> str:
    """Of the lab's region, asked elsewhere: `opt-in-not-required`, `opted-in` or `not-opted-in`."""
    regions = aws.client("ec2", region=HOME).describe_regions(RegionNames=[aws.region], AllRegions=True)["Regions"]
    return str(regions[0]["OptInStatus"]) if regions else ""


def plan(aws: Aws) -> str:
    """`FREE` or `PAID`.

    https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_freetier_GetAccountPlanState.html
    """
    return str(aws.client("freetier", region=HOME).get_account_plan_state()["accountPlanType"])


def disk_key(aws: Aws) -> str:
    """The key with which disks are encrypted where none is named."""
    return aws.ec2.get_ebs_default_kms_key_id()["KmsKeyId"]


def ringing(aws: Aws, alarms: Sequence[str]) -> list[str]:
    """What those of these alarms say that are in alarm."""
    described = aws.client("cloudwatch").describe_alarms(AlarmNames=list(alarms))["MetricAlarms"]
    loud = [alarm for alarm in described if alarm.get("StateValue") == "ALARM"]
    return sorted(str(alarm.get("AlarmDescription") or alarm["AlarmName"]).partition(":")[0] for alarm in loud)
