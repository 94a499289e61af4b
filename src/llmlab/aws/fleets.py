"""Asking EC2 for one instance out of many pools: CreateFleet of type instant, and what its answer means to the user.

The client tries once: botocore would retry a pool without capacity, which helps no one. Requests and answers are `llmlab.fleet`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmlab.aws import quotas
from llmlab.aws.session import OPERATOR_POLICY, THROTTLED, Aws, AwsError, Denied
from llmlab.clock import Clock
from llmlab.contract import Pool
from llmlab.errors import NoCapacity, QuotaExceeded
from llmlab.fleet import Answer, Launched, PoolError, Refusal, classify, read_create_fleet

PROFILE = ("invalid iam instance profile", "has no associated iam roles")
PROFILE_SECONDS = 120
"""How long a new instance profile may take to be visible to EC2; terraform waits as long."""


class NoPoolHadCapacity(NoCapacity):
    """Every pool was asked; `tried` says what each answered."""

    def __init__(self, tried: tuple[PoolError, ...]) -> None:
        super().__init__("no pool had an instance to give")
        self.tried = tried


def create(aws: Aws, build: Callable[[int], dict[str, Any]], numbers: Iterator[int], pools: Sequence[Pool], clock: Clock) -> Launched:
    """One instance from any of the pools.

    `build` makes the request with the number of this try in its token, because AWS answers a known token with the old, empty result.
    A new instance profile may take two minutes until EC2 knows it: that long it is asked again.

    Raises:
        NoPoolHadCapacity: no pool had one.
        QuotaExceeded: the account's vCPU quota does not allow it.
        Denied: the caller may not start it.
        AwsError: anything else AWS refuses.
    """
    deadline = clock.now().timestamp() + PROFILE_SECONDS
    while True:
        answer = _ask(aws, build(next(numbers)), pools)
        if answer.launched:
            return answer.launched
        if not any(_again(error) for error in answer.errors) or clock.now().timestamp() >= deadline:
            raise refusal(answer, aws.region)
        clock.sleep(5)


def _ask(aws: Aws, request: dict[str, Any], pools: Sequence[Pool]) -> Answer:
    """Where no answer came, an instance may have been started all the same: the same token again gives that one, or starts the first."""
    try:
        return _ask_once(aws, request, pools)
    except AwsError as error:
        if not error.passing:
            raise
        return _ask_once(aws, request, pools)


def _ask_once(aws: Aws, request: dict[str, Any], pools: Sequence[Pool]) -> Answer:
    """An answer, also where EC2 raises what belongs into the list of errors."""
    try:
        return read_create_fleet(aws.client("ec2", attempts=1).create_fleet(**request), pools)
    except AwsError as error:
        found = PoolError("", "", error.code, error.message)
        if _again(found) or classify(error.code) in {Refusal.NO_CAPACITY, Refusal.QUOTA}:
            return Answer(None, (found,))
        raise


def _again(error: PoolError) -> bool:
    return error.code in THROTTLED or any(words in error.message.lower() for words in PROFILE)


def refusal(answer: Answer, region: str) -> Exception:
    """What the errors of a fleet mean together: quota and permission speak for every pool, capacity only when all are out of it."""
    by = {error.refusal: error for error in reversed(answer.errors)}
    if Refusal.DENIED in by:
        operation = "ec2:RunInstances"
        return Denied(
            f"AWS denied {operation}, which ec2:CreateFleet calls", OPERATOR_POLICY, code=by[Refusal.DENIED].code, operation=operation
        )
    if Refusal.QUOTA in by:
        spot = "Spot" in by[Refusal.QUOTA].code
        code = quotas.CODES[quotas.family(by[Refusal.QUOTA].instance_type), spot]
        quota = quotas.Quota(quotas.family(by[Refusal.QUOTA].instance_type), spot, code, None, 0)
        return QuotaExceeded(f"the vCPU quota of {quota.words} is used up in {region}", quotas.request_command(quota, 8, region))
    if Refusal.OTHER in by:
        error = by[Refusal.OTHER]
        return AwsError(
            f"ec2:CreateFleet failed: {error.message or error.code}", "llmlab doctor", code=error.code, operation="ec2:CreateFleet"
        )
    return NoPoolHadCapacity(answer.errors)
