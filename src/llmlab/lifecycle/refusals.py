"""Classification of EC2's errors when an instance is requested, shared by `launch` and the watchdog: one table of codes.

Karpenter's list of what another pool may have: https://github.com/aws/karpenter-provider-aws/blob/main/pkg/errors/errors.go
EC2's own: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

import re
from enum import StrEnum


class Refusal(StrEnum):
    """Why a pool gave no instance."""

    NO_CAPACITY = "no capacity"
    QUOTA = "quota"
    NOT_YET = "not yet"
    """The same request may succeed later: throttling, something new that EC2 does not see yet, or an internal error of EC2."""
    DENIED = "denied"
    OTHER = "other"
    """The request or the account does not suit EC2: repeating the request does not help."""

    @property
    def final(self) -> bool:
        """Whether waiting cannot help."""
        return self in {Refusal.DENIED, Refusal.OTHER}


CAPACITY = {
    "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "InsufficientReservedInstanceCapacity",
    "InsufficientFreeAddressesInSubnet", "Unsupported", "UnsupportedOperation", "UnfulfillableCapacity", "SpotMaxPriceTooLow",
    "InvalidFleetConfiguration", "Server.InsufficientInstanceCapacity", "NoPrice",
}  # fmt: skip
"""`NoPrice` is our own: no pool of the market has a price at the moment."""
SPOT_IN_USE = {"MaxSpotInstanceCountExceeded", "SpotInstanceCountLimitExceeded"}
"""A spot request counts for some minutes after its instance has ended.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-limits.html"""
FLEETS_IN_USE = {"MaxFleetCountExceeded", "MaxSpotFleetRequestCountExceeded"}
QUOTA = {"VcpuLimitExceeded", "InstanceLimitExceeded", *SPOT_IN_USE, *FLEETS_IN_USE}
THROTTLED = {
    "RequestLimitExceeded", "SlowDown", "Throttled", "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestThrottled",
}  # fmt: skip
SPOT_ROLE = "AuthFailure.ServiceLinkedRoleCreationNotPermitted"
"""Also for a minute after the role was made: https://github.com/c6fc/npk/issues/77."""
YOUNG_PROFILE = ("invalid iam instance profile", "has no associated iam roles")
TROUBLE = {"InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "Server.InternalError"}
DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthFailure"}
LONGEST = 600
"""Characters of EC2's message that are kept, enough for the one about verification; a denial has an encoded part of some hundred more."""
ENCODED = re.compile(r"\s*Encoded authorization failure message: .*", re.DOTALL)


def classify(code: str, message: str = "") -> Refusal:
    """Classify an error of CreateFleet or RunInstances. A permission problem is never taken for a lack of capacity."""
    if code in CAPACITY:
        return Refusal.NO_CAPACITY
    if code in QUOTA:
        return Refusal.QUOTA
    if is_young(code, message) or code in THROTTLED or code in TROUBLE:
        return Refusal.NOT_YET
    return Refusal.DENIED if code in DENIED else Refusal.OTHER


def is_young(code: str, message: str) -> bool:
    """Whether EC2 does not see the instance profile or the spot role yet, which it does within two minutes of a bootstrap."""
    return code == SPOT_ROLE or any(words in message.lower() for words in YOUNG_PROFILE)


def sentence(code: str, message: str) -> str:
    """EC2's message on one line, without the period and without the encoded part that only IAM can read."""
    words = " ".join(ENCODED.sub("", message).split()).rstrip(".")[:LONGEST]
    return f"{words} ({code})" if words and code and code not in words else words or code


# ---------------------------------------------------------------- instances that end before they run


DEATHS = {
    "Client.InternalError": "the disk could not be decrypted: the policy of its key lets neither EC2 nor the spot service use it",
    "Client.VolumeLimitExceeded": "the account has as many disks, or as much on them, as it may",
    "Client.InvalidSnapshot.NotFound": "the image's snapshot is not there any more",
}
"""StateReason codes of instances that end before they run, for a reason that another instance would meet too.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
https://github.com/aws/karpenter-provider-aws/issues/1407 for the first, of which EC2 says no more than "Client error on launch"."""
HINT_CODES = {
    "Client.InternalError": "grant_disk_key",
    "Client.VolumeLimitExceeded": "disk_quotas",
    "VolumeLimitExceeded": "disk_quotas",
    "UnauthorizedOperation": "bootstrap_plan",
}
"""AWS's error code → code of the hint (`contract.hints`), where a run's logs do not explain its end."""


def hint_code(code: str) -> str:
    return HINT_CODES.get(code, "doctor")
