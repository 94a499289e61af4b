"""`doctor --request-quota`: request larger vCPU quotas from AWS, where they are too small for a run and no request is open yet."""

from collections.abc import Mapping
from dataclasses import dataclass

from llmlab.aws import instance_types, quotas
from llmlab.aws.quotas import Increase, Quota
from llmlab.aws.session import Aws
from llmlab.config import Settings

SMALLEST, SMALLEST_VCPUS = "g4dn.xlarge", 4
"""The smallest GPU instance and its vCPUs (g5.xlarge and g6.xlarge have as many), where the settings name no type."""


@dataclass(frozen=True)
class QuotaIncrease:
    """A quota that is too small, what it should be in vCPUs, and the request that AWS has not answered yet, if there is one."""

    quota: Quota
    vcpus: int
    pending: Increase | None

    @property
    def words(self) -> str:
        return f"{self.quota.words} ({self.quota.code}): {self.quota.limit or 0:g} vCPUs, {self.vcpus} wanted"


def least(aws: Aws, settings: Settings) -> Mapping[str, int]:
    """The vCPUs that one instance needs, by type: of the types named in the settings, else of the smallest there is."""
    if not settings.instance_types:
        return {SMALLEST: SMALLEST_VCPUS}
    return {kind.name: kind.vcpus for kind in instance_types.describe(aws, settings.instance_types).values()}


def under(quota: Quota, needed: Mapping[str, int]) -> int:
    """The most vCPUs that one of these types needs of a quota, 0 where none counts under it."""
    return max((count for name, count in needed.items() if quotas.family(name, spot=quota.spot) == quota.family), default=0)


def too_small(aws: Aws, settings: Settings) -> tuple[QuotaIncrease, ...]:
    """The quotas of both markets under which not one instance may run. Only reads.

    Raises:
        UsageError: a type of the settings cannot be used.
        Denied: the requests may not be listed.
    """
    needed = least(aws, settings)
    increases = []
    for quota in quotas.read(aws, needed, (True, False)).values():
        vcpus = under(quota, needed)
        if (quota.limit or 0) < vcpus:
            increases.append(QuotaIncrease(quota, quotas.desired(quota, vcpus), quotas.pending(aws, quota)))
    return tuple(increases)


def file(aws: Aws, increase: QuotaIncrease) -> Increase:
    """File the request for a larger quota with AWS.

    Raises:
        Denied: the caller may not request quotas.
    """
    return quotas.request(aws, increase.quota, increase.vcpus)
