"""EC2: launches as AWS carries them out (template data, client token, capacity, quotas, limits), Deep Learning AMIs, spot prices."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from llmlab.sandbox import market
from llmlab.sandbox.catalogue import SPOT_STEP, spot_price
from llmlab.sandbox.completion import answer, fail, kept, parameters, replace_parameters
from llmlab.sandbox.completion_delays import note
from llmlab.sandbox.completion_lambda import now
from llmlab.sandbox.refusals import checking
from llmlab.sandbox.refusals.switch import holds

IMAGE_OWNER = "898082745236"
UBUNTU = ("22.04", "24.04", "26.04")
ROOT_GIB = 65
SMALL_ROOT_GIB = 35
LAUNCHED: list[Callable[[Any], None]] = []
"""Callbacks for each new moto instance: the machine room subscribes here."""
TERMINATE: list[Callable[[Any, list[str]], dict[str, Any]]] = []
"""When set, answers TerminateInstances (EC2 backend, instance ids) in moto's place, because shutting down takes time."""


def install() -> None:
    """Patch moto's EC2."""
    from moto import settings
    from moto.ec2.models import amis
    from moto.ec2.responses import EC2Response

    settings.ENABLE_AMI_VALIDATION = True
    settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
    amis.AmiBackend._load_amis = _load_amis
    amis.Ami.block_device_mappings = property(_root_device)
    run_instances = EC2Response.run_instances
    terminate_instances = EC2Response.terminate_instances
    create_template = EC2Response.create_launch_template
    answer(EC2Response, "RunInstances", lambda self, values: _run_instances(self, values, run_instances))
    answer(EC2Response, "TerminateInstances", lambda self, values: _terminate_instances(self, values, terminate_instances))
    answer(EC2Response, "CreateLaunchTemplate", lambda self, _: _create_template(self, create_template))
    answer(EC2Response, "DescribeSpotPriceHistory", _spot_price_history)
    answer(EC2Response, "GetEbsDefaultKmsKeyId", lambda self, _: {"KmsKeyId": _disk_key(self.ec2_backend)})
    answer(EC2Response, "GetSpotPlacementScores", _placement_scores)


AWS_DISK_KEY = "alias/aws/ebs"


def _disk_key(backend: Any) -> str:
    """The default KMS key for disks: AWS's own by its alias, also after moto created it for an encrypted disk; the account's by its ARN.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetEbsDefaultKmsKeyId.html
    """
    from moto.kms import kms_backends

    key: str = backend.default_kms_key_id
    keys = kms_backends[backend.account_id][backend.region_name]
    own = keys.alias_exists(AWS_DISK_KEY) and keys.describe_key(AWS_DISK_KEY).arn == key
    return AWS_DISK_KEY if own or not key else key


# ---------------------------------------------------------------- launches


def _run_instances(self: Any, values: dict[str, Any], original: Callable[[Any], Any]) -> Any:
    merged = with_template(self.ec2_backend, values)
    subnet = merged.get("SubnetId") or next(
        (interface["SubnetId"] for interface in merged.get("NetworkInterfaces", []) if "SubnetId" in interface), None
    )
    zone = self.ec2_backend.get_subnet(subnet).availability_zone if subnet else merged.get("Placement", {}).get("AvailabilityZone")
    token = (values.get("ClientToken"), zone if subnet else "")
    return remembered(self.ec2_backend, token, values, lambda: launch(self, merged, zone, original))


def remembered(backend: Any, token: tuple[Any, ...], values: dict[str, Any], make: Callable[[], Any]) -> Any:
    """Answer a call idempotently by its client token: the same answer for the same parameters, an error for other ones.

    https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
    """
    if not token[0]:
        return make()
    request = json.dumps(values, sort_keys=True, default=str)
    answers = kept(backend, "tokens")
    if token in answers:
        before, result = answers[token]
        if before != request:
            raise checking.refused("client-token-with-other-parameters")
        return result
    result = make()
    answers[token] = (request, result)
    return result


def launch(self: Any, values: dict[str, Any], zone: str | None, original: Callable[[Any], Any] | None = None) -> Any:
    """Run instances from complete parameters; returns moto's result, whose `.result` is the reservation."""
    return checking.launched(self, values, lambda: _launch(self, values, zone, original))


