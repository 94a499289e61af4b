"""EC2: CreateFleet of type instant, implemented by RunInstances with the launch template's data, pool after pool.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instant-fleet.html
"""

import math
from dataclasses import dataclass
from typing import Any

from llmlab.sandbox import market
from llmlab.sandbox.catalogue import on_demand_price, spot_price
from llmlab.sandbox.completion import answer, fail
from llmlab.sandbox.completion_compute import join_tags, launch, remembered, template_data, with_template
from llmlab.sandbox.completion_lambda import now


@dataclass(frozen=True)
class Candidate:
    """One override of a fleet request: its pool, and the template and override that AWS repeats in its answer."""

    instance_type: str
    subnet: str | None
    zone: str
    priority: float
    override: dict[str, Any]
    template: dict[str, Any]
    data: dict[str, Any]

    def price(self, *, spot: bool) -> float:
        """The pool's price in US dollars an hour, to sort by; infinite without a price."""
        if spot:
            quote = spot_price(self.instance_type, self.zone, now())
            return quote[1] if quote else math.inf
        return on_demand_price(self.instance_type, self.zone[:-1]) or math.inf


def install() -> None:
    """Patch moto's CreateFleet; other types of fleet stay moto's."""
    from moto.ec2.responses import EC2Response

    original = EC2Response.create_fleet

    def create(self: Any, values: dict[str, Any]) -> Any:
        if values.get("Type") != "instant":
            return original(self)
        return remembered(self.ec2_backend, (values.get("ClientToken"), "fleet"), values, lambda: _create_fleet(self, values))

    answer(EC2Response, "CreateFleet", create)


def _create_fleet(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    from moto.ec2.utils import random_fleet_id

    if values.get("DryRun"):
        raise fail("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    fleet = random_fleet_id()
    target = values["TargetCapacitySpecification"]
    total = int(target["TotalTargetCapacity"])
    default_spot = target.get("DefaultTargetCapacityType", "on-demand") == market.SPOT
    spot_count = int(target.get("SpotTargetCapacity", total if default_spot else 0))
    on_demand_count = int(target.get("OnDemandTargetCapacity", 0 if default_spot else total - spot_count))
    candidates = _candidates(self.ec2_backend, values["LaunchTemplateConfigs"])
    instances: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for count, spot, options in (
        (on_demand_count, False, values.get("OnDemandOptions", {})),
        (spot_count, True, values.get("SpotOptions", {})),
    ):
        if count:
            ordered = _order(candidates, options.get("AllocationStrategy", "lowest-price"), spot=spot)
            _fill(self, fleet, ordered, count, values, instances, errors, spot=spot)
    return {"FleetId": fleet, "Instances": instances, "Errors": errors}


def _candidates(backend: Any, configs: list[dict[str, Any]]) -> list[Candidate]:
    candidates = []
    for config in configs:
        specification = config["LaunchTemplateSpecification"]
        version = backend._get_template_from_args(specification)
        template = {"LaunchTemplateId": version.template.id, "Version": str(version.number)}
        data = template_data(version)
        for override in config.get("Overrides") or [{}]:
            kind = override.get("InstanceType") or data.get("InstanceType")
            if not kind:
                raise fail("MissingParameter", "The request must contain the parameter InstanceType")
            subnets = str(override.get("SubnetId") or "").split(",")
            for subnet in subnets:
                zone = (
                    backend.get_subnet(subnet).availability_zone
                    if subnet
                    else override.get("AvailabilityZone") or f"{backend.region_name}a"
                )
                candidates.append(Candidate(kind, subnet or None, zone, float(override.get("Priority", 1e9)), override, template, data))
    return candidates


def _order(candidates: list[Candidate], strategy: str, *, spot: bool) -> list[Candidate]:
    """The candidates cheapest first, or by priority; whether a pool has capacity shows only when it is tried."""
    if strategy in {"prioritized", "capacity-optimized-prioritized"}:
        return sorted(candidates, key=lambda candidate: candidate.priority)
    return sorted(candidates, key=lambda candidate: candidate.price(spot=spot))


def _fill(
    self: Any, fleet: str, ordered: list[Candidate], count: int, values: dict[str, Any],
    instances: list[dict[str, Any]], errors: list[dict[str, Any]], *, spot: bool,
) -> None:  # fmt: skip
    from moto.core.exceptions import ServiceException

    lifecycle = market.SPOT if spot else market.ON_DEMAND
    for candidate in ordered:
        request = _request(self.ec2_backend, candidate, fleet, count, values, spot=spot)
        tried = {"LaunchTemplateSpecification": candidate.template, "Overrides": candidate.override}
        try:
            result = launch(self, request, candidate.zone)
        except ServiceException as error:
            facts = {"ErrorCode": error.code, "ErrorMessage": error.message, "Lifecycle": lifecycle, "LaunchTemplateAndOverrides": tried}
            errors.append(facts)
            continue
        identities = [instance.id for instance in result.result.instances]
        instances.append(
            {
                "LaunchTemplateAndOverrides": tried,
                "Lifecycle": lifecycle,
                "InstanceIds": identities,
                "InstanceType": candidate.instance_type,
            }
        )
        return


def _request(backend: Any, candidate: Candidate, fleet: str, count: int, values: dict[str, Any], *, spot: bool) -> dict[str, Any]:
    """The RunInstances parameters of one pool."""
    specifications = [item for item in values.get("TagSpecifications", []) if item["ResourceType"] != "fleet"]
    own = {"ResourceType": "instance", "Tags": [{"Key": "aws:ec2:fleet-id", "Value": fleet}]}
    override: dict[str, Any] = {key: candidate.override[key] for key in ("ImageId", "BlockDeviceMappings") if key in candidate.override}
    request: dict[str, Any] = {
        **candidate.data,
        **override,
        "InstanceType": candidate.instance_type,
        "MinCount": count,
        "MaxCount": count,
        "TagSpecifications": join_tags(candidate.data.get("TagSpecifications", []), [*specifications, own]),
    }
    if candidate.subnet:
        request["SubnetId"] = candidate.subnet
    else:
        request["Placement"] = {**request.get("Placement", {}), "AvailabilityZone": candidate.zone}
    request.pop("InstanceMarketOptions", None)
    if spot:
        request["InstanceMarketOptions"] = {"MarketType": market.SPOT}
    return {**with_template(backend, request), "LaunchTemplate": candidate.template}
