"""The SNS topic that alarms, the budget and the watchdog publish to, and the e-mail address that is subscribed to it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws import policies, policies_documents
from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.contract import Names
from llmlab.errors import Refused
from llmlab.infra.resource import Properties

DELETED = "Deleted"
"""What SNS lists for a while in place of the ARN of a subscription that was ended by the link in a mail; none can be ended again.
https://github.com/ansible/ansible/pull/20086, https://github.com/snyk/driftctl/issues/601"""


@dataclass(frozen=True, kw_only=True)
class Topic(AwsResource):
    """The topic that alarms, the budget and the watchdog publish to. Statements of its policy that are not ours survive."""

    kind = "alert topic"

    @property
    def name(self) -> str:
        return self.names.topic

    @property
    def arn(self) -> str:
        return self.names.arn("sns", self.name)

    @property
    def client(self) -> Any:
        return self.aws.client("sns")

    def desired(self) -> Properties:
        return {"may publish": {statement["Sid"]: statement for statement in policies.topic(self.names)}}

    def read(self) -> Properties | None:
        try:
            existing = self._statements()
        except NotFound:
            return None
        wanted = self.desired()["may publish"]
        return {"may publish": {statement["Sid"]: statement for statement in existing if statement.get("Sid") in wanted}}

    def _statements(self) -> list[dict[str, Any]]:
        text = self.client.get_topic_attributes(TopicArn=self.arn)["Attributes"].get("Policy")
        return policies_documents.statements(json.loads(text)) if text else []

    def tags(self) -> Mapping[str, str]:
        return from_list(self.client.list_tags_for_resource(ResourceArn=self.arn)["Tags"])

    def create(self) -> None:
        """CreateTopic answers a name that exists with its ARN, or with a complaint when the tags are others."""
        try:
            self.client.create_topic(Name=self.name, Tags=to_list(self.names.tags))
        except AwsError as error:
            if "already exists with different tags" in error.message:
                raise Refused(f"{self.key} exists and does not belong to this lab", self.way_out()) from error
            raise

    def update(self, differs: Properties) -> None:
        if "may publish" in differs:
            policy = policies_documents.merged(self._statements(), policies.topic(self.names))
            self.client.set_topic_attributes(TopicArn=self.arn, AttributeName="Policy", AttributeValue=json.dumps(policy))

    def delete(self) -> None:
        self.client.delete_topic(TopicArn=self.arn)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client, arn = aws.client("sns"), aws.names.arn("sns", aws.names.topic)
        for topic in every(client, "list_topics", "Topics"):
            if topic["TopicArn"] == arn:
                yield from if_ours(aws, cls.kind, aws.names.topic, client.list_tags_for_resource(ResourceArn=arn)["Tags"])

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()  # a thousand e-mails a month are free

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        keep = ("CreateTopic", "DeleteTopic", "GetTopicAttributes", "ListTagsForResource", "SetTopicAttributes", "TagResource")
        return [
            allow_anywhere("List", "sns:ListTopics"),
            allow("KeepTopic", actions("sns", *keep), names.arn("sns", names.topic)),
        ]


@dataclass(frozen=True, kw_only=True)
class Subscription(AwsResource):
    """The e-mail address that receives the topic's messages. AWS asks it to confirm; until then `doctor` says so."""

    kind = "alert e-mail"
    topic: Topic
    email: str

    @property
    def name(self) -> str:
        return self.email

    def desired(self) -> Properties:
        return {}

    def read(self) -> Properties | None:
        subscription = self.find()
        return {} if subscription else None

    def find(self) -> Mapping[str, Any] | None:
        try:
            pages = self.aws.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=self.topic.arn)
            subscriptions = [subscription for page in pages for subscription in page["Subscriptions"]]
        except NotFound:
            return None
        mine = [
            subscription for subscription in subscriptions if subscription["Endpoint"] == self.email and subscription["Protocol"] == "email"
        ]
        return next((subscription for subscription in mine if subscription["SubscriptionArn"] != DELETED), None)

    @property
    def confirmed(self) -> bool:
        """Whether the address has said yes."""
        subscription = self.find()
        return subscription is not None and _confirmed(subscription)

    def ours(self) -> bool:
        return self.topic.ours()

    def tags(self) -> Mapping[str, str]:
        return self.topic.tags()

    def create(self) -> None:
        self.aws.client("sns").subscribe(TopicArn=self.topic.arn, Protocol="email", Endpoint=self.email)

    def update(self, differs: Properties) -> None:
        """Nothing can be set: another address or protocol is another subscription."""

    def delete(self) -> None:
        """Unsubscribe the address. One that was never confirmed has no ARN, and goes with its topic."""
        subscription = self.find()
        if subscription and _confirmed(subscription):
            self.aws.client("sns").unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        """None: it goes with its topic."""
        return ()

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        return [
            allow_anywhere("Unsubscribe", "sns:Unsubscribe"),
            allow("KeepTopic", actions("sns", "ListSubscriptionsByTopic", "Subscribe"), names.arn("sns", names.topic)),
        ]


def _confirmed(subscription: Mapping[str, Any]) -> bool:
    """Only a confirmed one has an ARN; else there is a word in its place, such as `PendingConfirmation`."""
    return str(subscription["SubscriptionArn"]).startswith("arn:")