def _launch(self: Any, values: dict[str, Any], zone: str | None, original: Callable[[Any], Any] | None) -> Any:
    spot = values.get("InstanceMarketOptions", {}).get("MarketType") == market.SPOT
    instance_type = values.get("InstanceType", "m1.small")
    market.check_pool(
        self.ec2_backend, instance_type, zone or _any_zone(self.ec2_backend, instance_type), market.SPOT if spot else market.ON_DEMAND
    )
    replace_parameters(self, {key: value for key, value in values.items() if key != "LaunchTemplate"})
    result = (original or _original_run_instances())(self)
    for instance in result.result.instances:
        note(instance)
        _finish(instance, values, spot=spot)
    for instance in result.result.instances:
        for listener in LAUNCHED:
            listener(instance)
    return result


def _original_run_instances() -> Callable[[Any], Any]:
    from moto.ec2.responses.instances import InstanceResponse

    run: Callable[[Any], Any] = InstanceResponse.run_instances
    return run


def _any_zone(backend: Any, instance_type: str) -> str:
    return min(
        (zone for zone, types in market.offered(backend.region_name).items() if instance_type in types), default=f"{backend.region_name}a"
    )


def _finish(instance: Any, values: dict[str, Any], *, spot: bool) -> None:
    """Set the attributes of an instance that moto's RunInstances leaves out."""
    from moto.ec2.utils import random_spot_request_id

    template = values.get("LaunchTemplate")
    if template:
        instance.add_tags({"aws:ec2launchtemplate:id": template["LaunchTemplateId"], "aws:ec2launchtemplate:version": template["Version"]})
    if spot:
        instance.spot_instance_request_id = random_spot_request_id()
    tags = {
        item["ResourceType"]: {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])} for item in values.get("TagSpecifications", [])
    }
    for index, interface in instance.nics.items():
        interface.add_tags(tags.get("network-interface", {}))
        if index == 0:
            interface.delete_on_termination = True


def with_template(backend: Any, values: dict[str, Any]) -> dict[str, Any]:
    """A launch request with its template's data filled in: the request wins, tags are joined, and an SSM image name is resolved."""
    merged = dict(values)
    template = values.get("LaunchTemplate")
    if template:
        version = backend._get_template_from_args(template)
        data = template_data(version)
        merged = {**data, **values}
        merged["TagSpecifications"] = join_tags(data.get("TagSpecifications", []), values.get("TagSpecifications", []))
        merged["LaunchTemplate"] = {"LaunchTemplateId": version.template.id, "Version": str(version.number)}
    if str(merged.get("ImageId", "")).startswith("resolve:ssm:"):
        merged["ImageId"] = _parameter(backend, merged["ImageId"].removeprefix("resolve:ssm:"))
    interfaces = merged.get("NetworkInterfaces")
    if interfaces and merged.get("SubnetId"):
        merged["NetworkInterfaces"] = [{**interfaces[0], "SubnetId": merged.pop("SubnetId")}, *interfaces[1:]]
    return merged


def template_data(version: Any) -> dict[str, Any]:
    """A template version's data as RunInstances parameters."""
    from llmlab.sandbox.completion import plain

    data = {key: value for key, value in plain(version.data).items() if value not in (None, [], {})}
    if "UserData" in data:
        data["UserData"] = str(data["UserData"])
    return data


