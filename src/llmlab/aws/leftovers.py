"""The resources of a lab that AWS still shows: each kind looked up on its own, by tag or by name and tag, never by what a lab should have.

This is the second opinion after a teardown: it finds what a wrong list, a crash or somebody's hand has left. The caller passes the classes
of the resources that a lab may have, and each class looks for its own; what runs and users make beside them is looked for here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Protocol

from llmlab.aws import rates, retired, secrets
from llmlab.aws.launch_template import LaunchTemplate
from llmlab.aws.owned import AwsResource, Leftover, tagged
from llmlab.aws.rates import Rate, Uses
from llmlab.aws.schedule_group import ScheduleGroup
from llmlab.aws.security_group import SecurityGroup
from llmlab.aws.session import Aws, NotFound
from llmlab.lifecycle import instances


class Kind(Protocol):
    """A kind of things that a lab may have left: a class of resources, or one of `BESIDE`."""

    def find_leftovers(self, aws: Aws, /) -> Iterable[Leftover]: ...

    def idle_cost(self, aws: Aws, leftover: Leftover, now: datetime, /) -> Uses: ...


LeftoverOfKind = tuple[Kind, Leftover]
"""Something that is left, and its kind, which knows what it costs."""


def find(aws: Aws, resources: Sequence[type[AwsResource]]) -> list[Leftover]:
    """Everything of the lab's, in the order of kinds, looked up in parallel. What is shared with the account is left out."""
    return [leftover for _, leftover in find_with_kinds(aws, resources)]


def find_with_kinds(aws: Aws, resources: Sequence[type[AwsResource]]) -> list[LeftoverOfKind]:
    """What `find` finds, each with its kind."""
    aws.names  # noqa: B018 - looked up once, before the threads need it
    with ThreadPoolExecutor(16) as pool:
        return list(chain.from_iterable(pool.map(partial(_ask, aws), _kinds(resources))))


def _kinds(resources: Sequence[type[AwsResource]]) -> list[Kind]:
    beside = dict(BESIDE)
    kinds: list[Kind] = []
    for resource in resources:
        kinds += [resource, *beside.pop(resource, ())]
    return [*kinds, *chain.from_iterable(beside.values()), *retired.KINDS]


def _ask(aws: Aws, kind: Kind) -> list[LeftoverOfKind]:
    """What is left of a kind; asked again when a resource vanished between being listed and being described."""
    try:
        remaining = list(kind.find_leftovers(aws))
    except NotFound:
        remaining = list(kind.find_leftovers(aws))
    return [(kind, leftover) for leftover in remaining]


def idle(aws: Aws) -> list[LeftoverOfKind]:
    """Disks, network interfaces, snapshots and addresses of ours that belong to no machine, and cost money or block a teardown."""
    available = {"Name": "status", "Values": ["available"]}
    return [
        *((VOLUMES, volume) for volume in _volumes(aws, available)),
        *((INTERFACES, interface) for interface in _interfaces(aws, available)),
        *((SNAPSHOTS, snapshot) for snapshot in _snapshots(aws)),
        *((ADDRESSES, address) for address in _addresses(aws)),
    ]


# ---------------------------------------------------------------- what is no resource of the list


def _volumes(aws: Aws, *filters: Any) -> Iterable[Leftover]:
    command = "aws ec2 delete-volume --volume-id {id} --region {region}"
    return tagged(aws, "volume", "describe_volumes", "Volumes", "VolumeId", *filters, command=command)


def _volume_use(aws: Aws, leftover: Leftover, _now: datetime) -> Uses:
    """Only of a volume that is attached to no instance: the others go with theirs, and are counted with its run."""
    volumes = aws.ec2.describe_volumes(VolumeIds=[leftover.id])["Volumes"]
    return ((sum(volume["Size"] for volume in volumes if volume["State"] == "available"), rates.VOLUME),)


