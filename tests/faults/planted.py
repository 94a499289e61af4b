"""Bugs that a command may have, put into its clients: each must be caught by the laws of the faults."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.aws.session import Aws, AwsError
from llmlab.contract import PROJECT
from tests.conftest import REGION
from tests.faults.ways import Way

Method = Callable[..., Any]


@dataclass(frozen=True)
class Plant:
    """A bug: in which call of which service, the scenario and the broken call that show it, and what is said then."""

    service: str
    method: str
    bug: Callable[[Method], Method]
    scenario: str
    call: str
    way: Way
    said: str


class Client:
    """A client with one method that is not as it should be."""

    def __init__(self, client: Any, method: str, bug: Callable[[Method], Method]) -> None:
        self._client, self._method, self._bug = client, method, bug

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._bug(found) if name == self._method else found


class Buggy(Aws):
    """An `Aws` with a planted bug."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(REGION, lab=PROJECT)
        self.plant = plant

    def client(self, service: str, *, region: str | None = None, attempts: int = 5) -> Any:
        found = super().client(service, region=region, attempts=attempts)
        return Client(found, self.plant.method, self.plant.bug) if service == self.plant.service else found


def untagged(call: Method) -> Method:
    """A create that forgets its tags."""
    return lambda **asked: call(**{key: value for key, value in asked.items() if key not in {"TagSpecifications", "Tags"}})


def swallowed(call: Method) -> Method:
    """An error that nobody hears of."""

    def deaf(**asked: Any) -> Any:
        try:
            return call(**asked)
        except AwsError:
            return {}

    return deaf


def tokenless(call: Method) -> Method:
    """A call that is another one each time."""
    return lambda **asked: call(**{**asked, "ClientToken": str(uuid.uuid4())})


def forgetful(_call: Method) -> Method:
    """A delete that does not look at what there is to delete."""
    return lambda **_asked: {"TerminatingInstances": []}


PLANTS: Mapping[str, Plant] = {
    "a create without a tag": Plant(
        "iam", "create_role", untagged, "bootstrap", "iam:CreateRole", Way.KILLED_AFTER, "does not belong to this lab"
    ),
    "a swallowed error": Plant(
        "scheduler", "update_schedule", swallowed, "launch", "scheduler:UpdateSchedule", Way.THROTTLED, "is not aimed at it"
    ),
    "a call that is not idempotent": Plant("ec2", "create_fleet", tokenless, "launch", "ec2:CreateFleet", Way.LOST_ONCE, "has 2 instances"),
    "a delete that forgets what it contains": Plant(
        "ec2", "terminate_instances", forgetful, "launch", "scheduler:UpdateSchedule", Way.FAILED, "2 runs are left"
    ),
}
