"""The address of whoever is asked about the lab, as a parameter of Systems Manager."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Rate, Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties

ADVANCED = Rate("advanced parameter", 0.05, "https://aws.amazon.com/systems-manager/pricing/")


@dataclass(frozen=True, kw_only=True)
class ContactParameter(AwsResource):
    """The address of whoever is asked about the lab, for other programs of the account."""

    kind = "contact parameter"
    address: str

    @property
    def name(self) -> str:
        return _name(self.names)

    @property
    def client(self) -> Any:
        return self.aws.client("ssm")

    def desired(self) -> Properties:
        return {"address": self.address}

    def read(self) -> Properties | None:
        try:
            return {"address": self.client.get_parameter(Name=self.name)["Parameter"]["Value"]}
        except NotFound:
            return None

    def tags(self) -> Mapping[str, str]:
        return from_list(_tags(self.aws))

    def create(self) -> None:
        self.client.put_parameter(Name=self.name, Value=self.address, Type="String", Tier="Advanced", Tags=to_list(self.names.tags))

    def update(self, differs: Properties) -> None:
        """Set the address, and the tags again: should somebody have just deleted the parameter, this call creates one without any."""
        if "address" in differs:
            self.client.put_parameter(Name=self.name, Value=self.address, Type="String", Tier="Advanced", Overwrite=True)
            self.client.add_tags_to_resource(ResourceType="Parameter", ResourceId=self.name, Tags=to_list(self.names.tags))

    def delete(self) -> None:
        self.client.delete_parameter(Name=self.name)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        by_name = {"Key": "Name", "Option": "Equals", "Values": [_name(aws.names)]}
        for parameter in every(aws.client("ssm"), "describe_parameters", "Parameters", ParameterFilters=[by_name]):
            yield from if_ours(aws, cls.kind, parameter["Name"], _tags(aws))

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ((1.0, ADVANCED),)

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        keep = actions("ssm", "AddTagsToResource", "DeleteParameter", "GetParameter", "ListTagsForResource", "PutParameter")
        return [
            allow_anywhere("List", "ssm:DescribeParameters"),
            allow("KeepContact", keep, names.arn("ssm", f"parameter{_name(names)}")),
        ]


def _name(names: Names) -> str:
    return f"/{names.lab}/contact"


def _tags(aws: Aws) -> Any:
    return aws.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=_name(aws.names))["TagList"]
