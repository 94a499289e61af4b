"""CloudWatch log groups: they take an instance's logs from its first second, and keep them after it is gone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws import rates
from llmlab.aws.owned import AwsResource, Leftover, is_ours
from llmlab.aws.pages import every
from llmlab.aws.policies_boundary import log_groups
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws
from llmlab.contract import LogStream, Names
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

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        """Find them by their tags. A function that still ran recreates its own without any, so one without tags is ours by its name."""
        client = aws.client("logs")
        watchdog = aws.names.log_group(LogStream.WATCHDOG)
        for prefix in (f"/{aws.lab}/", watchdog):
            for group in every(client, "describe_log_groups", "logGroups", logGroupNamePrefix=prefix):
                name = group["logGroupName"]
                tags = client.list_tags_for_resource(resourceArn=aws.names.arn("logs", f"log-group:{name}"))["tags"]
                if (name == watchdog and not tags) or is_ours(aws, tags):
                    yield Leftover(cls.kind, name, command=f"aws logs delete-log-group --log-group-name {name} --region {aws.region}")

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        groups = aws.client("logs").describe_log_groups(logGroupNamePrefix=leftover.id)["logGroups"]
        stored = sum(group.get("storedBytes", 0) for group in groups if group["logGroupName"] == leftover.id)
        return ((stored / rates.GB, rates.LOG_STORED),)

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """The log groups, and reading what is in them."""
        keep = actions(
            "logs", "CreateLogGroup", "DeleteLogGroup", "FilterLogEvents", "ListTagsForResource", "PutRetentionPolicy", "TagResource"
        )
        return [allow_anywhere("List", "logs:DescribeLogGroups"), allow("KeepLogs", keep, log_groups(names))]
