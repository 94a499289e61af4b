"""Whole command lines through `main`: exit code, stdout, stderr."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws.session import Aws
from llmlab.cli import main
from llmlab.clock import Clock, SystemClock
from llmlab.commands.state import State
from llmlab.ui import Ui


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

    def __call__(self, *arguments: str | Path, stdin: str = "", answer: str | None = None) -> Result:
        """Run one command. `answer` is typed at a terminal, `stdin` comes through a pipe."""
        out, err = io.StringIO(), io.StringIO()
        source = io.StringIO(stdin) if answer is None else Terminal(answer)
        state = State(ui=Ui(stdin=source, stdout=out, stderr=err), environment=self.environment, clock=self.clock)
        if self.aws:
            state.__dict__["aws"] = self.aws
        with pytest.raises(SystemExit) as stop:
            main([str(one) for one in arguments], state)
        return Result(int(stop.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture
def llmlab(project: Path) -> CommandLine:
    """The command line in an empty folder, with no account behind it."""
    return CommandLine()


@pytest.fixture
def lab(llmlab: CommandLine, lab_aws: Aws) -> CommandLine:
    """The command line in an empty folder, on an empty account."""
    llmlab.aws = lab_aws
    return llmlab
