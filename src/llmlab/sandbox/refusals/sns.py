"""SNS."""

from llmlab.sandbox.refusals.rule import Call, On, Rule

DELETED = "Deleted"


def _unsubscribed(call: Call) -> bool:
    """Moto lists a subscription by its ARN: whose owner has clicked reads `Deleted`."""
    topic = call.values["TopicArn"]
    clicked = [one for one in call.backend("sns").subscriptions.values() if one.topic.arn == topic and one.protocol == "email"]
    for one in clicked:
        one.arn = DELETED
    return bool(clicked)


ROWS = (
    Rule(
        name="unsubscribed-by-a-click",
        operations=("sns:ListSubscriptionsByTopic",),
        when="somebody has followed the link at the end of an alert mail",
        code="",
        message="the subscription is listed with the ARN Deleted",
        source="https://github.com/ansible/ansible/pull/20086",
        applies=_unsubscribed,
        on=On.NAMED,
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
)
