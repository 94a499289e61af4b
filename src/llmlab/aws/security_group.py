"""The security group of the lab's instances: nobody may reach them, unless SSH was asked for."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from llmlab.aws.existing_network import ExistingNetwork
from llmlab.aws.owned import Ec2Resource, Leftover, tagged
from llmlab.aws.policies_documents import Policy, allow, change, make, see
from llmlab.aws.rates import Uses
from llmlab.aws.session import AlreadyExists, Aws, NotFound
from llmlab.aws.vpc import Vpc
from llmlab.contract import Names
from llmlab.infra.resource import Properties

SSH = 22


@dataclass(frozen=True, kw_only=True)
class SecurityGroup(Ec2Resource):
    """A firewall without an inbound rule: `llmlab connect` goes through Session Manager. Rules that appear are drift, and are removed."""

    kind = "security group"
    network: Vpc | ExistingNetwork
    ssh_cidr: str | None = None

    @property
    def name(self) -> str:
        return self.names.security_group

    def desired(self) -> Properties:
        return {"inbound": [f"tcp {SSH} from {self.ssh_cidr}"] if self.ssh_cidr else [], "outbound": ["all to 0.0.0.0/0"]}

    def read(self) -> Properties | None:
        group = self.look()
        if not group:
            return None
        inbound = [_words(rule, source, "from") for rule in group["IpPermissions"] for source in _sources(rule)]
        outbound = [_words(rule, source, "to") for rule in group["IpPermissionsEgress"] for source in _sources(rule)]
        return {"inbound": sorted(inbound), "outbound": sorted(outbound)}

    def descriptions(self) -> Sequence[Mapping[str, Any]]:
        """Our group by its tags; else a stranger's of that name in our network."""
        groups = self.aws.ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [self.name]}])["SecurityGroups"]
        mine = [group for group in groups if {(tag["Key"], tag["Value"]) for tag in group.get("Tags", [])} >= set(self.names.tags.items())]
        strangers = [group for group in groups if group not in mine]
        network = self.network.id() if strangers and not mine else None
        return mine or [group for group in strangers if group.get("VpcId") == network]

    def id_of(self, description: Mapping[str, Any]) -> str:
        return str(description["GroupId"])

    def create(self) -> None:
        created = self.aws.ec2.create_security_group(
            GroupName=self.name,
            Description="llmlab instances: no way in",
            VpcId=self.network.need_id(),
            TagSpecifications=self.specification("security-group"),
        )
        self.await_shown(created["GroupId"])

    def update(self, differs: Properties) -> None:
        description = self.need()
        group = self.id_of(description)
        if "inbound" in differs:
            if description["IpPermissions"]:
                self.aws.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=description["IpPermissions"])
            if self.ssh_cidr:
                source: Any = {"IpProtocol": "tcp", "FromPort": SSH, "ToPort": SSH, "IpRanges": [{"CidrIp": self.ssh_cidr}]}
                self.aws.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[source])
        if "outbound" in differs:
            if description["IpPermissionsEgress"]:
                self.aws.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=description["IpPermissionsEgress"])
            try:
                everywhere: Any = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
                self.aws.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[everywhere])
            except AlreadyExists:
                return

    def delete(self) -> None:
        """Delete it after the last network interface is gone: terminated GPU instances take minutes to give theirs back."""
        for group in self.descriptions():
            identity = self.id_of(group)
            self.delete_patiently(partial(self._delete, identity), "the last instance giving it back", group.get("VpcId"))

    def _delete(self, group: str) -> None:
        with suppress(NotFound):
            self.aws.ec2.delete_security_group(GroupId=group)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return tagged(aws, "security group", "describe_security_groups", "SecurityGroups", "GroupId")

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [
            see("DescribeSecurityGroups"),
            *make(names, "CreateSecurityGroup", "security-group"),
            allow("MakeInAnyNetwork", "ec2:CreateSecurityGroup", names.arn("ec2", "vpc/*")),
            change(
                names,
                "AuthorizeSecurityGroupEgress",
                "AuthorizeSecurityGroupIngress",
                "DeleteSecurityGroup",
                "RevokeSecurityGroupEgress",
                "RevokeSecurityGroupIngress",
            ),
        ]


def _sources(rule: Mapping[str, Any]) -> list[str]:
    return [
        *(source["CidrIp"] for source in rule.get("IpRanges", [])),
        *(source["CidrIpv6"] for source in rule.get("Ipv6Ranges", [])),
        *(source["PrefixListId"] for source in rule.get("PrefixListIds", [])),
        *(source["GroupId"] for source in rule.get("UserIdGroupPairs", [])),
    ]


def _words(rule: Mapping[str, Any], source: str, direction: str) -> str:
    if rule["IpProtocol"] == "-1":
        return f"all {direction} {source}"
    first, last = rule.get("FromPort"), rule.get("ToPort")
    return f"{rule['IpProtocol']} {first if first == last else f'{first}-{last}'} {direction} {source}"
