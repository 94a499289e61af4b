"""Refusals of SNS, and answers that differ from moto's."""

from typing import Any

from llmlab.sandbox.refusals.rule import Call, On, Rule, Until

GUIDE = "https://docs.aws.amazon.com/sns/latest/dg/"


def _read(call: Call, result: Any, arn: str) -> Any:
    """The answer, with `arn` in place of the subscription ARN of e-mail addresses."""
    result.result["Subscriptions"] = [
        {"SubscriptionArn": arn if subscription.protocol == "email" else subscription.arn, "Owner": call.account,
         "Protocol": subscription.protocol, "Endpoint": subscription.endpoint, "TopicArn": subscription.topic.arn}
        for subscription in result.result["Subscriptions"]
    ]  # fmt: skip
    return result


def _other_tags(call: Call) -> bool:
    topic = call.backend("sns").topics.get(f"arn:aws:sns:{call.region}:{call.account}:{call.values['Name']}")
    return topic is not None and "Tags" in call.values and topic._tags != {tag["Key"]: tag["Value"] for tag in call.values["Tags"]}


ROWS = (
    Rule(
        name="unsubscribed-by-a-click",
        operations=("sns:ListSubscriptionsByTopic",),
        when="somebody has followed the link at the end of an alert mail",
        code="",
        message="the subscription is listed with the ARN Deleted",
        source="https://github.com/ansible/ansible/pull/20086",
        applies=lambda _: True,
        alters=lambda call, result: _read(call, result, "Deleted"),
        on=On.NAMED,
        until=Until.REQUEST,
    ),
    Rule(
        name="e-mail-unconfirmed",
        operations=("sns:ListSubscriptionsByTopic",),
        when="the address has not followed the link of its first mail",
        code="",
        message="the subscription is listed with the ARN PendingConfirmation",
        source=f"{GUIDE}SendMessageToHttp.confirm.html",
        applies=lambda _: True,
        alters=lambda call, result: _read(call, result, "PendingConfirmation"),
        on=On.NEW_ACCOUNT,
        until=Until.OWNER,
    ),
    Rule(
        name="unsubscribe-without-an-arn",
        operations=("sns:Unsubscribe",),
        when="the subscription's ARN is a word such as Deleted",
        code="InvalidParameter",
        message="Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 1",
        source="https://github.com/snyk/driftctl/issues/601",
        applies=lambda call: call.values["SubscriptionArn"].count(":") < 5,
    ),
    Rule(
        name="topic-with-other-tags",
        operations=("sns:CreateTopic",),
        when="there is a topic of this name with other tags",
        code="InvalidParameter",
        message="Invalid parameter: Tags Reason: Topic already exists with different tags",
        source="https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html",
        applies=_other_tags,
    ),
)
