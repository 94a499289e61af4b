"""docs/least-privilege.md: role by role, what it may, what uses that, and what was tried and is denied.

After an intended change: `python -m tests.policies.tables` lives a lab's life anew and writes the page.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.node_packages import missing
from tests.policies import evaluator, test_denials, test_operator
from tests.policies.evaluator import Request
from tests.policies.life import Recorded, record
from tests.policies.roles import NOT_RECORDED, POLICIES, allowed_actions, used

PAGE = Path(__file__).parents[2] / "docs/least-privilege.md"
HEAD = """<!-- written by tests/policies/tables.py -->

# What is used, and what is denied

Every call that a lab's programs made in a whole life in the sandbox, from bootstrap to teardown, and every call that programs of others
are documented to make, was put before an IAM simulator together with the role's policy. Each is allowed, and each action is there because
one of these calls is denied without it. What a role must not do was put before it too.
"""


def page(recorded: Recorded) -> str:
    parts = [HEAD]
    for role in POLICIES:
        requests = used(role, recorded)
        parts.append(f"## {role.capitalize()}\n\n| may | because of |\n| --- | --- |")
        for action in sorted(allowed_actions(POLICIES[role])):
            by = sorted({caller for one in requests if one.request.action == action for caller in one.by})
            parts.append(f"| `{action}` | {', '.join(by) or NOT_RECORDED[role, action]} |")
        rows = denials(role)
        parts.append(f"\n{len(rows)} things denied, each tried:\n\n| must not | asked as |\n| --- | --- |")
        parts += [f"| {what} | {in_words(request)} |" for what, request in rows]
        parts.append("")
    tokens = [(what, allowed) for what, _, allowed in test_denials.TOKENS]
    parts.append("## A token of GitHub's for the push role\n\n| token of | may become the role |\n| --- | --- |")
    parts += [f"| {what} | {'yes' if allowed else 'no'} |" for what, allowed in tokens]
    return "\n".join(parts) + "\n"


def denials(role: str) -> list[tuple[str, Request]]:
    if role == "operator":
        return [(what, request) for what, request, _ in test_operator.DENIALS]
    return [(one.what, one.request) for one in test_denials.DENIALS if one.role == role]


def in_words(request: Request) -> str:
    """The action, the resource without what all of them share, and the tags that matter."""
    shown: Mapping[str, object] = {key: value for key, value in request.context.items() if key != "aws:SecureTransport"}
    return f"`{request.action}` on `{request.resource}`" + (f" with `{json.dumps(shown)}`" if shown else "")


if __name__ == "__main__":
    if reason := missing(evaluator.HERE):
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder:
        for recorded in record(Path(folder)):
            PAGE.write_text(page(recorded), encoding="utf-8")
            sys.stderr.write(f"{PAGE}\n")
