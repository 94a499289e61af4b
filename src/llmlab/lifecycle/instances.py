"""The lab's instances as EC2 describes them: found by tag, never by a remembered id, and terminated.

`ec2` is boto3's EC2 client.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from llmlab.clock import Clock, wait_until
from llmlab.contract import Names, Tag, parse_number
from llmlab.lifecycle.billing import HOUR
from llmlab.lifecycle.create_fleet import VISIBLE_SECONDS
from llmlab.lifecycle.error_codes import error_code

LONGEST_HOURS = 168.0
"""The most that the setting `max_hours` can be."""
ALIVE = ("pending", "running", "stopping", "stopped")
"""States in which a second instance for the same run must not be started. `shutting-down` has no way back."""
TERMINATED_SECONDS = 900
"""GPU instances can take many minutes to terminate."""
MISSING = "InvalidInstanceID.NotFound"


@dataclass(frozen=True)
class Instance:
    """One instance of the lab.

    `state_reason` and `state_message` are EC2's StateReason, `ended` the time of its termination where EC2 tells it.
    """

    id: str
    instance_type: str
    zone: str
    state: str
    launched: datetime
    spot: bool = False
    state_reason: str = ""
    state_message: str = ""
    ended: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether it has yet to be terminated; one in `shutting-down` has not."""
        return self.state in ALIVE

    @property
    def run(self) -> str:
        """The run id in its tag, "" without one."""
        return self.tags.get(Tag.RUN, "")

    @property
    def attempt(self) -> int:
        return parse_number(self.tags.get(Tag.ATTEMPT, "")) or 0

    @property
    def keep(self) -> bool:
        """Whether the user asked for it to live until its deadline."""
        return Tag.KEEP in self.tags

    @property
    def deadline_tag(self) -> int | None:
        """The deadline in its tag, in seconds since 1970; None where there is none or it is no number."""
        return parse_number(self.tags.get(Tag.DEADLINE, ""))

    def deadline(self, max_hours: float) -> float:
        """When it must be terminated, in seconds since 1970: by its tag, or `max_hours` after its launch.

        Anybody who may tag instances can write the tag, so it is capped at the longest that a run may be given.
        """
        launched = self.launched.timestamp()
        wanted = float(self.deadline_tag or launched + max_hours * HOUR)
        return min(wanted, launched + max(max_hours, LONGEST_HOURS) * HOUR)


def find(ec2: Any, names: Names, *, run: str = "", instance: str = "") -> list[Instance]:
    """Find this lab's instances, also those just terminated, which EC2 shows for about an hour."""
    wanted = {**names.tags, **({str(Tag.RUN): run} if run else {})}
    filters = tag_filters(wanted)
    if instance:
        filters.append({"Name": "instance-id", "Values": [instance]})
    return [parse(item) for item in describe(ec2, filters)]


def tag_filters(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Filters of a Describe call of EC2: only what carries all of these tags."""
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def describe(ec2: Any, filters: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The instances that match the filters, as DescribeInstances returns them, page by page."""
    for page in ec2.get_paginator("describe_instances").paginate(Filters=filters):
        for reservation in page["Reservations"]:
            yield from reservation["Instances"]


def parse(item: Mapping[str, Any]) -> Instance:
    """Parse one instance of DescribeInstances, whatever its tags say: an error here would hide all other instances."""
    return Instance(
        id=item["InstanceId"],
        instance_type=item.get("InstanceType", ""),
        zone=item.get("Placement", {}).get("AvailabilityZone", ""),
        state=item["State"]["Name"],
        launched=item["LaunchTime"],
        spot=item.get("InstanceLifecycle") == "spot",
        state_reason=item.get("StateReason", {}).get("Code", ""),
        state_message=item.get("StateReason", {}).get("Message", ""),
        ended=_ended(item.get("StateTransitionReason", "")),
        tags={tag["Key"]: tag["Value"] for tag in item.get("Tags", [])},
    )


def _ended(text: str) -> datetime | None:
    """Parse the time in a StateTransitionReason such as `User initiated (2026-11-23 18:30:05 GMT)`; None without one."""
    match = re.search(r"\(([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}) (?:GMT|UTC)\)", text)
    try:
        return datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


def terminate(ec2: Any, ids: Sequence[str]) -> None:
    """Terminate instances; one that EC2 does not know any more is no error."""
    if not ids:
        return
    try:
        ec2.terminate_instances(InstanceIds=list(ids))
    except Exception as error:
        if error_code(error) != MISSING:
            raise
        for identity in ids if len(ids) > 1 else ():
            terminate(ec2, [identity])


def wait_shown(ec2: Any, identity: str, clock: Clock) -> bool:
    """Wait for EC2 to show an instance that was just started, which until then can be neither found nor terminated; whether it does."""
    filters = [{"Name": "instance-id", "Values": [identity]}]
    return wait_until(lambda: any(describe(ec2, filters)), clock, limit_seconds=VISIBLE_SECONDS, every_seconds=2)


def wait_terminated(ec2: Any, ids: Sequence[str], clock: Clock, limit_seconds: float = TERMINATED_SECONDS) -> bool:
    """Wait until all of them are gone; False when they are not within the limit.

    Those still alive are terminated again: EC2 may show a new instance, and a moment later not know it in TerminateInstances.
    """

    def gone() -> bool:
        states = _states(ec2, ids)
        terminate(ec2, [identity for identity, state in states.items() if state in ALIVE])
        return not states

    return wait_until(gone, clock, limit_seconds=limit_seconds, every_seconds=5)


def _states(ec2: Any, ids: Sequence[str]) -> dict[str, str]:
    """Id → state of those that are not terminated yet. A filter, unlike a list of ids, is no error when EC2 has forgotten them."""
    if not ids:
        return {}
    filters = [
        {"Name": "instance-id", "Values": list(ids)},
        {"Name": "instance-state-name", "Values": [*ALIVE, "shutting-down"]},
    ]
    return {item["InstanceId"]: item["State"]["Name"] for item in describe(ec2, filters)}
