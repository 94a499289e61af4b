"""CloudWatch log groups: they take an instance's logs from its first second, and keep them after it is gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.aws.owned import AwsResource
from llmlab.contract import LogStream
from llmlab.infra.resource import Properties


@dataclass(frozen=True, kw_only=True)
class LogGroup(AwsResource):
    """One of the four logs, kept for as long as the settings say: without a retention CloudWatch keeps and bills them for ever."""

    kind = "log group"
    stream: LogStream
    days: int

    @property
    def name(self) -> str:
        return self.names.log_group(self.stream)

    @property
    def client(self) -> Any:
        return self.aws.client("logs")

    def desired(self) -> Properties:
        return {"retention days": self.days}

    def read(self) -> Properties | None:
        groups = self.client.describe_log_groups(logGroupNamePrefix=self.name)["logGroups"]
        described = next((group for group in groups if group["logGroupName"] == self.name), None)
        return {"retention days": described.get("retentionInDays")} if described else None

    def tags(self) -> Mapping[str, str]:
        tags: Mapping[str, str] = self.client.list_tags_for_resource(resourceArn=self.names.arn("logs", f"log-group:{self.name}"))["tags"]
        return tags

    def create(self) -> None:
        self.client.create_log_group(logGroupName=self.name, tags=self.names.tags)

    def update(self, differs: Properties) -> None:
        if "retention days" in differs:
            self.client.put_retention_policy(logGroupName=self.name, retentionInDays=self.days)

    def delete(self) -> None:
        self.client.delete_log_group(logGroupName=self.name)
