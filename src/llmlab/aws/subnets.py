"""Public subnets, one for each availability zone that has the GPUs we want: each zone is another pool of spot capacity."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from llmlab.aws import instance_types
from llmlab.aws.owned import SHOWN_SECONDS, TRIES, Ec2Resource, Leftover, tagged
from llmlab.aws.policies_documents import Policy, change, make, see
from llmlab.aws.rates import Uses
from llmlab.aws.session import AlreadyExists, Aws, NotFound
from llmlab.aws.vpc import Vpc
from llmlab.contract import Names
from llmlab.errors import LabError
from llmlab.infra.resource import Properties

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import SubnetTypeDef


@dataclass(frozen=True, kw_only=True)
class Subnets(Ec2Resource):
    """One public subnet a zone, 10.1.1.0/24 the first. Instances get a public address there, so that no NAT gateway is paid for."""

    kind = "subnets"
    vpc: Vpc
    instance_types: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names.vpc

    def desired(self) -> Properties:
        return dict.fromkeys(self.zones(), "public")

    def zones(self) -> tuple[str, ...]:
        """The zones that offer at least one of the wanted types, any usable one where none is named; asked once."""
        if "zones" not in self.seen:
            self.seen["zones"] = zones_offering(self.aws, self.instance_types)
        zones: tuple[str, ...] = self.seen["zones"]
        return zones

    def read(self) -> Properties | None:
        if not self.look():
            return None
        public = {subnet["AvailabilityZone"]: subnet.get("MapPublicIpOnLaunch") for subnet in self.all()}
        return {zone: {True: "public", False: "private", None: None}[public.get(zone)] for zone in self.zones()}

    def descriptions(self) -> "Sequence[SubnetTypeDef]":
        return self.aws.ec2.describe_subnets(Filters=self.filters)["Subnets"]

    def find(self) -> Mapping[str, Any] | None:
        subnets = self.descriptions()
        return {"Subnets": subnets, "Tags": subnets[0].get("Tags", [])} if subnets else None

    def id_of(self, description: Mapping[str, Any]) -> str:
        return str(description["Subnets"][0]["SubnetId"])

    def all(self) -> "Sequence[SubnetTypeDef]":
        """Every subnet of ours, as last seen."""
        description = self.seen["description"] if self.seen.get("description") else self.look()
        subnets: Sequence[SubnetTypeDef] = description["Subnets"] if description else ()
        return subnets

    def create(self) -> None:
        self._create(self.zones())

    def _create(self, zones: Sequence[str]) -> None:
        """The lowest free blocks, because a zone may come later and blocks cannot be moved.

        Where one is not free after all, somebody made a subnet at the same time, or an answer was lost: for this zone or for another.
        """
        for _ in range(TRIES):
            covered = {subnet["AvailabilityZone"] for subnet in self.all()}
            missing = [zone for zone in zones if zone not in covered]
            if not missing:
                return
            taken = self._taken()
            free = (block for number in range(1, 256) if (block := f"10.1.{number}.0/24") not in taken)
            blocks = dict(zip(missing, free, strict=False))
            for zone, block in blocks.items():
                facts: Any = {"CidrBlock": block, "AvailabilityZone": zone, "TagSpecifications": self.specification("subnet")}
                with suppress(AlreadyExists):
                    self.aws.ec2.create_subnet(VpcId=self.vpc.need_id(), **facts)
            self._await(set(blocks.values()))
        raise LabError(f"{self.key}: others make them at the same time", "llmlab bootstrap")

    def _await(self, blocks: set[str]) -> None:
        """Wait until EC2 shows subnets that have these blocks: those just made, or others'."""

        def shown() -> bool:
            self.look()
            return blocks <= self._taken()

        self.wait(shown, f"EC2 showing {', '.join(sorted(blocks))}", seconds=SHOWN_SECONDS, every=1)

    def _taken(self) -> set[str]:
        return {subnet["CidrBlock"] for subnet in self.all()}

    def update(self, differs: Properties) -> None:
        self._create(list(differs))
        for subnet in self.all():
            if subnet["AvailabilityZone"] in differs and not subnet.get("MapPublicIpOnLaunch"):
                self.aws.ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True})
        self.look()

    def delete(self) -> None:
        """Delete each after its last network interface is gone."""
        for subnet in self.all():
            identity = subnet["SubnetId"]
            self.delete_patiently(partial(self._delete, identity), "the last network interface going", subnet.get("VpcId"))
        self.seen.pop("description", None)

    def _delete(self, subnet: str) -> None:
        with suppress(NotFound):
            self.aws.ec2.delete_subnet(SubnetId=subnet)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return tagged(aws, "subnet", "describe_subnets", "Subnets", "SubnetId")

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [
            see("DescribeSubnets"),
            *make(names, "CreateSubnet", "subnet", within=("vpc",)),
            change(names, "DeleteSubnet", "ModifySubnetAttribute"),
        ]


def zones_offering(aws: Aws, names: Sequence[str]) -> tuple[str, ...]:
    """The region's own availability zones (no local zones) that offer at least one of the types, any usable one without names; in order."""
    wanted = names or [instance_type.name for instance_type in instance_types.usable(aws)]
    locations = {zone for zones in instance_types.offered(aws, wanted).values() for zone in zones}
    zones = tuple(sorted(zone for zone in locations if re.fullmatch(re.escape(aws.region) + "[a-z]", zone)))
    if not zones:
        raise LabError(f"region {aws.region} offers {_none_of(names)}", "llmlab --region us-east-1 bootstrap --plan")
    return zones


def _none_of(names: Sequence[str]) -> str:
    return f"none of {', '.join(names)}" if names else "no GPU that a run can use"
