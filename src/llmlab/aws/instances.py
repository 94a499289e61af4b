"""The instances of a lab: find them by their tags, never by a remembered id, and terminate them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab import contract
from llmlab.aws.session import Aws, NotFound
from llmlab.clock import Clock, wait_until
from llmlab.contract import Tag, parse_number
from llmlab.lifecycle.create_fleet import VISIBLE_SECONDS

ALIVE = ("pending", "running", "stopping", "stopped")
LIMIT_SECONDS = 900
"""GPU instances can take many minutes to terminate."""


@dataclass(frozen=True)
class Instance:
    """One instance as EC2 tells it. `run` is "" where the tag is missing, `deadline` in seconds since 1970, `why` EC2's reason."""

    id: str
    state: str
    run: str
    attempt: int
    instance_type: str
    zone: str
    spot: bool
    launched: datetime
    deadline: int | None = None
    keep: bool = False
    why: str = ""

    @property
    def alive(self) -> bool:
        """Whether it has yet to be terminated; one in `shutting-down` has not."""
        return self.state in ALIVE


def find(aws: Aws, run: str | None = None) -> list[Instance]:
    """Every instance of the lab that EC2 still shows, or of one run; also those that ended within the last hour, which it shows a while."""
    wanted: dict[str, str] = {str(Tag.PROJECT): contract.PROJECT, str(Tag.LAB): aws.lab}
    if run:
        wanted[str(Tag.RUN)] = run
    filters: Any = [{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]
    pages = aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)
    return [_read(item) for page in pages for reservation in page["Reservations"] for item in reservation["Instances"]]


def _read(item: Any) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
    return Instance(
        id=item["InstanceId"],
        state=item["State"]["Name"],
        run=tags.get(Tag.RUN, ""),
        attempt=parse_number(tags.get(Tag.ATTEMPT, "")) or 0,
        instance_type=item.get("InstanceType", ""),
        zone=item.get("Placement", {}).get("AvailabilityZone", ""),
        spot=item.get("InstanceLifecycle") == "spot",
        launched=item["LaunchTime"],
        deadline=parse_number(tags.get(Tag.DEADLINE, "")),
        keep=Tag.KEEP in tags,
        why=item.get("StateReason", {}).get("Code", ""),
    )


def terminate(aws: Aws, ids: Sequence[str]) -> None:
    """Terminate instances; one that is gone already is no error."""
    if not ids:
        return
    try:
        aws.ec2.terminate_instances(InstanceIds=list(ids))
    except NotFound:
        for identity in ids if len(ids) > 1 else ():
            terminate(aws, [identity])


def wait_shown(aws: Aws, identity: str, clock: Clock) -> bool:
    """Wait for EC2 to show an instance that was just started, which until then can be neither found nor terminated; whether it does."""
    filters: Any = [{"Name": "instance-id", "Values": [identity]}]
    return wait_until(
        lambda: bool(aws.ec2.describe_instances(Filters=filters)["Reservations"]), clock, limit_seconds=VISIBLE_SECONDS, every_seconds=2
    )


def wait_terminated(aws: Aws, ids: Sequence[str], clock: Clock, limit_seconds: float = LIMIT_SECONDS) -> bool:
    """Wait until all of them are gone; False when they are not within the limit.

    Those still alive are terminated again: EC2 may show a new instance, and a moment later not know it in TerminateInstances.
    """

    def gone() -> bool:
        states = _states(aws, ids)
        terminate(aws, [identity for identity, state in states.items() if state in ALIVE])
        return not states

    return wait_until(gone, clock, limit_seconds=limit_seconds, every_seconds=5)


def _states(aws: Aws, ids: Sequence[str]) -> dict[str, str]:
    """Id → state of those that are not terminated yet. A filter, unlike a list of ids, is no error when EC2 has forgotten them."""
    if not ids:
        return {}
    filters: Any = [
        {"Name": "instance-id", "Values": list(ids)},
        {"Name": "instance-state-name", "Values": [*ALIVE, "shutting-down"]},
    ]
    pages = aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)
    items = (item for page in pages for reservation in page["Reservations"] for item in reservation["Instances"])
    return {item["InstanceId"]: item["State"]["Name"] for item in items}
