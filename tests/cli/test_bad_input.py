"""The table of bad input: one sentence, a hint that is a command, the right exit code, and nothing half-done.

What belongs to one part's depth (bad lines of a dataset, fields of a recipe) is tested beside that part; here stands every row once,
as the user meets it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from llmlab.aws.session import Aws
from llmlab.contract import PROJECT
from llmlab.errors import ExitCode
from tests.cli.conftest import CommandLine

REGION = "us-east-1"


class Raw:
    """The body of an HTTP answer, as botocore wants to read it."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.body


@dataclass
class Faulty:
    """An account where every call gets the same refusal."""

    code: str = ""
    status: int = 400
    calls: list[str] = field(default_factory=list)

    def answer(self, request: Any, **_: object) -> AWSResponse:
        self.calls.append(request.url)
        url = request.url
        if any(service in url for service in (".s3.", "//s3.", "//ec2.", "//sts.", "//iam.", "//sns.")):
            body = f"<Response><Errors><Error><Code>{self.code}</Code><Message>no</Message></Error></Errors></Response>"
            body = (
                body if "//ec2." in url else f"<ErrorResponse><Error><Code>{self.code}</Code><Message>no</Message></Error></ErrorResponse>"
            )
            if "s3." in url:
                body = f"<Error><Code>{self.code}</Code><Message>no</Message></Error>"
            kind = "text/xml"
        else:
            body, kind = f'{{"__type": "{self.code}", "message": "no"}}', "application/x-amz-json-1.1"
        return AWSResponse(url, self.status, {"content-type": kind, "x-amzn-errortype": self.code}, Raw(body.encode()))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def faulty_session() -> tuple[Aws, Faulty]:
    """One for the module: a fresh session costs 300 ms."""
    fault = Faulty()
    aws = Aws(REGION, lab=PROJECT)
    aws.session.events.register("before-send", fault.answer)
    return aws, fault


ONLINE = [
    ("status",),
    ("cost",),
    ("secret", "list"),
    ("fetch", "latest"),
    ("logs",),
    ("report",),
    ("launch",),
    ("upload", "data"),
    ("bootstrap", "--yes"),
    ("bootstrap", "--plan"),
    ("teardown", "--yes"),
]
"""One command of each kind that asks AWS."""

REFUSALS = [
    ("InvalidClientTokenId", 403, ExitCode.DENIED, "AWS does not accept these credentials", "aws configure"),
    ("ExpiredToken", 403, ExitCode.DENIED, "the AWS credentials have expired", "aws sso login"),
    ("AccessDenied", 403, ExitCode.DENIED, "AWS denied ", "llmlab doctor"),
]


@pytest.fixture
def data(project: Path) -> Path:
    folder = project / "data"
    folder.mkdir()
    line = '{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]}\n'
    (folder / "one.jsonl").write_text(line * 4)
    return folder


@pytest.mark.parametrize(("code", "status", "exit_code", "sentence", "hint"), REFUSALS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("line", ONLINE, ids=" ".join)
def test_what_aws_refuses(
    line: tuple[str, ...],
    code: str,
    status: int,
    exit_code: ExitCode,
    sentence: str,
    hint: str,
    llmlab: CommandLine,
    data: Path,
    faulty_session: tuple[Aws, Faulty],
) -> None:
    llmlab.aws, fault = faulty_session
    llmlab.aws.__dict__.pop("account", None)
    fault.code, fault.status = code, status
    result = llmlab(*line)
    assert (result.code, result.error[: len(sentence)], result.hint) == (exit_code, sentence, hint)
    assert not (data.parent / "outputs").exists()
    as_json = llmlab("--json", *line)
    assert as_json.json["exit_code"] == exit_code
    assert as_json.json["error"].startswith(sentence)


@pytest.mark.parametrize("line", ONLINE, ids=" ".join)
def test_no_region(line: tuple[str, ...], llmlab: CommandLine, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    result = llmlab(*line)
    assert (result.code, result.error) == (ExitCode.USAGE, "no AWS region is set")
    assert result.hint.startswith("llmlab ")


def test_no_credentials(llmlab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    result = llmlab("status")
    assert (result.code, result.error, result.hint) == (ExitCode.DENIED, "no AWS credentials were found", "aws configure")


def test_an_unknown_profile(llmlab: CommandLine) -> None:
    result = llmlab("status", "--profile", "nobody")
    assert (result.code, result.error) == (ExitCode.DENIED, "there is no AWS profile named nobody")
    assert result.hint == "aws configure list-profiles"


@pytest.mark.parametrize("region", ["nowhere", "us east 1"])
def test_an_unknown_region(region: str, llmlab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = llmlab("status", "--region", region)
    assert result.code in {ExitCode.FAILED, ExitCode.USAGE}
    assert region in result.error
    assert result.hint
