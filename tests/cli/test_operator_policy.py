"""What the person at the keyboard needs to be allowed: printed, and named when it is missing."""

import json

import pytest
from botocore.exceptions import ClientError

from llmlab.aws.policies_boundary import boundary_name
from llmlab.aws.policies_operator import documents
from llmlab.aws.session import Denied, translate
from llmlab.contract import PROJECT, Names
from llmlab.errors import ExitCode
from llmlab.stack import RESOURCES
from tests.cli.conftest import CommandLine

NAMES = Names(PROJECT, "123456789012", "us-east-1")
HINT = "llmlab bootstrap --print-operator-policy"


def test_it_is_printed(lab: CommandLine, recorder: list[str]) -> None:
    result = lab("bootstrap", "--print-operator-policy")
    assert (result.code, json.loads(result.out)) == (ExitCode.DONE, documents(NAMES, RESOURCES))
    assert f"llmlab bootstrap --permissions-boundary arn:aws:iam::{NAMES.account}:policy/{boundary_name(NAMES)}" in result.err
    assert set(recorder) <= {"sts:GetCallerIdentity"}


def test_it_is_printed_without_credentials(llmlab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    result = llmlab("bootstrap", "--print-operator-policy")
    assert (result.code, json.loads(result.out)) == (ExitCode.DONE, documents(Names(PROJECT, "ACCOUNT", "REGION"), RESOURCES))
    assert "ACCOUNT and REGION to be filled in" in result.err


@pytest.mark.parametrize(
    ("operation", "message", "named"),
    [
        ("s3:HeadObject", "Forbidden", "s3:HeadObject"),
        ("s3:ListObjectsV2", "User: arn:aws:iam::123456789012:user/x is not authorized to perform: s3:ListBucket on y", "s3:ListBucket"),
        ("ec2:CreateFleet", "You are not authorized to perform: iam:PassRole on resource: z", "iam:PassRole"),
    ],
)  # fmt: skip
def test_the_action_that_is_missing_is_named(operation: str, message: str, named: str) -> None:
    """IAM says which; the call's own name would send the user after an action that does not exist."""
    answer = ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, operation)
    error = translate(answer, operation, "us-east-1")
    assert isinstance(error, Denied)
    assert (error.message, error.hint, error.exit_code) == (f"AWS denied {named}", HINT, ExitCode.DENIED)


def test_a_command_that_is_denied(lab: CommandLine) -> None:
    """From the wire to the exit code."""
    assert lab.aws is not None

    def refuse(**_: object) -> tuple[object, dict[str, object]]:
        class Answer:
            status_code = 403

        words = "User: x is not authorized to perform: ecr:DescribeImages on resource: y"
        return Answer(), {"Error": {"Code": "AccessDeniedException", "Message": words}, "ResponseMetadata": {"HTTPStatusCode": 403}}

    events = lab.aws.client("sts").meta.events
    events.register("before-call.sts.GetCallerIdentity", refuse)
    try:
        lab.aws.__dict__.pop("account", None)
        lab.aws.__dict__.pop("names", None)
        result = lab("bootstrap", "--plan")
    finally:
        events.unregister("before-call.sts.GetCallerIdentity", refuse)
    assert (result.code, result.error, result.hint) == (ExitCode.DENIED, "AWS denied ecr:DescribeImages", HINT)
