"""The gateway endpoint of S3 in the lab's network."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws import policies
from llmlab.aws.network_guests import GOING
from llmlab.aws.owned import LINGER_SECONDS, Ec2Resource, Leftover, tagged
from llmlab.aws.policies_documents import Policy, change, make, see
from llmlab.aws.rates import Uses
from llmlab.aws.route_table import RouteTable
from llmlab.aws.session import Aws, AwsError
from llmlab.aws.vpc import Vpc
from llmlab.contract import Names
from llmlab.infra.resource import Properties


@dataclass(frozen=True, kw_only=True)
class S3Endpoint(Ec2Resource):
    """A gateway endpoint is free, and keeps data and checkpoints off the internet. What is written through it goes to the lab's buckets."""

    kind = "S3 endpoint"
    vpc: Vpc
    routes: RouteTable

    @property
    def name(self) -> str:
        return self.names.vpc

    def desired(self) -> Properties:
        return {"in route table": self.routes.name, "policy": policies.s3_endpoint(self.names)}

    def read(self) -> Properties | None:
        endpoint = self.look()
        if not endpoint:
            return None
        return {
            "in route table": self.routes.name if self.routes.id() in endpoint.get("RouteTableIds", []) else None,
            "policy": json.loads(endpoint.get("PolicyDocument") or "null"),
        }

    def descriptions(self) -> Sequence[Mapping[str, Any]]:
        return [endpoint for endpoint in self._shown() if _state(endpoint) not in GOING]

    def _shown(self) -> Sequence[Mapping[str, Any]]:
        return self.aws.ec2.describe_vpc_endpoints(Filters=self.filters)["VpcEndpoints"]

    def id_of(self, description: Mapping[str, Any]) -> str:
        return str(description["VpcEndpointId"])

    def create(self) -> None:
        request = {
            "VpcEndpointType": "Gateway",
            "VpcId": self.vpc.need_id(),
            "ServiceName": f"com.amazonaws.{self.aws.region}.s3",
            "RouteTableIds": [self.routes.need_id()],
            "PolicyDocument": json.dumps(policies.s3_endpoint(self.names)),
            "TagSpecifications": self.specification("vpc-endpoint"),
        }
        self.create_alone(lambda ec2: ec2.create_vpc_endpoint(**request)["VpcEndpoint"], lambda mine: self._delete([mine]))

    def update(self, differs: Properties) -> None:
        if "in route table" in differs:
            self.aws.ec2.modify_vpc_endpoint(VpcEndpointId=self.need_id(), AddRouteTableIds=[self.routes.need_id()])
        if "policy" in differs:
            policy = json.dumps(policies.s3_endpoint(self.names))
            self.aws.ec2.modify_vpc_endpoint(VpcEndpointId=self.need_id(), PolicyDocument=policy)

    def delete(self) -> None:
        """Delete it and wait for its end: while it is being deleted, its route table and its VPC are in use."""
        endpoints = [self.id_of(endpoint) for endpoint in self.descriptions()]
        if endpoints:
            self._delete(endpoints)
        self.wait(lambda: all(_state(endpoint) == "deleted" for endpoint in self._shown()), "its end", seconds=LINGER_SECONDS, every=5)

    def _delete(self, ids: Sequence[str]) -> None:
        answer = self.aws.ec2.delete_vpc_endpoints(VpcEndpointIds=ids)
        for failure in answer.get("Unsuccessful", []):
            code = failure.get("Error", {}).get("Code", "")
            if "NotFound" not in code:
                raise AwsError(f"{self.key} could not be deleted: {failure.get('Error', {}).get('Message')}", "llmlab teardown", code=code)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        return tagged(aws, "VPC endpoint", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId")

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()  # a gateway endpoint

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [
            see("DescribeVpcEndpoints"),
            *make(names, "CreateVpcEndpoint", "vpc-endpoint", within=("route-table", "vpc")),
            change(names, "DeleteVpcEndpoints", "ModifyVpcEndpoint"),
        ]


def _state(description: Mapping[str, Any]) -> str:
    return str(description.get("State", "")).lower()
