"""The look of every minute: EC2 alone, each instance by itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmlab.clock import ManualClock
from llmlab.contract import PROJECT, Names
from llmlab.watchdog import overdue
from llmlab.watchdog.events import Overdue, parse

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NAMES = Names(PROJECT, "123456789012", "us-east-1")


class Ec2:
    """Shows instances, page by page, and notes which end. `stuck` are those that cannot be ended."""

    def __init__(self, *items: dict[str, Any], stuck: str = "") -> None:
        self.items, self.stuck = items, stuck
        self.ended: list[str] = []
        self.filters: Any = None

    def get_paginator(self, name: str) -> "Ec2":
        assert name == "describe_instances"
        return self

    def paginate(self, Filters: Any) -> Any:  # noqa: N803 - boto3's name
        self.filters = Filters
        return ({"Reservations": [{"Instances": [item]}]} for item in self.items)

    def terminate_instances(self, InstanceIds: list[str]) -> None:  # noqa: N803
        if InstanceIds == [self.stuck]:
            raise PermissionError(self.stuck)
        self.ended += InstanceIds


def instance(identity: str, deadline: Any = None, *, age_hours: float = 1) -> dict[str, Any]:
    tags = [] if deadline is None else [{"Key": "Deadline", "Value": str(deadline)}]
    launched = NOW - timedelta(hours=age_hours)
    return {"InstanceId": identity, "InstanceType": "g6.xlarge", "State": {"Name": "running"}, "LaunchTime": launched, "Tags": tags}


def look(ec2: Ec2) -> list[str]:
    said: list[str] = []
    overdue.look(ec2, NAMES, 6, ManualClock(NOW), lambda decision, **_: said.append(decision))
    return said


def test_what_is_past_its_deadline_ends_and_nothing_else() -> None:
    now = int(NOW.timestamp())
    ec2 = Ec2(instance("i-1", now), instance("i-2", now + 1), instance("i-3", age_hours=5.9), instance("i-4", age_hours=6))
    assert look(ec2) == ["terminated", "terminated"]
    assert ec2.ended == ["i-1", "i-4"]
    asked = {one["Name"]: one["Values"] for one in ec2.filters}
    assert asked == {
        "tag:Project": [PROJECT],
        "tag:Lab": [PROJECT],
        "instance-state-name": ["pending", "running", "stopped", "stopping"],
    }


@pytest.mark.parametrize("odd", ["²", "9" * 30, "never", "-5", ""])
def test_an_odd_tag_is_in_nobodys_way(odd: str) -> None:
    ec2 = Ec2(instance("i-1", odd, age_hours=7), instance("i-2", 1))
    look(ec2)
    assert ec2.ended == ["i-1", "i-2"]


def test_one_that_cannot_be_ended_is_in_nobodys_way_and_told() -> None:
    ec2 = Ec2(instance("i-1", 1), {"InstanceId": "i-2"}, instance("i-3", 1), stuck="i-1")
    with pytest.raises(PermissionError):
        look(ec2)
    assert ec2.ended == ["i-3"]


def test_the_event() -> None:
    assert isinstance(parse({"overdue": True}), Overdue)
