"""Launching one instance in any of many pools: CreateFleet of type instant, and what its answer means to the user.

The client tries once: botocore would retry a pool without capacity, which helps no one. Requests and answers are those of
`llmlab.lifecycle.create_fleet`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from botocore.exceptions import ClientError

from llmlab.aws import quotas
from llmlab.aws.session import Aws, AwsError, translate
from llmlab.clock import Clock
from llmlab.contract import Pool
from llmlab.errors import LabError, NoCapacity, QuotaExceeded
from llmlab.lifecycle import refusals
from llmlab.lifecycle.create_fleet import Answer, Launched, PoolError, read_create_fleet
from llmlab.lifecycle.refusals import Refusal

YOUNG_SECONDS = 120
"""How long a new instance profile, and the account's new role for spot, may take to be visible to EC2; terraform waits as long."""

INCONSISTENT = "IdempotentParameterMismatch"
"""The error code when an earlier start of this attempt, which was undone, has used the token: the next try has another.

https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
"""


class NoPoolHadCapacity(NoCapacity):
    """No pool had capacity; `tried` is the error of each."""

    def __init__(self, tried: tuple[PoolError, ...]) -> None:
        super().__init__("no pool had an instance to give")
        self.tried = tried


class SpotInUse(QuotaExceeded):
    """The account's spot quota is in use: in some minutes it may have room, and the on-demand quota may have room now."""


def create(aws: Aws, build: Callable[[int], dict[str, Any]], numbers: Iterator[int], pools: Sequence[Pool], clock: Clock) -> Launched:
    """Launch one instance in any of the pools.

    `build` makes the request with the number of this try in its token, because AWS answers a known token with the old, empty result.
    A new instance profile or role may take two minutes until EC2 knows it: that long it is asked again.

    Raises:
        NoPoolHadCapacity: no pool had one.
        SpotInUse: the account's spot quota has no room.
        QuotaExceeded: another quota of the account does not allow it.
        Denied: the caller may not start it.
        AwsError: anything else AWS refuses.
    """
    deadline = clock.now().timestamp() + YOUNG_SECONDS
    while True:
        answer = _ask(aws, build(next(numbers)), pools)
        if answer.launched:
            return answer.launched
        if not any(_again(error) for error in answer.errors) or clock.now().timestamp() >= deadline:
            raise refusal(answer, pools, aws.region)
        clock.sleep(5)


def _ask(aws: Aws, request: dict[str, Any], pools: Sequence[Pool]) -> Answer:
    """Repeat a call without an answer once: the same token gives the instance that was started all the same, or starts the first."""
    try:
        return _ask_once(aws, request, pools)
    except AwsError as error:
        if not error.passing:
            raise
        return _ask_once(aws, request, pools)


def _ask_once(aws: Aws, request: dict[str, Any], pools: Sequence[Pool]) -> Answer:
    """EC2's answer, also where EC2 raises an error that belongs into the answer's list of errors."""
    try:
        return read_create_fleet(aws.client("ec2", attempts=1).create_fleet(**request), pools)
    except AwsError as error:
        refused = PoolError("", "", error.code, str(error.response.get("Error", {}).get("Message", "")))
        if _again(refused) or refused.refusal in {Refusal.NO_CAPACITY, Refusal.QUOTA}:
            return Answer(None, (refused,))
        raise


def _again(error: PoolError) -> bool:
    return error.code in {*refusals.THROTTLED, INCONSISTENT} or refusals.is_young(error.code, error.message)


def refusal(answer: Answer, pools: Sequence[Pool], region: str) -> LabError:
    """What the errors of a fleet mean together: quota and permission speak for every pool, capacity only when all are out of it."""
    by = {error.refusal: error for error in reversed(answer.errors)}
    if error := by.get(Refusal.DENIED):
        return _translated(error, "ec2:RunInstances", region)
    if error := by.get(Refusal.QUOTA):
        return _over_quota(error, error.instance_type or pools[0].instance_type, region)
    if error := by.get(Refusal.OTHER) or by.get(Refusal.NOT_YET):
        return _translated(error, "ec2:CreateFleet", region)
    return NoPoolHadCapacity(answer.errors)


def _translated(error: PoolError, operation: str, region: str) -> LabError:
    """An entry of the list of errors as the domain error that it would be if EC2 had raised it."""
    answered = {"Error": {"Code": error.code, "Message": refusals.sentence("", error.message)}}
    return translate(ClientError(answered, operation.partition(":")[2]), operation, region)  # type: ignore[arg-type]


def _over_quota(error: PoolError, instance_type: str, region: str) -> QuotaExceeded:
    """A quota that preflight found large enough is in use since, or was of another kind."""
    says = f"EC2 says: {refusals.sentence(error.code, error.message)}"
    if error.code in refusals.FLEETS_IN_USE:
        return QuotaExceeded(
            f"the account has as many fleets as it may in {region}; {says}",
            f"aws service-quotas list-service-quotas --service-code ec2 --region {region}",
        )
    spot = error.code in refusals.SPOT_IN_USE
    quota = quotas.empty(instance_type, spot=spot)
    if spot:
        words = f"the vCPU quota of {quota.words} is in use in {region}, or what used it has ended minutes ago and counts still; {says}"
        return SpotInUse(words, "llmlab launch --spot --wait-for-capacity 10")
    return QuotaExceeded(f"the vCPU quota of {quota.words} is used up in {region}; {says}", quotas.request_command(quota, 8, region))
