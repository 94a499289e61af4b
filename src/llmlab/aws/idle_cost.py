"""The monthly cost of a lab in which nothing runs: every resource that AWS shows, times its price.

The resources are those of `leftovers`, which looks every kind up by tag or name. The watchdog's calls, of every hour and of every minute,
are counted too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from llmlab.aws import leftovers, rates
from llmlab.aws.instance_overhead import MONTH_HOURS
from llmlab.aws.lambda_function import MEMORY_MIB
from llmlab.aws.leftovers import Leftover
from llmlab.aws.rates import Rate
from llmlab.aws.session import Aws, NotFound
from llmlab.lifecycle.billing import CENT, dollars

SWEEPS = MONTH_HOURS
SWEEP_SECONDS = 5.0
"""Assumed seconds of a sweep over a lab in which nothing runs: a cold start and two listings take less."""
LOOKS = 60 * MONTH_HOURS
LOOK_SECONDS = 1.0
"""Assumed seconds of the look of every minute: one call of EC2, by a function that is warm."""
CALL_LOG_BYTES = 1000
"""Bytes that a call logs: a line of the watchdog's, and the three of Lambda's own."""
GB = 1e9

Uses = Iterable[tuple[float, Rate]]


@dataclass(frozen=True)
class ResourceCost:
    """The monthly cost of one resource in US dollars: after what is left of the account's free tier, and without a free tier."""

    kind: str
    name: str
    monthly: float
    without_free_tier: float


@dataclass(frozen=True)
class StandingCosts:
    """Of all things that are there, dearest first; those that cost nothing are in it too. Every price is approximate."""

    items: tuple[ResourceCost, ...]

    @property
    def monthly(self) -> float:
        return sum(item.monthly for item in self.items)

    @property
    def without_free_tier(self) -> float:
        return sum(item.without_free_tier for item in self.items)


def read(aws: Aws, now: datetime) -> StandingCosts:
    """The monthly costs of a lab."""
    resources = [leftover for leftover in leftovers.find(aws) if leftover.kind != "instance"]
    with ThreadPoolExecutor(8) as pool:
        used = list(pool.map(lambda leftover: list(USES[leftover.kind](aws, leftover, now)), resources))
    return price(list(zip(resources, used, strict=True)), _used_by_others(aws))


def of(aws: Aws, resources: Iterable[Leftover], now: datetime) -> StandingCosts:
    """The monthly costs of some resources, each with the whole free tier to itself."""
    return StandingCosts(
        tuple(item for leftover in resources for item in price([(leftover, USES[leftover.kind](aws, leftover, now))]).items)
    )


def words(costs: StandingCosts) -> str:
    """The costs in one sentence: the sum, and what most of it is where the free tier is used up."""
    named = [f"{cost.kind} {dollars(cost.without_free_tier)}" for cost in _by_kind(costs) if cost.without_free_tier >= CENT]
    full = f", {dollars(costs.without_free_tier)} where the account's free tier is used up: {', '.join(named)}" if named else ""
    return f"about {dollars(costs.monthly)} a month while nothing runs{full}"


def _by_kind(costs: StandingCosts) -> list[ResourceCost]:
    sums: dict[str, ResourceCost] = {}
    for cost in costs.items:
        before = sums.get(cost.kind, ResourceCost(cost.kind, "", 0.0, 0.0))
        sums[cost.kind] = ResourceCost(cost.kind, "", before.monthly + cost.monthly, before.without_free_tier + cost.without_free_tier)
    return sorted(sums.values(), key=lambda cost: -cost.without_free_tier)


def price(resources: Iterable[tuple[Leftover, Uses]], used: Mapping[Rate, float] | None = None) -> StandingCosts:
    """The costs of resources: the free tier, less what others have `used` of it, goes to those that come first."""
    taken = dict(used or {})
    items = []
    for leftover, uses in resources:
        monthly = full = 0.0
        for amount, rate in uses:
            free = min(amount, max(0.0, rate.free - taken.get(rate, 0.0)))
            taken[rate] = taken.get(rate, 0.0) + amount
            monthly += (amount - free) * rate.dollars
            full += amount * rate.dollars
        items.append(ResourceCost(leftover.kind, leftover.id, monthly, full))
    return StandingCosts(tuple(sorted(items, key=lambda item: (-item.without_free_tier, item.kind, item.name))))


def _used_by_others(aws: Aws) -> dict[Rate, float]:
    """Dashboards and alarms of the account that are not this lab's; what else it uses is not known."""
    client = aws.client("cloudwatch")
    dashboards = [
        dashboard["DashboardName"] for page in client.get_paginator("list_dashboards").paginate() for dashboard in page["DashboardEntries"]
    ]
    alarms = [alarm["AlarmName"] for page in client.get_paginator("describe_alarms").paginate() for alarm in page["MetricAlarms"]]
    return {
        rates.DASHBOARD: float(sum(name != aws.names.dashboard for name in dashboards)),
        rates.ALARM: float(sum(not name.startswith(f"{aws.lab}-") for name in alarms)),
    }


# ---------------------------------------------------------------- by kind


