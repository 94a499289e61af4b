"""Each gate of an account that a doctor can see before a launch meets it; opened by its own command, the doctor is well."""

from typing import Any

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.config import Settings
from llmlab.infra.apply import apply
from llmlab.infra.plan import plan
from llmlab.ops import gates
from llmlab.ops.checkup import Check, Health, Patient
from llmlab.ops.doctor import doctor
from llmlab.stack import WATCHING
from tests.laws.conftest import Lab
from tests.laws.refusing import answering, refusing


def patient(lab: Lab) -> Patient:
    return Patient(lab.settings, lab.aws, lab.clock)


def test_the_free_plan(lab: Lab) -> None:
    freetier: Any = lab.aws.client("freetier", region="us-east-1")
    freetier.upgrade_account_plan(accountPlanType="FREE")
    (check,) = gates.plan(patient(lab))
    assert (check.health, check.message) == (Health.FAILED, "this account is on the free plan, which starts no GPU instances")
    assert check.hint == "aws freetier upgrade-account-plan --account-plan-type PAID --region us-east-1"
    freetier.upgrade_account_plan(accountPlanType="PAID")
    (check,) = gates.plan(patient(lab))
    assert check.health is Health.OK


def test_a_plan_that_may_not_be_asked_for_is_not_known(lab: Lab) -> None:
    with refusing(lab.aws, "freetier", "GetAccountPlanState", "AccessDeniedException", "no", region="us-east-1"):
        (check,) = gates.plan(patient(lab))
    assert check.health is Health.UNKNOWN


def test_a_region_that_is_not_enabled(lab_aws: Aws) -> None:
    """Its services call good credentials bad; elsewhere they are good, and AWS tells why."""
    closed = Aws("ap-east-1", lab=lab_aws.lab)
    with refusing(closed, "sts", "GetCallerIdentity", "InvalidClientTokenId", "The security token included in the request is invalid."):
        facts = doctor(Settings(), closed, ManualClock(lab_now()))
    assert facts.checks == (
        Check("region", Health.FAILED, "ap-east-1 is not enabled in this account", "aws account enable-region --region-name ap-east-1"),
    )
    assert not facts.healthy


def test_bad_credentials_are_bad_in_an_enabled_region(lab_aws: Aws) -> None:
    with refusing(lab_aws, "sts", "GetCallerIdentity", "InvalidClientTokenId", "The security token included in the request is invalid."):
        first, *_ = (facts := doctor(Settings(), forgetful(lab_aws), ManualClock(lab_now()))).checks
    assert (first.name, first.health, first.hint) == ("credentials", Health.FAILED, "aws configure")
    assert not facts.healthy


def forgetful(aws: Aws) -> Aws:
    for name in ("account", "names"):
        aws.__dict__.pop(name, None)
    return aws


def lab_now() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 11, 24, tzinfo=UTC)


def test_the_spot_role(lab: Lab) -> None:
    (check,) = gates.spot_role(patient(lab))
    assert (check.health, check.hint) == (Health.FAILED, "llmlab bootstrap")
    apply(plan([one for one in lab.stack() if one.kind == "service-linked role"]))
    (check,) = gates.spot_role(patient(lab))
    assert check.health is Health.OK


def test_a_key_of_the_accounts_own_for_disks(lab: Lab) -> None:
    lab.aws.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, Encrypted=True)
    (check,) = gates.disk_key(patient(lab))
    assert check.health is Health.OK, "an encrypted disk is no key of the account's"
    key = lab.aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    lab.aws.ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)
    (check,) = gates.disk_key(patient(lab))
    assert check.health is Health.WARNING
    assert check.hint == f"aws kms get-key-policy --key-id {key} --region us-east-1"


def test_a_watchdog_that_fails_or_is_silent(lab: Lab) -> None:
    apply(plan([one for one in lab.stack() if one.kind in {"alert topic", "alarm"}]))
    (check,) = gates.watchdog(patient(lab))
    assert check.health is Health.OK
    for suffix in WATCHING:
        lab.aws.client("cloudwatch").set_alarm_state(AlarmName=f"{lab.aws.lab}-{suffix}", StateValue="ALARM", StateReason="x")
    (check,) = gates.watchdog(patient(lab))
    assert check.health is Health.FAILED
    assert check.message == "the watchdog fails; the watchdog was not called for a quarter of an hour"


def test_cost_tags_that_aws_has_not_seen_yet(lab: Lab) -> None:
    """They can be activated a day after their first use, not before."""
    seen = {"CostAllocationTags": [{"TagKey": "Project", "Type": "UserDefined", "Status": "Active"}]}
    with answering(lab.aws, "ce", "ListCostAllocationTags", lambda _: seen, region="us-east-1"):
        (check,) = gates.cost_tags(patient(lab))
    assert check.message == (
        "Lab, Run are not active for cost allocation, so Cost Explorer cannot tell our labs or runs apart; "
        "AWS has not seen Lab, Run yet, which takes up to 24 hours after the first use"
    )


def test_cost_explorer_that_was_never_opened(lab: Lab) -> None:
    words = "User not enabled for cost explorer access"
    with refusing(lab.aws, "ce", "ListCostAllocationTags", "AccessDeniedException", words, region="us-east-1"):
        (check,) = gates.cost_tags(patient(lab))
    assert check.health is Health.UNKNOWN
    assert words in check.message
