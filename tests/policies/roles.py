"""The five who may do something in a lab, what each may, and everything that each was seen or is known to ask for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.aws import policies, policies_operator
from llmlab.aws.policies_documents import document, statements
from llmlab.stack import RESOURCES
from tests.policies.authorization import of_schedules, requests
from tests.policies.documented import WORKFLOW, asked_by_the_workflow, documented
from tests.policies.evaluator import Judge, Request
from tests.policies.life import NAMES, Recorded

Policies = list[dict[str, Any]]
POLICIES: dict[str, Policies] = {
    **{role: [policy(NAMES)] for role, policy in policies.ROLES.items()},
    "operator": [policy for name, policy in policies_operator.documents(NAMES, RESOURCES).items() if "operator" in name],
}
"""Whose → what they may."""
NOT_RECORDED = {
    (
        "instance",
        "s3:AbortMultipartUpload",
    ): "boto3 and the AWS CLI give back the parts of an upload that fails; none fails in the recording",
    ("operator", "ec2:DescribeRegions"): "`doctor` asks whether a region that takes no credentials is enabled; in the sandbox all are",
    (
        "operator",
        "servicequotas:GetAWSDefaultServiceQuota",
    ): "asked where the account has no quota of its own; the sandbox's account has each",
    ("operator", "s3:AbortMultipartUpload"): "the same, of `llmlab upload`; and teardown aborts what is half uploaded",
}
"""An action that no recorded or documented call uses → why the role has it."""


@dataclass(frozen=True)
class Used:
    """A request, and the calls or programs that made it."""

    request: Request
    by: tuple[str, ...]


def used(role: str, recorded: Recorded) -> list[Used]:
    """Every distinct request of a role."""
    found: dict[str, tuple[Request, set[str]]] = {}

    def note(several: Iterable[Request], by: str) -> None:
        for one in several:
            found.setdefault(one.identity, (one, set()))[1].add(by)

    for call in recorded.calls.get(role, ()):
        note(requests(call, recorded.world), str(call))
    if role == "scheduler":
        schedules = [*recorded.calls["operator"], *recorded.calls["watchdog"]]
        note(of_schedules(schedules, recorded.world), "EventBridge Scheduler")
    if role == "github push":
        note(asked_by_the_workflow(NAMES, WORKFLOW.read_text(encoding="utf-8")), "the workflow")
    for program in documented(NAMES).get(role, ()):
        note(program.requests, program.program)
    return [Used(request, tuple(sorted(by))) for request, by in found.values()]


def allowed_actions(several: Iterable[Mapping[str, Any]]) -> set[str]:
    return {action for policy in several for one in statements(policy) for action in listed(one["Action"])}


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def without(several: Policies, action: str) -> Policies:
    """The same policies, less one action wherever it stands."""
    return [
        document(
            {**one, "Action": [other for other in listed(one["Action"]) if other != action]}
            for one in statements(policy)
            if listed(one["Action"]) != [action]
        )
        for policy in several
    ]


def principal(role: str) -> str:
    """A session of a role, or the user at the keyboard."""
    if role == "operator":
        return f"arn:aws:iam::{NAMES.account}:user/somebody"
    names = {
        "instance": NAMES.instance_role,
        "watchdog": NAMES.watchdog_role,
        "scheduler": NAMES.scheduler_role,
        "github push": NAMES.github_role,
    }
    return f"arn:aws:sts::{NAMES.account}:assumed-role/{names[role]}/session"


def denied(judge: Judge, role: str, several: Iterable[Request], may: Policies | None = None, **more: Any) -> list[str]:
    """Which of these requests a role may not make, in words."""
    may = POLICIES[role] if may is None else may
    return [str(one) for one in several if not judge.allows(may, one, principal=principal(role), **more)]
