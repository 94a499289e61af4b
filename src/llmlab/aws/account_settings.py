"""Account settings that a launch depends on: each is read by a call of its own, none is changed here."""

from collections.abc import Sequence

from llmlab.aws.session import Aws

HOME = "us-east-1"
"""A region that every account has; the free tier is asked for there."""
AWS_DISK_KEY = "alias/aws/ebs"
"""The key that AWS manages: https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html."""


def opt_in_status(aws: Aws) -> str:
    """The opt-in status of the lab's region, asked in `HOME`: `opt-in-not-required`, `opted-in` or `not-opted-in`."""
    regions = aws.client("ec2", region=HOME).describe_regions(RegionNames=[aws.region], AllRegions=True)["Regions"]
    return str(regions[0]["OptInStatus"]) if regions else ""


def plan(aws: Aws) -> str:
    """The account's plan: `FREE` or `PAID`.

    https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_freetier_GetAccountPlanState.html
    """
    return str(aws.client("freetier", region=HOME).get_account_plan_state()["accountPlanType"])


def disk_key(aws: Aws) -> str:
    """The KMS key that encrypts EBS volumes for which no key is named."""
    return aws.ec2.get_ebs_default_kms_key_id()["KmsKeyId"]


def ringing(aws: Aws, alarms: Sequence[str]) -> list[str]:
    """The descriptions, up to the colon, of those of these alarms that are in state ALARM; the name of an alarm without one."""
    described = aws.client("cloudwatch").describe_alarms(AlarmNames=list(alarms))["MetricAlarms"]
    loud = [alarm for alarm in described if alarm.get("StateValue") == "ALARM"]
    return sorted(str(alarm.get("AlarmDescription") or alarm["AlarmName"]).partition(":")[0] for alarm in loud)