def _snapshots(aws: Aws) -> Iterable[Leftover]:
    """Asked for as this account's own, or EC2 looks through everybody's public ones."""
    command = "aws ec2 delete-snapshot --snapshot-id {id} --region {region}"
    return tagged(aws, "snapshot", "describe_snapshots", "Snapshots", "SnapshotId", command=command, OwnerIds=["self"])


def _snapshot_use(aws: Aws, leftover: Leftover, _now: datetime) -> Uses:
    """The most that it can be: a snapshot is billed by the blocks it holds, which AWS does not tell."""
    snapshots = aws.ec2.describe_snapshots(SnapshotIds=[leftover.id])["Snapshots"]
    return ((sum(snapshot["VolumeSize"] for snapshot in snapshots), rates.SNAPSHOT),)


def _interfaces(aws: Aws, *filters: Any) -> Iterable[Leftover]:
    command = "aws ec2 delete-network-interface --network-interface-id {id} --region {region}"
    described = ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId")
    return tagged(aws, "network interface", *described, *filters, command=command)


def _spot_requests(aws: Aws) -> Iterable[Leftover]:
    command = "aws ec2 cancel-spot-instance-requests --spot-instance-request-ids {id} --region {region}"
    described = ("describe_spot_instance_requests", "SpotInstanceRequests", "SpotInstanceRequestId")
    return tagged(aws, "spot request", *described, command=command)


def _instances(aws: Aws) -> Iterator[Leftover]:
    for instance in instances.find(aws.ec2, aws.names):
        if instance.alive or instance.state == "shutting-down":
            command = f"aws ec2 terminate-instances --instance-ids {instance.id} --region {aws.region}"
            yield Leftover("instance", instance.id, command=command)


def _addresses(aws: Aws) -> Iterator[Leftover]:
    """Elastic addresses: nothing here makes one, but each costs, in use or not."""
    filters: Any = instances.tag_filters(aws.names.tags)
    for address in aws.ec2.describe_addresses(Filters=filters)["Addresses"]:
        identity = address["AllocationId"]
        command = f"aws ec2 release-address --allocation-id {identity} --region {aws.region}"
        yield Leftover("elastic address", identity, command=command)


def _secrets(aws: Aws) -> Iterator[Leftover]:
    for secret in secrets.find(aws):
        yield Leftover("secret", aws.names.secret(secret.name), command=f"llmlab secret remove {secret.name}")


def _nothing(_aws: Aws, _leftover: Leftover, _now: datetime) -> Uses:
    return ()


def _each(rate: Rate) -> Callable[[Aws, Leftover, datetime], Uses]:
    return lambda _aws, _leftover, _now: ((1.0, rate),)


@dataclass(frozen=True)
class MadeByRuns:
    """A kind of things that runs and users make, with the same two methods as a class of resources."""

    find_leftovers: Callable[[Aws], Iterable[Leftover]]
    idle_cost: Callable[[Aws, Leftover, datetime], Uses] = _nothing


VOLUMES = MadeByRuns(_volumes, _volume_use)
SNAPSHOTS = MadeByRuns(_snapshots, _snapshot_use)
INTERFACES = MadeByRuns(_interfaces)
SPOT_REQUESTS = MadeByRuns(_spot_requests)
INSTANCES = MadeByRuns(_instances)
"""No part of what a lab costs while nothing runs."""
ADDRESSES = MadeByRuns(_addresses, _each(rates.ADDRESS))
SECRETS = MadeByRuns(_secrets, _each(rates.SECRET))
BESIDE: Mapping[type[AwsResource], tuple[Kind, ...]] = {
    SecurityGroup: (VOLUMES, SNAPSHOTS, INTERFACES),
    LaunchTemplate: (SPOT_REQUESTS, INSTANCES, ADDRESSES),
    ScheduleGroup: (SECRETS,),
}
"""A class of resources → the kinds that are listed after it. Where that class is not passed, they are listed last."""
