"""The table of bad input: one sentence, a hint that is a command, the right exit code, and nothing half-done.

What belongs to one part's depth (bad lines of a dataset, fields of a recipe) is tested beside that part; here stands every row once,
as the user meets it.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from llmlab import contract
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.contract import PROJECT
from llmlab.errors import ExitCode
from tests.cli.conftest import CommandLine, assert_runs

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
    interrupt: bool = False
    """Ctrl-C instead of an answer."""

    def answer(self, request: Any, **_: object) -> AWSResponse:
        self.calls.append(request.url)
        if self.interrupt:
            raise KeyboardInterrupt
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
    ("AccessDenied", 403, ExitCode.DENIED, "AWS denied ", "llmlab bootstrap --print-operator-policy"),
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
def test_interrupted(line: tuple[str, ...], llmlab: CommandLine, data: Path, faulty_session: tuple[Aws, Faulty]) -> None:
    """Ctrl-C while AWS is asked: what is left, and the command that goes on."""
    llmlab.aws, fault = faulty_session
    llmlab.aws.__dict__.pop("account", None)
    fault.interrupt = True
    try:
        result = llmlab(*line)
    finally:
        fault.interrupt = False
    assert (result.code, result.error.partition(";")[0]) == (ExitCode.INTERRUPTED, "interrupted")
    assert result.error.partition("; ")[2]
    assert result.hint in {shlex.join(["llmlab", *line]), "llmlab status"}
    assert "Traceback" not in result.err
    assert not (data.parent / "outputs").exists()


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


@pytest.mark.slow  # botocore's own retries, some seconds of real time: once, because no other test goes through them
def test_an_endpoint_that_does_not_answer(llmlab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = llmlab("status")
    assert (result.code, result.hint) == (ExitCode.FAILED, "llmlab doctor")
    assert result.error == "AWS did not answer sts:GetCallerIdentity in region us-east-1"


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


GOOD = b'{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]}\n'
GOOD_LABEL = b'{"prompt": "hello", "completion": "good day", "label": true}\n'
OFFLINE: list[tuple[str, dict[str, bytes], tuple[str, ...], ExitCode, str]] = [
    ("no folder", {}, ("validate", "nowhere"), ExitCode.USAGE, "there is no file or folder nowhere"),
    ("empty folder", {"empty/sub/.keep": b""}, ("validate", "empty"), ExitCode.USAGE, "empty is empty"),
    ("PDFs", {"pdfs/a.pdf": b"%PDF-1.4\n"}, ("validate", "pdfs"), ExitCode.USAGE, "pdfs holds no dataset, only 1 .pdf"),
    ("not UTF-8", {"data/a.jsonl": b'{"text": "\xff"}\n'}, ("validate", "data"), ExitCode.FAILED, "no line of data can be trained on"),
    ("one bad line", {"data/a.jsonl": GOOD + b"{oops\n"}, ("validate", "data"), ExitCode.FAILED, ""),
    ("max-hours 0", {}, ("launch", "--max-hours", "0"), ExitCode.USAGE, "max-hours must be more than 0"),
    ("max-hours 10000", {}, ("launch", "--max-hours", "10000"), ExitCode.USAGE, "max-hours must be more than 0 and at most 168"),
    ("recipe field", {}, ("launch", "--set", "lora.rnak=3"), ExitCode.USAGE, "there is no field lora.rnak"),
    ("recipe type", {"recipe.yaml": b"model: x/y\nepochs: many\n"}, ("launch",), ExitCode.USAGE, "epochs: "),
    ("recipe file", {}, ("launch", "--recipe", "nope.yaml"), ExitCode.USAGE, "there is no recipe nope.yaml"),
    ("not YAML", {"recipe.yaml": b"model: [\n"}, ("launch",), ExitCode.USAGE, "recipe.yaml is not YAML"),
    ("not TOML", {"llmlab.toml": b"lab = \n"}, ("config",), ExitCode.USAGE, "llmlab.toml is not TOML"),
    ("unknown setting", {"llmlab.toml": b"bugdet = 3\n"}, ("config",), ExitCode.USAGE, "there is no setting bugdet; budget is meant"),
    ("wrong setting", {"llmlab.toml": b"max_hours = 10000\n"}, ("config",), ExitCode.USAGE, "max_hours cannot be 10000"),
    ("groups", {}, ("launch", "--recipe", "grpo", "--set", "grpo.num_generations=5"), ExitCode.USAGE,
     "objective grpo makes 32 completions a step (batch_size x accumulate), which groups of grpo.num_generations 5 do not divide"),
    ("no rewards", {}, ("launch", "--recipe", "grpo", "--set", "grpo.rewards=[]"), ExitCode.USAGE, "objective grpo has no rewards: "),
    ("a reward of no list", {}, ("launch", "--recipe", "grpo", "--set", "grpo.rewards=[exact]"), ExitCode.USAGE, "grpo.rewards"),
    ("packing under grpo", {}, ("launch", "--recipe", "grpo", "--set", "packing=true"), ExitCode.USAGE, "objective grpo pads its batches"),
    ("packing under kto", {}, ("estimate", "--recipe", "kto", "--set", "packing=true"), ExitCode.USAGE, "objective kto pads its batches"),
    ("GPUs under kto", {}, ("launch", "--recipe", "kto", "--set", "parallel=fsdp"), ExitCode.USAGE, "objective kto trains on one GPU, "),
    ("kto alone in its batch", {}, ("launch", "--recipe", "kto", "--set", "batch_size=1"), ExitCode.USAGE, "objective kto needs a batch_"),
    ("labels of one kind", {"data/a.jsonl": GOOD_LABEL * 3}, ("validate", "data", "--objective", "kto"), ExitCode.FAILED,
     "every label of data says that the answer is good, and objective kto learns from good and bad ones side by side"),
    ("secret name", {}, ("secret", "set", "HF TOKEN"), ExitCode.USAGE, "a secret's name is lower-case"),
    ("empty secret", {}, ("secret", "set", "hf-token"), ExitCode.USAGE, "the value on standard input is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "line", "exit_code", "sentence"), [row[1:] for row in OFFLINE], ids=[row[0] for row in OFFLINE])
def test_what_the_user_wrote(
    files: dict[str, bytes], line: tuple[str, ...], exit_code: ExitCode, sentence: str, lab: CommandLine, project: Path, recorder: list[str]
) -> None:
    for name, content in files.items():
        write(project / name, content)
    result = lab(*line)
    assert (result.code, result.error[: len(sentence)]) == (exit_code, sentence)
    assert result.error
    assert not result.error.endswith(".")
    assert_runs(result.hint)
    assert recorder == [], "AWS was asked"
    assert lab("--json", *line).json


LIMITED = """
import resource, sys
from llmlab.cli import main
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
main(sys.argv[1:])
"""


@pytest.mark.slow  # two gigabytes are read, from a file that holds no block of them
def test_a_line_of_two_gigabytes(project: Path) -> None:
    """Refused by a process, and those it starts, that have half of that as memory."""
    path = project / "data" / "a.jsonl"
    write(path, b'{"messages": [{"role": "user", "content": "')
    os.truncate(path, 2 << 30)
    command = [sys.executable, "-c", LIMITED, "validate", str(path.parent)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=Path(contract.__file__).parents[1])
    assert result.returncode == ExitCode.FAILED, result.stderr
    assert "a.jsonl:1: a line of 2,048 MiB: the most is 64 MiB" in result.stdout
    assert result.stderr.startswith(f"error: no line of {path.parent} can be trained on\n")


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [("LLMLAB_REGON", "there is no setting for the variable LLMLAB_REGON; LLMLAB_REGION is meant"), ("LLMLAB_BUDGET", "budget cannot be ")],
)
def test_the_environment(variable: str, sentence: str, llmlab: CommandLine) -> None:
    llmlab.environment = {variable: "nonsense"}
    result = llmlab("status")
    assert (result.code, result.error[: len(sentence)], result.hint) == (ExitCode.USAGE, sentence, f"unset {variable}")


@pytest.mark.parametrize(
    "line", [("status",), ("logs",), ("fetch", "latest"), ("stop", "latest"), ("report",), ("launch",), ("upload", "data")]
)
def test_before_bootstrap(line: tuple[str, ...], lab: CommandLine, data: Path) -> None:
    """No lab: told with the command that makes one. `status` shows that there is nothing."""
    result = lab(*line)
    assert result.hint.startswith("llmlab ")
    assert "bootstrap" in result.hint, result.err


UNKNOWN = [
    ("logs", "20200101"),
    ("fetch", "20200101"),
    ("stop", "20200101"),
    ("resume", "20200101"),
    ("report", "20200101"),
    ("status", "2020"),
]


@pytest.mark.parametrize("line", UNKNOWN, ids=" ".join)
def test_an_unknown_run(line: tuple[str, ...], lab: CommandLine, lab_aws: Aws) -> None:
    lab_aws.s3.create_bucket(Bucket=lab_aws.names.outputs_bucket)
    lab_aws.s3.create_bucket(Bucket=lab_aws.names.data_bucket)
    result = lab(*line)
    assert (result.code, result.error[:9]) == (ExitCode.FAILED, "there are" if "no runs" in result.error else "there is ")
    assert result.hint.startswith("llmlab ")


@pytest.mark.slow  # a whole bootstrap in moto
def test_an_unknown_dataset(lab: CommandLine, recorder: list[str]) -> None:
    lab.clock = ManualClock(datetime(2026, 11, 20, tzinfo=UTC))
    assert lab("bootstrap", "--yes").code == ExitCode.DONE
    result = lab("launch", "--data", "nothing")
    assert result.code in {ExitCode.FAILED, ExitCode.USAGE}
    assert "nothing" in result.error
    assert result.hint.startswith("llmlab upload")
    assert "ec2:CreateFleet" not in recorder


def test_an_unknown_model(ready: CommandLine, recorder: list[str]) -> None:
    result = ready("launch", "--set", "model=lab:nope")
    assert (result.code, result.error) == (ExitCode.USAGE, "the model lab:nope has not been uploaded")
    assert result.hint == "llmlab upload nope/ --model nope"
    assert "ec2:CreateFleet" not in recorder