def _nothing(_aws: Aws, _leftover: Leftover, _now: datetime) -> Uses:
    return ()


def _each(rate: Rate) -> Callable[[Aws, Leftover, datetime], Uses]:
    return lambda _aws, _leftover, _now: ((1.0, rate),)


def _watchdog(_aws: Aws, _leftover: Leftover, _now: datetime) -> Uses:
    """A sweep lists the runs and those that ended; it measures nothing where no instance is. The look of every minute asks EC2 alone."""
    return (
        (SWEEPS + LOOKS, rates.INVOCATION),
        ((SWEEPS * SWEEP_SECONDS + LOOKS * LOOK_SECONDS) * MEMORY_MIB / 1024, rates.FUNCTION_SECOND),
        (2 * SWEEPS, rates.LIST_REQUEST),
        ((SWEEPS + LOOKS) * CALL_LOG_BYTES / GB, rates.LOG_INGESTED),
    )


def _log_group(aws: Aws, leftover: Leftover, _now: datetime) -> Uses:
    groups = aws.client("logs").describe_log_groups(logGroupNamePrefix=leftover.id)["logGroups"]
    return ((sum(group.get("storedBytes", 0) for group in groups if group["logGroupName"] == leftover.id) / GB, rates.LOG_STORED),)


def _bucket(aws: Aws, leftover: Leftover, now: datetime) -> Iterator[tuple[float, Rate]]:
    """S3 measures its buckets once a day, for nothing; a bucket younger than that has no size yet."""
    client = aws.client("cloudwatch")
    named: Any = {"Namespace": "AWS/S3", "MetricName": "BucketSizeBytes"}
    dimensions: Any = [{"Name": "BucketName", "Value": leftover.id}]
    for page in client.get_paginator("list_metrics").paginate(**named, Dimensions=dimensions):
        for metric in page["Metrics"]:
            kind = next((item["Value"] for item in metric["Dimensions"] if item["Name"] == "StorageType"), "")
            window = {"StartTime": now - timedelta(days=3), "EndTime": now, "Period": 86400, "Statistics": ["Average"]}
            points = client.get_metric_statistics(**named, Dimensions=metric["Dimensions"], **window)["Datapoints"]
            if points:
                newest = max(points, key=lambda point: point["Timestamp"])
                yield newest["Average"] / GB, rates.STORAGE.get(kind, rates.STORAGE["StandardStorage"])


def _images(aws: Aws, leftover: Leftover, _now: datetime) -> Uses:
    """Layers that images share are counted with each."""
    try:
        pages = aws.client("ecr").get_paginator("describe_images").paginate(repositoryName=leftover.id)
        return ((sum(image.get("imageSizeInBytes", 0) for page in pages for image in page["imageDetails"]) / GB, rates.IMAGE),)
    except NotFound:
        return ()


def _volume(aws: Aws, leftover: Leftover, _now: datetime) -> Uses:
    """A volume that is attached to no instance: the others go with theirs, and are counted with its run."""
    volumes = aws.ec2.describe_volumes(VolumeIds=[leftover.id])["Volumes"]
    return ((sum(volume["Size"] for volume in volumes if volume["State"] == "available"), rates.VOLUME),)


def _snapshot(aws: Aws, leftover: Leftover, _now: datetime) -> Uses:
    """The most that it can be: a snapshot is billed by the blocks it holds, which AWS does not tell."""
    return (
        (sum(snapshot["VolumeSize"] for snapshot in aws.ec2.describe_snapshots(SnapshotIds=[leftover.id])["Snapshots"]), rates.SNAPSHOT),
    )


USES: Mapping[str, Callable[[Aws, Leftover, datetime], Uses]] = {
    "VPC": _nothing,
    "subnet": _nothing,
    "internet gateway": _nothing,
    "route table": _nothing,
    "VPC endpoint": _nothing,  # a gateway endpoint
    "security group": _nothing,
    "network interface": _nothing,
    "launch template": _nothing,
    "spot request": _nothing,
    "role": _nothing,
    "instance profile": _nothing,
    "OIDC provider": _nothing,
    "budget": _nothing,  # one that takes no action
    "alert topic": _nothing,  # a thousand e-mails a month are free
    "event rule": _nothing,  # events of AWS's own services and of the clock are free
    "schedule group": _nothing,  # of an idle lab it holds no schedule
    "alarm": _each(rates.ALARM),
    "dashboard": _each(rates.DASHBOARD),
    "secret": _each(rates.SECRET),
    "elastic address": _each(rates.ADDRESS),
    "function": _watchdog,
    "log group": _log_group,
    "data bucket": _bucket,
    "outputs bucket": _bucket,
    "image repository": _images,
    "volume": _volume,
    "snapshot": _snapshot,
}
"""Every kind that `leftovers` knows, but for instances → what such a resource uses in a month."""

WITHIN = {
    "subnets": "subnet",
    "S3 endpoint": "VPC endpoint",
    "existing network": "VPC",
    "function permission": "function",
    "alert e-mail": "alert topic",
    "service-linked role": "role",
}
"""Kinds of the stack that AWS shows under another name, or that are part of something else."""
