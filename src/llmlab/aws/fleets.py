"""Asking EC2 for one instance out of many pools: CreateFleet of type instant, and what its answer means.

The client tries once: botocore would retry a pool without capacity, which helps no one. The request comes from `llmlab.fleet`.
An instant fleet answers 200 with no instance and a list of errors; each error belongs to one pool.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instant-fleet.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.aws.session import Aws, AwsError, Denied
from llmlab.clock import Clock
from llmlab.errors import NoCapacity, QuotaExceeded

CAPACITY = {
    "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "UnfulfillableCapacity", "Unsupported",
    "SpotMaxPriceTooLow", "InsufficientFreeAddressesInSubnet", "InvalidFleetConfiguration", "InstanceTypeNotSupported",
}  # fmt: skip
"""The pool has none to give; another may."""
QUOTA = {"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded"}
DENIED = {"UnauthorizedOperation", "AccessDenied"}
PROFILE = ("invalid iam instance profile", "has no associated iam roles")
PROFILE_SECONDS = 120
"""How long a new instance profile may take to be visible to EC2; terraform waits as long."""


@dataclass(frozen=True)
class Given:
    """The instance that came."""

    instance: str
    instance_type: str
    subnet: str
    zone: str


@dataclass(frozen=True)
class Tried:
    """A pool that gave nothing, and why. `subnet` or `zone` is "" where AWS does not say."""

    instance_type: str
    subnet: str
    zone: str
    code: str
    message: str


class NoPoolHadCapacity(NoCapacity):
    """Every pool was asked; `tried` says what each answered."""

    def __init__(self, message: str, hint: str, tried: tuple[Tried, ...]) -> None:
        super().__init__(message, hint)
        self.tried = tried


def create(aws: Aws, request: Mapping[str, Any], clock: Clock) -> Given:
    """One instance.

    Waits up to two minutes for a new instance profile. Each repetition has a token of its own, because AWS answers a known token with
    the old, empty result.

    Raises:
        NoPoolHadCapacity: no pool had one.
        QuotaExceeded: the account's vCPU quota does not allow it.
        Denied: the caller may not start it.
        AwsError: anything else AWS refuses.
    """
    deadline = clock.now().timestamp() + PROFILE_SECONDS
    repetition = 1
    while True:
        token = str(request["ClientToken"]) + (f"-{repetition}" if repetition > 1 else "")
        try:
            answer = aws.client("ec2", attempts=1).create_fleet(**{**request, "ClientToken": token})
        except AwsError as error:
            if error.code in CAPACITY:
                raise NoPoolHadCapacity("no pool had an instance to give", "", (Tried("", "", "", error.code, error.message),)) from error
            if error.code in QUOTA:
                raise QuotaExceeded(error.message, "llmlab doctor") from error
            if not _profile(error.message):
                raise
            answer = {"Errors": [{"ErrorCode": error.code, "ErrorMessage": error.message}]}
        given = _given(answer)
        if given:
            return given
        tried = tuple(_tried(error) for error in answer.get("Errors", []))
        if not any(_profile(one.message) for one in tried) or clock.now().timestamp() > deadline:
            raise _error(tried)
        clock.sleep(5)
        repetition += 1


def _given(answer: Mapping[str, Any]) -> Given | None:
    for item in answer.get("Instances", []):
        for instance in item.get("InstanceIds", []):
            pool = item.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
            return Given(
                instance,
                item.get("InstanceType") or pool.get("InstanceType", ""),
                pool.get("SubnetId", ""),
                pool.get("AvailabilityZone", ""),
            )
    return None


def _tried(error: Mapping[str, Any]) -> Tried:
    pool = error.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    return Tried(
        pool.get("InstanceType", ""),
        pool.get("SubnetId", ""),
        pool.get("AvailabilityZone", ""),
        error.get("ErrorCode", ""),
        error.get("ErrorMessage", "").strip().rstrip("."),
    )


def _profile(message: str) -> bool:
    return any(words in message.lower() for words in PROFILE)


def _error(tried: tuple[Tried, ...]) -> Exception:
    """What the errors of a fleet mean together: quota and permission speak for all pools, capacity only when all are out of it."""
    for one in tried:
        if one.code in QUOTA:
            return QuotaExceeded(f"AWS refused the instance: {one.message or one.code}", "llmlab doctor")
        if one.code in DENIED:
            return Denied(
                "AWS denied ec2:RunInstances, which ec2:CreateFleet calls", "llmlab doctor", code=one.code, operation="ec2:RunInstances"
            )
    strange = [one for one in tried if one.code not in CAPACITY]
    if strange:
        return AwsError(
            f"ec2:CreateFleet failed: {strange[0].message or strange[0].code}",
            "llmlab doctor",
            code=strange[0].code,
            operation="ec2:CreateFleet",
        )
    return NoPoolHadCapacity("no pool had an instance to give", "", tried)
