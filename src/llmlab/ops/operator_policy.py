"""The IAM policies that a user of `llmlab` needs, for somebody who may create policies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmlab import stack
from llmlab.aws import policies_boundary, policies_operator
from llmlab.aws.session import Aws
from llmlab.config import Settings
from llmlab.contract import Names
from llmlab.errors import LabError

ACCOUNT, REGION = "ACCOUNT", "REGION"


@dataclass(frozen=True)
class Printed:
    """Policies by the name to make them under, the ARN of the one that bounds the lab's roles, and what is left to be filled in."""

    policies: dict[str, dict[str, Any]]
    boundary: str
    placeholders: tuple[str, ...]


def of(settings: Settings, account_of: Callable[[], Aws]) -> Printed:
    """The policies for the lab of these settings. Nothing is created; an unknown account or region is a placeholder in capitals."""
    account, region = ACCOUNT, settings.region or REGION
    try:
        aws = account_of()
        region = aws.region
        account = aws.account
    except LabError:
        pass
    names = Names(settings.lab, account, region)
    boundary = policies_boundary.boundary_arn(names)
    return Printed(
        policies_operator.documents(names, stack.RESOURCES),
        boundary,
        tuple(placeholder for placeholder in (ACCOUNT, REGION) if placeholder in {account, region}),
    )
