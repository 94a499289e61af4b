"""EC2's network: refusals to delete resources in use, or to create what exists."""

from collections.abc import Mapping
from typing import Any

from llmlab.sandbox.refusals.ec2_launch import API, LAUNCH
from llmlab.sandbox.refusals.rule import Call, On, Rule, Until
from llmlab.sandbox.refusals.switch import amount, holds


def _route_taken(call: Call) -> Mapping[str, object] | bool:
    tables, service = set(call.values.get("RouteTableIds", [])), call.values["ServiceName"]
    for endpoint in call.backend("ec2").vpc_end_points.values():
        if endpoint.service_name == service and tables & set(endpoint.route_table_ids or ()) and endpoint.state.lower() != "deleted":
            return {"table": min(tables), "service": service}
    return False


def _interfaces(call: Call, subnet: str = "", vpc: str = "", group: str = "") -> list[object]:
    """The interfaces in a subnet, a VPC or a security group; with `interfaces-linger` also instances that ended a moment ago."""
    backend = call.backend("ec2")
    interfaces = [
        interface
        for interface in backend.enis.values()
        if interface.subnet.id == subnet or interface.subnet.vpc_id == vpc or group in {each.id for each in interface.group_set}
    ]
    if not holds("interfaces-linger"):
        return interfaces
    return interfaces + [
        instance
        for instance in backend.all_instances()
        if call.young(vars(instance).get("_llmlab_new_end"), amount("interfaces-linger"))
        and (instance.subnet_id == subnet or instance.vpc_id == vpc or group in {each.id for each in instance.security_groups})
    ]


def _subnet(call: Call) -> Mapping[str, object] | bool:
    return bool(_interfaces(call, subnet=call.values["SubnetId"])) and {"subnet": call.values["SubnetId"]}


def _vpc(call: Call) -> Mapping[str, object] | bool:
    vpc, backend = call.values["VpcId"], call.backend("ec2")
    gateways = [gateway for gateway in backend.internet_gateways.values() if gateway.vpc and gateway.vpc.id == vpc]
    groups = [group for group in backend.groups.get(vpc, {}).values() if group.name != "default"]
    return bool(_interfaces(call, vpc=vpc) or gateways or groups or _endpoints(call, vpc)) and {"vpc": vpc}


def _endpoints(call: Call, vpc: str) -> list[object]:
    """The endpoints of a VPC that exist, or are still being deleted."""
    of_vpc = [endpoint for endpoint in call.backend("ec2").vpc_end_points.values() if endpoint.vpc_id == vpc]
    seconds = amount("endpoint-stays-deleting") if holds("endpoint-stays-deleting") else 0.0
    deleted = {endpoint.id: call.happened("endpoint deleted", endpoint.id) for endpoint in of_vpc}
    return [endpoint for endpoint in of_vpc if deleted[endpoint.id] is None or call.young(deleted[endpoint.id], seconds)]


def _group(call: Call) -> Mapping[str, object] | bool:
    group = call.values.get("GroupId", "")
    return bool(group and _interfaces(call, group=group)) and {"group": group}


def _table(call: Call) -> Mapping[str, object] | bool:
    table = call.values["RouteTableId"]
    return any(
        table in (endpoint.route_table_ids or ()) and call.young(call.happened("endpoint deleted", endpoint.id))
        for endpoint in call.backend("ec2").vpc_end_points.values()
    ) and {"table": table}


def _addresses(call: Call) -> Mapping[str, object] | bool:
    vpc = call.values["VpcId"]
    mapped = [
        instance
        for instance in call.backend("ec2").all_instances()
        if instance.vpc_id == vpc and instance.public_ip and instance.state != "terminated"
    ]
    lingering = holds("interfaces-linger") and _interfaces(call, vpc=vpc)
    return bool(mapped or lingering) and {"vpc": vpc}


def _too_many(call: Call, collection: str, least: int) -> bool:
    return len(getattr(call.backend("ec2"), collection)) >= least


def _endpoints_deleted(call: Call) -> None:
    for identity in call.values["VpcEndpointIds"]:
        call.remember("endpoint deleted", identity)


def _reads_deleting(call: Call) -> bool:
    """Set the state of deleted endpoints: `deleting` for a while, then moto's `deleted`."""
    for endpoint in call.backend("ec2").vpc_end_points.values():
        moment = call.happened("endpoint deleted", endpoint.id)
        if moment is not None:
            endpoint.state = "deleting" if call.young(moment) else "deleted"
    return True


def _guard(call: Call, result: Any) -> Any:
    """Create GuardDuty's endpoint, with its interface in the subnet and its security group, once in a VPC."""
    backend = call.backend("ec2")
    for instance in result.result.instances:
        name = f"GuardDutyManagedSecurityGroup-{instance.vpc_id}"
        if backend.get_security_group_from_name(name, instance.vpc_id) is None:
            tags = {"GuardDutyManaged": "true"}
            group = backend.create_security_group(name, "Associated with VPC and tagged as GuardDutyManaged", instance.vpc_id, tags)
            service = f"com.amazonaws.{call.region}.guardduty-data"
            backend.create_vpc_endpoint(
                vpc_id=instance.vpc_id,
                service_name=service,
                endpoint_type="Interface",
                policy_document=None,
                route_table_ids=[],
                subnet_ids=[instance.subnet_id],
                security_group_ids=[group.id],
                tags=tags,
            )
    return result


