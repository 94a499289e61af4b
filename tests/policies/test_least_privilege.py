"""Nothing too little: every call of every program is allowed. Nothing too much: no action can be taken away without denying one."""

import json

import pytest

from llmlab.aws.policies_boundary import boundary
from llmlab.aws.policies_documents import allow, document, statements
from tests.policies.evaluator import Judge, Request, kinds
from tests.policies.life import NAMES, Recorded
from tests.policies.roles import NOT_RECORDED, POLICIES, allowed_actions, denied, used, without
from tests.policies.tables import PAGE, page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

LEAST = {"instance": 90, "watchdog": 80, "scheduler": 4, "github push": 9, "operator": 500}
"""How many distinct requests each must have been seen with: fewer, and the recording has lost something."""
ACTIONS = {"instance": 18, "watchdog": 22, "scheduler": 2, "github push": 9, "operator": 212}
"""How many actions each may do at least."""


@pytest.mark.parametrize("role", POLICIES)
def test_every_call_is_allowed(judge: Judge, recorded: Recorded, role: str) -> None:
    requests = [one.request for one in used(role, recorded)]
    assert denied(judge, role, requests) == []
    assert len(requests) >= LEAST[role]


@pytest.mark.parametrize("role", POLICIES)
def test_every_action_is_needed(judge: Judge, recorded: Recorded, role: str) -> None:
    """Without any one of them, a call that was seen is denied; or there is a written reason."""
    requests = [one.request for one in used(role, recorded)]
    actions = allowed_actions(POLICIES[role])
    idle = unused(actions, requests)
    assert idle == {action for whose, action in NOT_RECORDED if whose == role}
    for action in actions - idle:
        asking = [one for one in requests if one.action == action]
        assert denied(judge, role, asking, without(POLICIES[role], action)) == [str(one) for one in asking], action
    assert len(actions) >= ACTIONS[role]


def unused(actions: set[str], requests: list[Request]) -> set[str]:
    return {action for action in actions if not any(one.action == action for one in requests)}


def test_an_action_too_many_and_one_too_few_are_seen(judge: Judge, recorded: Recorded) -> None:
    """The two laws above, broken on purpose: an action for whoever may need it one day, and one that was forgotten."""
    requests = [one.request for one in used("watchdog", recorded)]
    more = document([*statements(POLICIES["watchdog"][0]), allow("Someday", "ec2:DescribeVolumes", "*")])
    assert unused(allowed_actions([more]), requests) == {"ec2:DescribeVolumes"}
    assert denied(judge, "watchdog", requests, [more]) == []
    fewer = without([more], "iam:PassRole")
    assert {one.partition(" ")[0] for one in denied(judge, "watchdog", requests, fewer)} == {"iam:PassRole"}


def test_a_resource_that_is_too_narrow_is_seen(judge: Judge, recorded: Recorded) -> None:
    """The watchdog's images belong to AWS's account, not to the lab's: a policy that names the lab's is denied."""
    requests = [one.request for one in used("watchdog", recorded)]
    text = json.dumps(POLICIES["watchdog"][0]).replace("::parameter/", f":{NAMES.account}:parameter/")
    assert {one.partition(" ")[0] for one in denied(judge, "watchdog", requests, [json.loads(text)])} == {"ssm:GetParameters"}


def test_the_roles_within_their_boundary(judge: Judge, recorded: Recorded) -> None:
    """A lab whose roles are bound works like any other."""
    for role in set(POLICIES) - {"operator"}:
        requests = [one.request for one in used(role, recorded)]
        assert denied(judge, role, requests, boundary=boundary(NAMES)) == [], role


def test_every_action_exists(judge: Judge) -> None:
    actions = {action for several in POLICIES.values() for action in allowed_actions(several)}
    assert all(kinds(action) is not None for action in actions)
    with pytest.raises(KeyError):
        kinds("ec2:DescribeNothing")
    with pytest.raises(ValueError, match="DescribeNothing"):
        denied(judge, "operator", [Request("ec2:DescribeNothing", "*")])


def test_the_page_is_up_to_date(judge: Judge, recorded: Recorded) -> None:
    """docs/least-privilege.md says what was seen here; `python -m tests.policies.tables` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page(recorded)
