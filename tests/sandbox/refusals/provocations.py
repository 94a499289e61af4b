"""What provokes each row of the table, by plain boto3 and in this process."""

from collections.abc import Callable
from typing import Any

from botocore.config import Config

from llmlab.aws.session import Aws, AwsError
from llmlab.clock import ManualClock
from llmlab.sandbox.refusals.table import BY_NAME

Provocation = Callable[[Aws, ManualClock], object]
"""An account and its clock: raises what AWS answers, or returns what shows the row's other answer (what is false shows nothing)."""
PROVOCATIONS: dict[str, Provocation] = {}


def provokes(name: str) -> Callable[[Provocation], Provocation]:
    """Register what provokes a row."""

    def register(provocation: Provocation) -> Provocation:
        assert name not in PROVOCATIONS, name
        PROVOCATIONS[name] = provocation
        return provocation

    return register


def once(aws: Aws, service: str) -> Any:
    """A client that asks once: botocore asks again, and waits, where an answer is of the passing kind."""
    return aws.session.client(service, config=Config(retries={"total_max_attempts": 1}))  # type: ignore[call-overload]


def answer(name: str, aws: Aws, clock: ManualClock) -> tuple[str, str]:
    """AWS's code and sentence for what provokes a row; ("", "") where it was no error."""
    try:
        shown = PROVOCATIONS[name](aws, clock)
    except AwsError as error:
        return error.code, error.response["Error"].get("Message", "")
    assert BY_NAME[name].code or shown, f"{name} was not met"
    return "", ""