LIMITS = "https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html"
DELETING = "https://github.com/hashicorp/terraform-provider-aws/issues/9495"
NOTED = {"ec2:DeleteVpcEndpoints": _endpoints_deleted}
ROWS = (
    Rule(
        name="subnet-in-use",
        operations=("ec2:DeleteSubnet",),
        when="a network interface is in it, somebody's or an instance's that has just ended",
        code="DependencyViolation",
        message="The subnet '{subnet}' has dependencies and cannot be deleted.",
        source="https://github.com/chef/chef-provisioning-aws/issues/498",
        applies=_subnet,
        until=Until.WAITING,
    ),
    Rule(
        name="vpc-in-use",
        operations=("ec2:DeleteVpc",),
        when="an interface, a gateway, a group or an endpoint is in it, be it one that is deleting",
        code="DependencyViolation",
        message="The vpc '{vpc}' has dependencies and cannot be deleted.",
        source="https://github.com/gruntwork-io/cloud-nuke/pull/293",
        applies=_vpc,
        until=Until.WAITING,
    ),
    Rule(
        name="group-in-use",
        operations=("ec2:DeleteSecurityGroup",),
        when="a network interface has it, be it of an instance that has just ended",
        code="DependencyViolation",
        message="resource {group} has a dependent object",
        source="https://github.com/alantech/iasql/pull/654",
        applies=_group,
        until=Until.WAITING,
    ),
    Rule(
        name="route-table-waits-for-its-endpoint",
        operations=("ec2:DeleteRouteTable",),
        when="a gateway endpoint of it is deleting; whether AWS refuses then is not known",
        code="DependencyViolation",
        message="The routeTable '{table}' has dependencies and cannot be deleted.",
        source=f"{API}API_DeleteRouteTable.html",
        applies=_table,
        on=On.NAMED,
        until=Until.WAITING,
        amount=20,
    ),
    Rule(
        name="gateway-with-mapped-addresses",
        operations=("ec2:DetachInternetGateway",),
        when="an instance of the VPC has a public address, or had one a moment ago",
        code="DependencyViolation",
        message="Network {vpc} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.",
        source=f"{API}API_DetachInternetGateway.html",
        applies=_addresses,
        until=Until.WAITING,
    ),
    Rule(
        name="interfaces-linger",
        operations=("ec2:DeleteSubnet", "ec2:DeleteSecurityGroup", "ec2:DetachInternetGateway", "ec2:DeleteVpc"),
        when="an instance reads terminated, and its network interface is not gone yet",
        code="DependencyViolation",
        message="resource {group} has a dependent object",
        source=DELETING,
        on=On.NAMED,
        until=Until.WAITING,
        amount=20,
    ),
    Rule(
        name="endpoint-stays-deleting",
        operations=("ec2:DescribeVpcEndpoints",),
        when="an endpoint was deleted a moment ago",
        code="",
        message="its State is deleting, and its VPC cannot be deleted",
        source="https://github.com/gruntwork-io/cloud-nuke/pull/293",
        applies=_reads_deleting,
        on=On.NAMED,
        until=Until.WAITING,
        amount=20,
    ),
    Rule(
        name="guardduty-endpoint",
        operations=LAUNCH,
        when="the organization watches what runs: GuardDuty puts an endpoint, with its interface and group, into the instance's VPC",
        code="",
        message="the VPC holds an endpoint of guardduty-data, tagged GuardDutyManaged, that nobody asked for",
        source="https://github.com/hashicorp/terraform-provider-aws/issues/46747",
        applies=lambda _: True,
        alters=_guard,
        each_launch=True,
        on=On.NAMED,
    ),
    Rule(
        name="vpc-limit",
        operations=("ec2:CreateVpc",),
        when="the account has its five VPCs in the region",
        code="VpcLimitExceeded",
        message="The maximum number of VPCs has been reached.",
        source=LIMITS,
        applies=lambda call: _too_many(call, "vpcs", 5),
        until=Until.OWNER,
    ),
    Rule(
        name="gateway-limit",
        operations=("ec2:CreateInternetGateway",),
        when="the account has its five internet gateways in the region",
        code="InternetGatewayLimitExceeded",
        message="The maximum number of internet gateways has been reached.",
        source=LIMITS,
        applies=lambda call: _too_many(call, "internet_gateways", 5),
        until=Until.OWNER,
    ),
    Rule(
        name="route-to-the-service-exists",
        operations=("ec2:CreateVpcEndpoint",),
        when="a route table of the request has a gateway endpoint to this service",
        code="RouteAlreadyExists",
        message="route table {table} already has a route to {service}",
        source=f"{API}errors-overview.html",
        applies=_route_taken,
    ),
    Rule(
        name="instance-not-seen-yet",
        operations=("ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:TerminateInstances", "ec2:CreateTags"),
        when="the instance is so new that the place which answers has not heard of it",
        code="InvalidInstanceID.NotFound",
        message="The instance ID '{instance}' does not exist",
        source="https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html",
        until=Until.WAITING,
    ),
)
