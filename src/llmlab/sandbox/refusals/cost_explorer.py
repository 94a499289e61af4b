"""Refusals of Cost Explorer, and answers that differ from moto's."""

from typing import Any

from llmlab.sandbox.refusals.rule import Call, On, Rule, Until


def _not_seen(call: Call) -> bool:
    """Whether the period has not passed in which cost tags stay unknown; it begins with the first call that lists or activates them."""
    if call.happened("cost tags looked for", "") is None:
        call.remember("cost tags looked for", "")
    return call.young(call.happened("cost tags looked for", ""))


def _unknown(call: Call) -> dict[str, Any]:
    keys = [item["TagKey"] for item in call.values["CostAllocationTagsStatus"]]
    return {"Errors": [{"TagKey": key, "Code": "TagKeysNotFoundException", "Message": f"Tag keys not found: {key}"} for key in keys]}


ROWS = (
    Rule(
        name="cost-explorer-never-opened",
        operations=("ce:GetCostAndUsage", "ce:GetCostForecast", "ce:ListCostAllocationTags", "ce:UpdateCostAllocationTagsStatus"),
        when="nobody has opened Cost Explorer in this account, or its management account keeps it to itself",
        code="AccessDeniedException",
        message="User not enabled for cost explorer access",
        source="https://docs.aws.amazon.com/cost-management/latest/userguide/ce-enable.html",
        applies=lambda _: True,
        on=On.NAMED,
        until=Until.OWNER,
    ),
    Rule(
        name="cost-tags-of-a-member",
        operations=("ce:UpdateCostAllocationTagsStatus",),
        when="the account is a member of an organization, whose management account alone may",
        code="AccessDeniedException",
        message="Failed to update Cost Allocation Tag: Linked account doesn't have access to cost allocation tags.",
        source="https://github.com/2i2c-org/infrastructure/pull/4932",
        applies=lambda _: True,
        on=On.NAMED,
        until=Until.OWNER,
    ),
    Rule(
        name="cost-tags-not-listed-yet",
        operations=("ce:ListCostAllocationTags",),
        when="no resource has carried the tag for up to 24 hours",
        code="",
        message="the tag is not listed",
        source="https://github.com/hashicorp/terraform-provider-aws/issues/29068",
        applies=_not_seen,
        answers=lambda _: {"CostAllocationTags": []},
        on=On.NEW_ACCOUNT,
        until=Until.WAITING,
        amount=86400,
    ),
    Rule(
        name="cost-tags-not-known-yet",
        operations=("ce:UpdateCostAllocationTagsStatus",),
        when="no resource has carried the tag for up to 24 hours",
        code="",
        message="Errors holds the tag: Tag keys not found",
        source="https://github.com/aws-solutions-library-samples/global-capacity-orchestrator-on-aws/pull/189",
        applies=_not_seen,
        answers=_unknown,
        on=On.NEW_ACCOUNT,
        until=Until.WAITING,
        amount=86400,
    ),
)
