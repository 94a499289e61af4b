"""Checks of `doctor` for what a run needs of the account: region, plan, spot role, disk key, the watchdog's alarms, cost tags."""

from collections.abc import Iterator

from llmlab.aws import account_settings, costs, refusal_words
from llmlab.aws.session import Aws, AwsError, Denied, NotFound
from llmlab.aws.spot_role import SpotRole
from llmlab.contract import Tag
from llmlab.errors import LabError
from llmlab.ops.checkup import Check, Health, Patient
from llmlab.stack import WATCHING

FREE = "FREE"
OPT_IN = "not-opted-in"
UPGRADE = "aws freetier upgrade-account-plan --account-plan-type PAID --region us-east-1"


def is_closed(aws: Aws) -> bool:
    """Whether the lab's region refuses good credentials because it is not enabled in the account."""
    if not refusal_words.must_be_enabled(aws.region):
        return False
    try:
        return account_settings.opt_in_status(aws) == OPT_IN
    except AwsError:
        return False


def closed(region: str) -> Check:
    return Check("region", Health.FAILED, f"{region} is not enabled in this account", refusal_words.enable(region))


def plan(patient: Patient) -> Iterator[Check]:
    """The account plan: every account made since July 2025 begins on the free plan, which starts no GPU instances.

    https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/free-tier-plans.html
    """
    try:
        kind = account_settings.plan(patient.aws)
    except (Denied, NotFound) as error:
        yield Check("account plan", Health.UNKNOWN, f"AWS does not tell: {error.message}")
        return
    if kind == FREE:
        yield Check("account plan", Health.FAILED, "this account is on the free plan, which starts no GPU instances", UPGRADE)
    else:
        yield Check("account plan", Health.OK, f"{kind.lower()}: GPU instances may be started")


def spot_role(patient: Patient) -> Iterator[Check]:
    """The service-linked role that EC2 needs for spot instances.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/service-linked-roles-spot-instance-requests.html
    """
    role = SpotRole(aws=patient.aws)
    if role.exists():
        yield Check("spot role", Health.OK, f"{role.name} is there")
    else:
        yield Check("spot role", Health.FAILED, f"{role.name} is missing, and EC2 starts no spot instance without it", "llmlab bootstrap")


def disk_key(patient: Patient) -> Iterator[Check]:
    """The account's default key for disk encryption: whoever starts an instance must be allowed to make grants of it.

    https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html#ebs-encryption-permissions
    """
    key = account_settings.disk_key(patient.aws)
    if key == account_settings.AWS_DISK_KEY:
        yield Check("disk key", Health.OK, "disks are encrypted with AWS's own key")
        return
    role = patient.aws.names.watchdog_role
    says = f"disks are encrypted with {key}, whose policy must let you and {role} make grants of it, or no instance starts"
    yield Check("disk key", Health.WARNING, says, f"aws kms get-key-policy --key-id {key} --region {patient.aws.region}")


def watchdog(patient: Patient) -> Iterator[Check]:
    """The alarms on the watchdog's function."""
    names = patient.aws.names
    ringing = account_settings.ringing(patient.aws, [f"{names.lab}-{suffix}" for suffix in WATCHING])
    if ringing:
        mend = f"aws logs tail /aws/lambda/{names.watchdog} --since 1h --region {patient.aws.region}"
        yield Check("watchdog", Health.FAILED, "; ".join(ringing), mend)
    else:
        yield Check("watchdog", Health.OK, "no alarm says that it fails or is silent")


def cost_tags(patient: Patient) -> Iterator[Check]:
    """The cost allocation tags. Only the account that pays may ask; a tag can be activated once AWS has seen it.

    https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activating-tags.html
    """
    try:
        states = costs.tag_states(patient.aws)
    except LabError as error:
        yield Check("cost tags", Health.UNKNOWN, f"only the paying account can tell: {error.message}", costs.ACTIVATE)
        return
    inactive = [tag for tag in costs.TAGS if states.get(tag) != costs.ACTIVE]
    unseen = [str(tag) for tag in inactive if tag not in states]
    if not inactive:
        yield Check("cost tags", Health.OK, f"{', '.join(costs.TAGS)} are active for cost allocation")
        return
    blind = ", so the budget sees nothing" if Tag.PROJECT in inactive else ", so Cost Explorer cannot tell our labs or runs apart"
    says = f"{', '.join(inactive)} {'is' if len(inactive) == 1 else 'are'} not active for cost allocation{blind}"
    late = f"; AWS has not seen {', '.join(unseen)} yet, which takes up to 24 hours after the first use" if unseen else ""
    yield Check("cost tags", Health.WARNING, says + late, costs.ACTIVATE)
