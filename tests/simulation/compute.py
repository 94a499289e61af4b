"""EC2 in memory: fleets of type instant with the capacity of spot traces, client tokens, tags, states, and spot prices."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from llmlab.contract import Names, Pool
from tests.simulation.failure import failure
from tests.simulation.timeline import Timeline
from tests.simulation.traces import SpotTraces

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}
SHOWN_SECONDS = 3600.0
"""Seconds for which EC2 shows a terminated instance."""


@dataclass
class SimulatedInstance:
    """One simulated instance. Moments in seconds since 1970."""

    id: str
    instance_type: str
    zone: str
    subnet: str
    spot: bool
    launched: float
    tags: dict[str, str]
    state: str = "pending"
    cause: str = ""
    words: str = ""
    """EC2's StateTransitionReason."""
    gone: float | None = None
    visible: float = 0.0


@dataclass
class Compute:
    """EC2's calls. `launched` and `ended` are callbacks to the simulator, which sets the states that follow by `turn`."""

    timeline: Timeline
    market: SpotTraces
    pools: Iterable[Pool]
    names: Names
    launched: Callable[[SimulatedInstance], None] = lambda _: None
    ended: Callable[[str], None] = lambda _: None
    instances: dict[str, SimulatedInstance] = field(default_factory=dict)
    _answers: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    # ------------------------------------------------------------ as boto3 has it

    def create_fleet(self, **request: Any) -> dict[str, Any]:
        """Launch a fleet; the same answer again for a known client token, an error when the rest of the request differs.

        https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
        """
        token, serialized = request["ClientToken"], json.dumps(request, sort_keys=True)
        if token in self._answers:
            before, answer = self._answers[token]
            if before != serialized:
                raise failure("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent.", "CreateFleet")
            return answer
        answer = self._fill(request)
        self._answers[token] = (serialized, answer)
        return answer

    def _fill(self, request: Mapping[str, Any]) -> dict[str, Any]:
        spot = request["TargetCapacitySpecification"]["DefaultTargetCapacityType"] == "spot"
        zones = {pool.subnet: pool.zone for pool in self.pools}
        overrides = [(override, zones[override["SubnetId"]]) for override in request["LaunchTemplateConfigs"][0]["Overrides"]]
        now = self.timeline.moment

        def rank(item: tuple[Mapping[str, Any], str]) -> float:
            override, zone = item
            if spot:
                return self.market.trace(override["InstanceType"], zone).price(now, spot=True)
            return float(override["Priority"])

        tags = {
            tag["Key"]: tag["Value"] for kind in request["TagSpecifications"] if kind["ResourceType"] == "instance" for tag in kind["Tags"]
        }
        errors: list[dict[str, Any]] = []
        for override, zone in sorted(overrides, key=rank):
            tried = {"Overrides": dict(override)}
            if not self.market.trace(override["InstanceType"], zone).open(now, spot=spot):
                errors.append(
                    {"ErrorCode": "InsufficientInstanceCapacity", "ErrorMessage": "no capacity", "LaunchTemplateAndOverrides": tried}
                )
                continue
            instance = self._launch(override, zone, tags, spot=spot)
            fleet_instance = {"InstanceIds": [instance.id], "InstanceType": instance.instance_type, "LaunchTemplateAndOverrides": tried}
            return {"Instances": [fleet_instance], "Errors": errors}
        return {"Instances": [], "Errors": errors}

    def _launch(self, override: Mapping[str, Any], zone: str, tags: Mapping[str, str], *, spot: bool) -> SimulatedInstance:
        identity = f"i-{len(self.instances) + 1:017x}"
        moment = float(int(self.timeline.moment))  # EC2's LaunchTime is exact to the second
        instance = SimulatedInstance(identity, override["InstanceType"], zone, override["SubnetId"], spot, moment, dict(tags))
        self.instances[identity] = instance
        self.launched(instance)
        return instance

    def describe_instances(self, *, Filters: Iterable[Mapping[str, Any]] = (), InstanceIds: Iterable[str] = (), **_: Any) -> dict[str, Any]:  # noqa: N803
        now, wanted = self.timeline.moment, list(InstanceIds)
        shown = [
            instance
            for instance in self.instances.values()
            if instance.visible <= now
            and (instance.gone is None or now < instance.gone + SHOWN_SECONDS)
            and (not wanted or instance.id in wanted)
            and all(_matches(instance, item["Name"], item["Values"]) for item in Filters)
        ]
        return {"Reservations": [{"Instances": [_describe(instance)]} for instance in shown]}

    def terminate_instances(self, *, InstanceIds: Iterable[str], **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        for identity in InstanceIds:
            if identity not in self.instances:
                raise failure("InvalidInstanceID.NotFound", f"The instance ID '{identity}' does not exist", "TerminateInstances")
        for identity in InstanceIds:
            self.ended(identity)
        return {}

    def describe_spot_price_history(
        self, *, InstanceTypes: Iterable[str] = (), AvailabilityZone: str = "", StartTime: datetime | None = None,  # noqa: N803
        EndTime: datetime | None = None, Filters: Iterable[Mapping[str, Any]] = (), **_: Any,  # noqa: N803
    ) -> dict[str, Any]:  # fmt: skip
        """The spot prices: the one in force at StartTime, and each change since, newest first."""
        filters = {item["Name"]: item["Values"] for item in Filters}
        types = list(InstanceTypes) or filters.get("instance-type", [])
        zones = [AvailabilityZone] if AvailabilityZone else filters.get("availability-zone", [])
        now = self.timeline.moment
        start, end = (StartTime.timestamp() if StartTime else now), min(now, EndTime.timestamp() if EndTime else now)
        history = []
        for trace in self.market.traces.values():
            if (types and trace.instance_type not in types) or (zones and trace.zone not in zones):
                continue
            first = trace.point(start)[0]
            history += [
                {
                    "InstanceType": trace.instance_type, "AvailabilityZone": trace.zone, "SpotPrice": f"{price:.6f}",
                    "Timestamp": datetime.fromtimestamp(moment, UTC), "ProductDescription": "Linux/UNIX",
                }
                for moment, price in trace.prices
                if first <= moment <= end
            ]  # fmt: skip
        return {"SpotPriceHistory": sorted(history, key=lambda point: point["Timestamp"], reverse=True), "NextToken": ""}

    # ------------------------------------------------------------ the world's side

    def turn(self, identity: str, state: str, cause: str = "", words: str = "") -> None:
        """Change the state of an instance."""
        instance = self.instances[identity]
        instance.state = state
        if cause:
            instance.cause, instance.words = cause, words
        if state == "terminated":
            instance.gone = self.timeline.moment


def _matches(instance: SimulatedInstance, name: str, values: Collection[str]) -> bool:
    if name.startswith("tag:"):
        return instance.tags.get(name.removeprefix("tag:")) in values
    return {"instance-id": instance.id, "instance-state-name": instance.state}[name] in values


def _describe(instance: SimulatedInstance) -> dict[str, Any]:
    described: dict[str, Any] = {
        "InstanceId": instance.id,
        "InstanceType": instance.instance_type,
        "Placement": {"AvailabilityZone": instance.zone},
        "SubnetId": instance.subnet,
        "State": {"Name": instance.state, "Code": CODES[instance.state]},
        "LaunchTime": datetime.fromtimestamp(instance.launched, UTC),
        "StateTransitionReason": instance.words,
        "Tags": [{"Key": key, "Value": value} for key, value in instance.tags.items()],
    }
    if instance.spot:
        described["InstanceLifecycle"] = "spot"
    if instance.cause:
        described["StateReason"] = {"Code": instance.cause, "Message": instance.cause}
    return described
