"""The lab's instances as EC2 describes them, found by tag and never by a remembered id."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from llmlab.contract import Names, Tag, parse_number
from llmlab.lifecycle import billing

LONGEST_HOURS = 168.0
"""The most that the setting `max_hours` can be."""
LIVE = {"pending", "running", "stopping", "stopped"}
"""States in which a second instance for the same run must not be started. `shutting-down` has no way back."""


@dataclass(frozen=True)
class LabInstance:
    """An EC2 instance of the lab. `cause` and `says` are EC2's StateReason code and message; `ended` is its termination time, if known."""

    id: str
    instance_type: str
    zone: str
    state: str
    launched: datetime
    spot: bool = False
    cause: str = ""
    says: str = ""
    ended: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def run(self) -> str:
        return self.tags.get(Tag.RUN, "")

    @property
    def attempt(self) -> int:
        return parse_number(self.tags.get(Tag.ATTEMPT, "")) or 0

    @property
    def kept(self) -> bool:
        """Whether the user asked for it to live until its deadline."""
        return Tag.KEEP in self.tags

    def deadline(self, max_hours: float) -> float:
        """When the instance must be terminated, in seconds since 1970: by its tag, or `max_hours` after its launch.

        Anybody who may tag instances can write the tag, so it is capped at the longest that a run may be given.
        """
        launched = self.launched.timestamp()
        wanted = float(parse_number(self.tags.get(Tag.DEADLINE, "")) or launched + max_hours * billing.HOUR)
        return min(wanted, launched + max(max_hours, LONGEST_HOURS) * billing.HOUR)


def find(ec2: Any, names: Names, *, run: str = "", instance: str = "") -> list[LabInstance]:
    """Find this lab's instances, also those just terminated, which EC2 shows for about an hour."""
    wanted = {**names.tags, **({str(Tag.RUN): run} if run else {})}
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]
    if instance:
        filters.append({"Name": "instance-id", "Values": [instance]})
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    return [read(item) for page in pages for reservation in page["Reservations"] for item in reservation["Instances"]]


def read(item: Mapping[str, Any]) -> LabInstance:
    """Parse one instance of DescribeInstances, whatever its tags say: an error here would hide all other instances."""
    return LabInstance(
        id=item["InstanceId"],
        instance_type=item.get("InstanceType", ""),
        zone=item.get("Placement", {}).get("AvailabilityZone", ""),
        state=item["State"]["Name"],
        launched=item["LaunchTime"],
        spot=item.get("InstanceLifecycle") == "spot",
        cause=item.get("StateReason", {}).get("Code", ""),
        says=item.get("StateReason", {}).get("Message", ""),
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
