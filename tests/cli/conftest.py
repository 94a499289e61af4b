"""Whole command lines through `main`: exit code, stdout, stderr."""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.aws.session import Aws
from llmlab.cli import main
from llmlab.clock import Clock, ManualClock, SystemClock
from llmlab.commands.context import CliContext
from llmlab.ui import Ui
from tests import hint_lines, hints
from tests.snapshots import Snapshot


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        return next((line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")), "")

    @property
    def hint(self) -> str:
        return next((line.removeprefix("hint: ") for line in self.err.splitlines() if line.startswith("hint: ")), "")


@dataclass
class CommandLine:
    """`llmlab("status", "--json")`; an own `aws`, environment and clock where a test needs them."""

    aws: Aws | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)

    def __call__(self, *arguments: str | Path, stdin: str = "", answer: str | None = None, shown: bool = False) -> Result:
        """Run one command. `answer` is typed at a terminal, `stdin` comes through a pipe; where it is `shown`, stdout is a terminal."""
        out, err = Terminal() if shown else io.StringIO(), io.StringIO()
        source = io.StringIO(stdin) if answer is None else Terminal(answer)
        state = CliContext(
            ui=Ui(stdin=source, stdout=out, stderr=err), environment={"HF_HUB_OFFLINE": "1", **self.environment}, clock=self.clock
        )
        if self.aws:
            state.__dict__["aws"] = self.aws
        with pytest.raises(SystemExit) as stop:
            main([str(one) for one in arguments], state)
        result = Result(int(stop.value.code or 0), out.getvalue(), err.getvalue())
        words = [str(one) for one in arguments]
        if "--json" in words:
            assert_documented(words, result.out)
        shown_lines = hints.LEDGER.shown(words, result.code, result.out, result.err)
        if hints.LEDGER.running and (self.aws or "AWS_ENDPOINT_URL" not in os.environ):  # an AWS of another process is not copied
            hints.run_each(words, result.error, shown_lines, self._again)
        return result

    def _again(self, words: Sequence[str]) -> Result:
        """A line that the one before showed, where nobody waits for ever and no account is asked that is not there."""
        os.environ.update({} if self.aws else {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
        return replace(self, clock=hints.Waits(self.clock.now()))(*words)


DOCUMENTED: Counter[str] = Counter()
"""How many documents of each form the tests of this process have seen."""


@cache
def validator(form: str) -> Any:
    import jsonschema

    from llmlab.commands import schemas

    return jsonschema.Draft202012Validator(schemas.schema(form))


def assert_documented(words: Sequence[str], out: str) -> None:
    """What a command prints with --json is as its schema says."""
    from llmlab.commands import schemas

    form = schemas.form_of(words)
    if not form or "--version" in words or not out:
        return
    documents = [json.loads(line) for line in out.splitlines()] if form == "logs --follow" else [json.loads(out)]
    for document in documents:
        said = "error" if isinstance(document, dict) and set(document) == set(schemas.ERROR) else form
        if form == "upload" and "ok" in document:  # a dataset that is not sent is shown as `validate` shows it
            said = "validate"
        DOCUMENTED[said] += 1
        wrong = [f"{'.'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in validator(said).iter_errors(document)]
        assert not wrong, (said, wrong[:3])


def assert_runs(hint: str) -> str:
    """A hint that parses: the program that it is a line of."""
    return hint_lines.parsed("hint", hint).program


@pytest.fixture
def llmlab(project: Path) -> CommandLine:
    """The command line in an empty folder, with no account behind it."""
    return CommandLine()


@pytest.fixture
def lab(llmlab: CommandLine, lab_aws: Aws) -> CommandLine:
    """The command line in an empty folder, on an empty account."""
    llmlab.aws = lab_aws
    return llmlab


EXAMPLES = b'{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}\n' * 40


@pytest.fixture(scope="session")
def _lab_snapshots() -> list[Snapshot]:
    """The lab of `ready`, once it was made."""
    return []


@pytest.fixture
def ready(lab: CommandLine, lab_aws: Aws, _lab_snapshots: list[Snapshot]) -> CommandLine:
    """The command line on a bootstrapped lab with one image and one dataset, on a clock that moves only when slept on."""
    from llmlab import stack
    from llmlab.config import Settings
    from llmlab.infra.apply import apply
    from llmlab.infra.plan import plan

    lab.clock = ManualClock(SystemClock().now().replace(microsecond=0))
    if _lab_snapshots:
        _lab_snapshots[0].put_back()
        return lab
    apply(plan(stack.build(Settings(), lab_aws, lab.clock)))
    put_image(lab_aws, "latest")
    put_dataset(lab_aws, "sums")
    _lab_snapshots.append(Snapshot())
    return lab


def put_image(aws: Aws, tag: str, says: object = None, repository: str = "") -> None:
    """An image that `says` something of itself: its configuration."""
    from llmlab.sandbox.completion_registry import BLOBS

    config = json.dumps(says).encode()
    known = {"config": {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}"}} if says else {}
    BLOBS.update({known["config"]["digest"]: config} if says else {})
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "tag": tag, "layers": [], **known}
    )
    digest = f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"
    aws.client("ecr").put_image(repositoryName=repository or aws.names.repository, imageManifest=manifest, imageTag=tag, imageDigest=digest)


def put_dataset(aws: Aws, name: str, **facts: Any) -> None:
    """What an upload leaves."""
    key = contract.dataset_prefix(name)
    file = contract.DataFile("train.jsonl", len(EXAMPLES), hashlib.sha256(EXAMPLES).hexdigest())
    manifest = contract.Manifest(name, (file,), "2026-11-24T00:00:00Z", {"examples": 40, "tokens": 800, **facts})
    aws.s3.put_object(Bucket=aws.names.data_bucket, Key=key + file.path, Body=EXAMPLES)
    aws.s3.put_object(Bucket=aws.names.data_bucket, Key=key + contract.MANIFEST, Body=contract.dump(manifest).encode())
