"""Errors of the instance metadata service in a machine's first seconds."""

from llmlab.sandbox.refusals.rule import On, Rule, Until

TAGS = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html"
ROWS = (
    Rule(
        name="metadata-tags-not-there-yet",
        operations=("imds:Tags",),
        when="the machine started a moment ago",
        code="",
        message="404 for everything under tags/instance",
        source=TAGS,
        on=On.NAMED,
        until=Until.WAITING,
        amount=3,
    ),
    Rule(
        name="metadata-not-ready",
        operations=("imds:*",),
        when="the machine started a moment ago",
        code="",
        message="503 for every answer",
        source="https://github.com/canonical/cloud-init/issues/5577",
        on=On.NAMED,
        until=Until.WAITING,
        amount=3,
    ),
)
