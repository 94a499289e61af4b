"""Refusals of ECR, and answers that differ from moto's."""

from typing import Any

from llmlab.sandbox.refusals.rule import Call, On, Rule

WAITER = "https://github.com/aws/aws-sdk/issues/288"


def _continuous(call: Call) -> dict[str, Any]:
    return {
        "registryId": call.account,
        "repositoryName": call.values["repositoryName"],
        "imageId": call.values["imageId"],
        "imageScanStatus": {"status": "ACTIVE", "description": "Continuous scan is selected for image."},
        "imageScanFindings": {"enhancedFindings": [], "findingSeverityCounts": {"CRITICAL": 1}},
    }


ROWS = (
    Rule(
        name="scans-are-enhanced",
        operations=("ecr:DescribeImageScanFindings",),
        when="Inspector scans the registry continuously",
        code="",
        message="the scan's status is ACTIVE for ever, and what was found is under enhancedFindings",
        source=WAITER,
        applies=lambda _: True,
        answers=_continuous,
        on=On.NAMED,
    ),
    Rule(
        name="scan-not-begun",
        operations=("ecr:DescribeImageScanFindings",),
        when="the image was pushed a moment ago",
        code="ScanNotFoundException",
        message="Image scan does not exist for the image with '{image}' in the repository with name '{repository}' in the registry with id "
        "'{account}'",
        source="https://github.com/alexjurkiewicz/ecr-scan-image/pull/51",
        applies=lambda call: (
            call.among_first() and {"image": call.values["imageId"], "repository": call.values["repositoryName"], "account": call.account}
        ),
        on=On.NAMED,
        amount=1,
    ),
)
