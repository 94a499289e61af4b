"""EC2's network: what cannot be deleted, or made twice."""

from collections.abc import Mapping

from llmlab.sandbox.refusals.ec2_launch import API
from llmlab.sandbox.refusals.rule import Call, Rule, Until


def _route_taken(call: Call) -> Mapping[str, object] | bool:
    tables, service = set(call.values.get("RouteTableIds", [])), call.values["ServiceName"]
    for one in call.backend("ec2").vpc_end_points.values():
        if one.service_name == service and tables & set(one.route_table_ids or ()) and one.state.lower() != "deleted":
            return {"table": min(tables), "service": service}
    return False


ROWS = (
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
