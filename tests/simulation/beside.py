"""Two accounts at once: what is asked of the one in memory is asked of the sandbox's own AWS too, and the answers are compared."""

import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from llmlab.contract import Names
from tests.simulation.cloud import Cloud, MemoryCloud, Schedule
from tests.simulation.compute import Compute, SimulatedInstance
from tests.simulation.moto_cloud import MotoCloud
from tests.simulation.scenario import Scenario
from tests.simulation.timeline import Timeline

OWN = {"VersionId", "MessageId", "NextToken", "NextContinuationToken", "ErrorMessage", "Message", "SubnetId", "LaunchTemplateSpecification"}
"""Members whose values are each account's own, or words."""
UNORDERED = {"Reservations": lambda one: one["Instances"][0]["InstanceId"]}


@dataclass
class Seen:
    """How many answers were compared, by call and by error, and which were not the same."""

    calls: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


class Beside:
    """The schedule is played on the account in memory; the other one answers beside it."""

    def __init__(self, timeline: Timeline, scenario: Scenario, names: Names, seen: Seen) -> None:
        self.ours = MemoryCloud(Compute(timeline, scenario.market, scenario.pools, names))
        self.theirs = MotoCloud(timeline, scenario, names)
        self.seen = seen
        self.versions: dict[tuple[str, str], str] = {}
        """What the other account calls a version of a key."""

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        body: Any = parameters.get("Body")
        if hasattr(body, "read"):
            parameters = {**parameters, "Body": body.read()}
        ours, theirs = outcome(self.ours, service, method, parameters), outcome(self.theirs, service, method, self._theirs(parameters))
        self._learn(ours, theirs)
        self.seen.calls[f"{service}:{method}"] += 1
        if isinstance(ours, ClientError):
            self.seen.errors[ours.response["Error"]["Code"]] += 1
        if (difference := differs(plain(ours), plain(theirs))) and len(self.seen.differences) < 20:
            self.seen.differences.append(f"{service}:{method} {parameters}: {difference}")
        if isinstance(ours, ClientError):
            raise ours
        return ours

    def _theirs(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """A call with the other account's names of versions."""
        if "Delete" not in parameters:
            return parameters
        objects = [{**one, "VersionId": self.versions[one["Key"], one["VersionId"]]} for one in parameters["Delete"]["Objects"]]
        return {**parameters, "Delete": {**parameters["Delete"], "Objects": objects}}

    def _learn(self, ours: Any, theirs: Any) -> None:
        """Both list the versions of a key in the same order."""
        for name in ("Versions", "DeleteMarkers"):
            if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
                for one, other in zip(ours.get(name, []), theirs.get(name, []), strict=False):
                    self.versions[one["Key"], one["VersionId"]] = other["VersionId"]

    def listen(self, launched: Callable[[SimulatedInstance], None], ended: Callable[[str], None]) -> None:
        """The world hears of each launch from the one in memory; how long it is hidden holds for both."""
        self.ours.listen(launched, ended)

        def hide(instance: SimulatedInstance) -> None:
            instance.visible = self.ours.compute.instances[instance.id].visible

        self.theirs.listen(hide, lambda _: None)

    def turn(self, identity: str, state: str, cause: str = "", words: str = "") -> None:
        self.ours.turn(identity, state, cause, words)
        self.theirs.turn(identity, state, cause, words)

    def schedules(self) -> dict[str, Schedule]:
        ours = self.ours.schedules()
        if ours != self.theirs.schedules():
            self.seen.differences.append(f"schedules {ours} and {self.theirs.schedules()}")
        return ours

    def drop(self, schedule: str) -> None:
        self.ours.drop(schedule)
        self.theirs.drop(schedule)

    def body(self, bucket: str, key: str) -> bytes | None:
        return self.ours.body(bucket, key)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        return self.ours.keys(bucket, prefix)

    def messages(self) -> list[tuple[str, str]]:
        ours = self.ours.messages()
        if ours != self.theirs.messages():
            self.seen.differences.append("the topic was told other things")
        return ours

    def close(self) -> None:
        self.theirs.close()


def outcome(cloud: Cloud, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
    try:
        return cloud.call(service, method, parameters)
    except ClientError as error:
        return error


def plain(answer: Any, name: str = "") -> Any:
    """An answer that can be compared: errors by their code, bodies as bytes, what is each account's own left out."""
    if isinstance(answer, ClientError):
        return {"error": answer.response["Error"]["Code"]}
    if isinstance(answer, datetime):
        return answer.timestamp()
    if hasattr(answer, "read"):
        body = answer.read()
        if isinstance(answer, io.BytesIO):
            answer.seek(0)  # ours goes on to the program
        return body
    if isinstance(answer, Mapping):
        return {key: plain(item, key) for key, item in answer.items() if key not in OWN}
    if isinstance(answer, list):
        found = sorted(answer, key=UNORDERED[name]) if name in UNORDERED else answer
        return sorted((plain(item) for item in found), key=repr) if name == "Tags" else [plain(item) for item in found]
    return answer


def differs(ours: Any, theirs: Any, path: str = "") -> str:
    """The first member of the answer in memory that the other one has not, or has otherwise; "" when there is none."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.get("error") != theirs.get("error"):
            return f"{ours.get('error')} and {theirs.get('error')}"
        found = (differs(value, theirs.get(key), f"{path}.{key}") for key, value in ours.items())
        return next((one for one in found if one), "")
    if path.endswith(".Tags"):
        return next((f"{path}: {tag}" for tag in ours if tag not in theirs), "")
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        found = (differs(one, other, f"{path}[]") for one, other in zip(ours, theirs, strict=True))
        return next((one for one in found if one), "")
    return "" if ours == theirs or (ours in ([], "") and theirs in (None, [], "")) else f"{path}: {ours!r} and {theirs!r}"