def join_tags(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge tag specifications by resource type; of two values for a key the later one wins."""
    joined: dict[str, dict[str, str]] = {}
    for item in [*first, *second]:
        joined.setdefault(item["ResourceType"], {}).update({tag["Key"]: tag.get("Value", "") for tag in item.get("Tags", [])})
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]} for kind, tags in joined.items()]


def _parameter(backend: Any, name: str) -> str:
    from moto.ssm.models import ssm_backends

    parameter = ssm_backends[backend.account_id][backend.region_name].get_parameter(name)
    if parameter is None:
        raise fail("InvalidAMIID.NotFound", f"The SSM parameter {name} does not exist")
    return str(parameter.value)


def _terminate_instances(self: Any, values: dict[str, Any], original: Callable[[Any], Any]) -> Any:
    if not TERMINATE or values.get("DryRun"):
        return original(self)
    return TERMINATE[-1](self.ec2_backend, values["InstanceIds"])


def _create_template(self: Any, original: Callable[[Any], Any]) -> Any:
    """Create a launch template, without moto's copy of the template's own tags in its data, which would become tags of instances."""
    name = parameters(self)["LaunchTemplateName"]
    result = original(self)
    version = self.ec2_backend.get_launch_template_by_name(name).versions[0]
    rest = [item for item in version.data.get("TagSpecifications", []) if item["ResourceType"] != "launch-template"]
    if rest:
        version.data["TagSpecifications"] = rest
    elif "TagSpecifications" in version.data:
        del version.data["TagSpecifications"]
    return result


# ---------------------------------------------------------------- images


def image_names(region: str) -> dict[str, tuple[str, str]]:
    """The Deep Learning Base images: suffix of the SSM parameter name → (AMI id, image name)."""
    images = {}
    for release in UBUNTU:
        name = f"Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu {release}) 20261106"
        identity = "ami-0" + hashlib.sha256(f"{region}/{name}".encode()).hexdigest()[:16]
        images[f"base-oss-nvidia-driver-gpu-ubuntu-{release}"] = (identity, name)
    return images


def _load_amis(self: Any) -> None:
    from moto.ec2.models.amis import Ami

    for identity, name in image_names(self.region_name).values():
        self.amis[identity] = Ami(
            self,
            identity,
            name=name,
            owner_id=IMAGE_OWNER,
            owner_alias="amazon",
            public=True,
            virtualization_type="hvm",
            architecture="x86_64",
            hypervisor="xen",
            root_device_type="ebs",
            image_location=f"amazon/{name}",
            description="Supported EC2 instances: G4dn, G5, G6, Gr6, G6e, G7, G7e, P4d, P4de, P5, P5e, P5en, P6-B200",
            creation_date=datetime(2026, 11, 6, tzinfo=UTC).replace(tzinfo=None),
        )


def _root_device(self: Any) -> list[dict[str, Any]]:
    size = SMALL_ROOT_GIB if holds("image-of-35-gib") else ROOT_GIB
    ebs = {"SnapshotId": self.ebs_snapshot.id, "VolumeSize": size, "DeleteOnTermination": True, "VolumeType": "gp3", "Encrypted": False}
    return [{"DeviceName": self.root_device_name, "Ebs": ebs}]


# ---------------------------------------------------------------- the spot market


def _spot_price_history(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The spot price history by type and zone: the price in force at StartTime and each change since, newest first.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html
    """
    filters = {item["Name"]: item["Values"] for item in values.get("Filters", [])}
    types = values.get("InstanceTypes") or filters.get("instance-type")
    zones = filters.get("availability-zone") or ([values["AvailabilityZone"]] if "AvailabilityZone" in values else None)
    today = now()
    start = (values.get("StartTime") or (today - 12 * SPOT_STEP).replace(tzinfo=None)).replace(tzinfo=UTC)
    end = min((values.get("EndTime") or today.replace(tzinfo=None)).replace(tzinfo=UTC), today)
    history: list[dict[str, Any]] = []
    for zone, offered in market.offered(self.region).items():
        for instance_type in sorted(offered & set(types) if types else {name for name in offered if name[0] in "gp"}):
            if zones and zone not in zones:
                continue
            moment = end
            while sold := spot_price(instance_type, zone, moment):
                since, price = sold
                history.append(
                    {
                        "AvailabilityZone": zone,
                        "InstanceType": instance_type,
                        "ProductDescription": "Linux/UNIX",
                        "SpotPrice": f"{price:.6f}",
                        "Timestamp": since.replace(tzinfo=None),
                    }
                )
                if since <= start:
                    break
                moment = since - timedelta(seconds=1)
    descriptions = values.get("ProductDescriptions") or filters.get("product-description")
    if descriptions and not {"Linux/UNIX", "Linux/UNIX (Amazon VPC)"} & set(descriptions):
        history.clear()
    history.sort(key=lambda item: item["Timestamp"], reverse=True)
    limit = int(values.get("MaxResults") or 1000)
    begin = int(values.get("NextToken") or 0)
    more = begin + limit < len(history)
    return {"SpotPriceHistory": history[begin : begin + limit], "NextToken": str(begin + limit) if more else ""}


def _placement_scores(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Spot placement scores from 1 to 10 by region or zone id; with fewer than three types always low, as at AWS."""
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

    types = set(values.get("InstanceTypes", []))
    ids = {zone.name: zone.zone_id for zones in RegionsAndZonesBackend.zones.values() for zone in zones}
    scores = []
    for region in values.get("RegionNames") or [self.region]:
        for zone, offered in market.offered(region).items():
            matching = len(types & offered)
            score = 1 if not matching else min(9, 3 * matching) if len(types) >= 3 else 3
            scores.append({"Region": region, "AvailabilityZoneId": ids.get(zone, zone), "Score": score})
    if not values.get("SingleAvailabilityZone"):
        best = {region: max(item["Score"] for item in scores if item["Region"] == region) for region in {item["Region"] for item in scores}}
        scores = [{"Region": region, "Score": score} for region, score in best.items()]
    return {"SpotPlacementScores": scores}
