"""Resources of others that keep the lab's network from being deleted, each named with the command that removes it."""

from typing import Any

from llmlab.aws.session import Aws
from llmlab.errors import LabError

GUARDDUTY = "GuardDutyManaged"
"""The tag of the endpoint and the security group that GuardDuty's runtime monitoring puts into every VPC in which an instance ran.
https://github.com/hashicorp/terraform-provider-aws/issues/46747"""
GOING = {"deleting", "deleted"}


def in_the_way(aws: Aws, vpc: str, *, last: bool, alone: bool) -> LabError | None:
    """The error for a resource that does not go by itself; at the end of the waiting (`last`), for any. `alone`: the VPC must be empty."""
    inside: Any = [{"Name": "vpc-id", "Values": [vpc]}]
    endpoint = _endpoint(aws, vpc, inside)
    if endpoint or not (alone or last):
        return endpoint
    lasting = (_group(aws, vpc, inside) or _subnet(aws, vpc, inside)) if alone else None
    return lasting or (_interface(aws, vpc, inside) if last else None)


def _endpoint(aws: Aws, vpc: str, inside: Any) -> LabError | None:
    """An interface endpoint holds network interfaces for good; those that are being deleted go by themselves."""
    for endpoint in aws.ec2.describe_vpc_endpoints(Filters=inside)["VpcEndpoints"]:
        tags = {tag["Key"]: tag["Value"] for tag in endpoint.get("Tags", [])}
        if endpoint.get("VpcEndpointType") == "Gateway" or str(endpoint.get("State", "")).lower() in GOING:
            continue
        whose = "GuardDuty's endpoint" if GUARDDUTY in tags else "the endpoint"
        identity = endpoint["VpcEndpointId"]
        hint = f"aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {identity} --region {aws.region}"
        return LabError(f"{whose} {identity} ({endpoint.get('ServiceName')}) is still in {vpc}", hint)
    return None


def _group(aws: Aws, vpc: str, inside: Any) -> LabError | None:
    for group in aws.ec2.describe_security_groups(Filters=inside)["SecurityGroups"]:
        if group["GroupName"] != "default":
            hint = f"aws ec2 delete-security-group --group-id {group['GroupId']} --region {aws.region}"
            return LabError(f"security group {group['GroupName']} is still in {vpc}", hint)
    return None


def _subnet(aws: Aws, vpc: str, inside: Any) -> LabError | None:
    for subnet in aws.ec2.describe_subnets(Filters=inside)["Subnets"]:
        hint = f"aws ec2 delete-subnet --subnet-id {subnet['SubnetId']} --region {aws.region}"
        return LabError(f"subnet {subnet['SubnetId']} is still in {vpc}", hint)
    return None


def _interface(aws: Aws, vpc: str, inside: Any) -> LabError | None:
    for interface in aws.ec2.describe_network_interfaces(Filters=inside)["NetworkInterfaces"]:
        identity = interface["NetworkInterfaceId"]
        hint = f"aws ec2 delete-network-interface --network-interface-id {identity} --region {aws.region}"
        return LabError(f"network interface {identity} ({interface.get('Description') or 'no description'}) is still in {vpc}", hint)
    return None
