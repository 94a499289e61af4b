"""What bootstrap makes of AWS's refusals: the waits it asks for, what is not waited for, and names that are taken."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from llmlab.clock import ManualClock
from llmlab.config import Settings
from llmlab.errors import LabError, Refused
from llmlab.infra.apply import apply
from llmlab.infra.plan import plan
from llmlab.ops.bootstrap import summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmlab.aws.session import Aws

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_summary_in_three_calls(lab_aws: "Aws", recorder: list[str]) -> None:
    from llmlab import stack

    lab_aws.names  # noqa: B018 - the account is known by then
    recorder.clear()
    assert not summary(lab_aws).bootstrapped
    assert len(recorder) == 3
    apply(plan(stack.build(Settings(budget=70), lab_aws, ManualClock(NOW))))
    recorder.clear()
    found = summary(lab_aws)
    assert (found.bootstrapped, found.watchdog, found.template_version, found.budget, found.spent) == (True, "Active", 1, 70, 0)
    assert len(recorder) == 3


def refusing(aws: "Aws", service: str, operation: str, code: str, message: str, times: int) -> "Callable[[], None]":
    """Let a client's operation fail a few times, as AWS does while IAM is not seen everywhere yet. Returns what ends it."""
    from botocore.awsrequest import AWSResponse
    from botocore.compat import HTTPHeaders

    client = aws.client(service)
    left = [times]

    def refuse(**_: Any) -> Any:
        if left[0] == 0:
            return None
        left[0] -= 1
        body = {"message": message}
        return AWSResponse("https://x", 400, HTTPHeaders(), None), {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {},
            **body,
        }

    event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register_first(event, refuse)
    return lambda: client.meta.events.unregister(event, refuse)


LAMBDA = ("lambda", "CreateFunction", "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.")
SCHEDULER = (
    "scheduler",
    "CreateSchedule",
    "ValidationException",
    "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
)


def test_a_role_that_lambda_does_not_see_yet_is_waited_for(lab_aws: "Aws") -> None:
    from llmlab import stack

    clock = ManualClock(NOW)
    end = refusing(lab_aws, *LAMBDA, times=3)
    try:
        apply(plan(stack.build(Settings(), lab_aws, clock)))
    finally:
        end()
    assert (clock.now() - NOW).total_seconds() >= 15
    assert plan(stack.build(Settings(), lab_aws, clock)).empty


@pytest.mark.slow
def test_a_role_that_scheduler_does_not_see_yet_is_waited_for(lab_aws: "Aws") -> None:
    from llmlab import stack
    from llmlab.aws import scheduling
    from llmlab.lifecycle import one_time_schedules
    from llmlab.lifecycle.one_time_schedules import create_schedule_request, schedule_name

    clock = ManualClock(NOW)
    apply(plan(stack.build(Settings(), lab_aws, clock)))
    before = clock.now()
    run, role = "20261124-000000-ab12", lab_aws.names.scheduler_role
    request = create_schedule_request(
        lab_aws.names, run=run, attempt=1, deadline=int(NOW.timestamp()) + 3600, role=f"arn:aws:iam::{lab_aws.account}:role/{role}"
    )
    end = refusing(lab_aws, *SCHEDULER, times=3)
    try:
        scheduling.put(lab_aws, request, clock)
    finally:
        end()
    assert (clock.now() - before).total_seconds() >= 15
    assert one_time_schedules.delete(lab_aws.client("scheduler"), lab_aws.names, schedule_name(run, 1))


@pytest.mark.slow
def test_the_wait_is_bounded_and_says_what_it_was_for(lab_aws: "Aws") -> None:
    from llmlab import stack

    clock = ManualClock(NOW)
    end = refusing(lab_aws, *LAMBDA, times=10_000)
    try:
        with pytest.raises(LabError, match="Lambda seeing its new role did not happen within 120 seconds"):
            apply(plan(stack.build(Settings(), lab_aws, clock)))
    finally:
        end()


def test_another_refusal_of_lambda_is_not_waited_for(lab_aws: "Aws") -> None:
    from llmlab import stack

    clock = ManualClock(NOW)
    end = refusing(lab_aws, "lambda", "CreateFunction", "CodeStorageExceededException", "Code storage limit exceeded.", times=1)
    try:
        with pytest.raises(LabError, match="Code storage limit exceeded"):
            apply(plan(stack.build(Settings(), lab_aws, clock)))
    finally:
        end()


def test_a_bucket_name_that_is_taken(lab_aws: "Aws") -> None:
    from llmlab.aws.buckets import DataBucket

    end = refusing(lab_aws, "s3", "CreateBucket", "BucketAlreadyExists", "The requested bucket name is not available.", times=1)
    try:
        with pytest.raises(Refused, match="is taken by another account") as caught:
            DataBucket(aws=lab_aws).create()
    finally:
        end()
    assert caught.value.hint == "LLMLAB_LAB=another-name llmlab bootstrap"


def test_a_bucket_of_another_account(lab_aws: "Aws") -> None:
    from llmlab.aws.buckets import DataBucket

    end = refusing(lab_aws, "s3", "GetBucketVersioning", "AccessDenied", "Access Denied", times=1)
    try:
        with pytest.raises(Refused, match="belongs to another account"):
            DataBucket(aws=lab_aws).read()
    finally:
        end()
