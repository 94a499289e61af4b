"""Least privilege of every policy of the lab, by laws over all of them; `tests/policies` puts each before an IAM simulator.

`policies.json` beside this file is for whoever reviews a change, which is one of what a machine or a workflow may do: `make docs` writes
it, no test compares it.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws import policies, policies_operator
from llmlab.aws.policies_documents import ANYWHERE, allow, allow_anywhere, make, together
from llmlab.contract import Names
from llmlab.stack import RESOURCES

FILE = Path(__file__).parent / "policies.json"
NAMES = Names("llm-tuning-lab", "123456789012", "us-east-1")


def documents() -> dict[str, Any]:
    return {
        **{f"{role} role": policy(NAMES) for role, policy in policies.ROLES.items()},
        **policies_operator.documents(NAMES, RESOURCES),
        "trust of the scheduler role": policies.trust_scheduler(NAMES),
        "trust of the github push role": policies.trust_github(NAMES.account, "me/repo", "main", "11/22"),
        "data bucket": policies.tls_only(NAMES.data_bucket),
        "topic": policies.topic(NAMES),
        "S3 endpoint": policies.s3_endpoint(NAMES),
    }


WRITTEN = {**{role: policy(NAMES) for role, policy in policies.ROLES.items()}, **policies_operator.documents(NAMES, RESOURCES)}
STATEMENTS = 90
"""Fewer than these are not there."""


def test_no_action_of_every_kind_and_a_reason_for_every_resource_of_every_kind() -> None:
    """Not `s3:*`, not `ec2:Describe*`; `*` as resource only with its reason, and no reason without a use."""
    seen: list[str] = []
    anywhere = set()
    for policy in WRITTEN.values():
        sids = [one["Sid"] for one in policy["Statement"]]
        assert len(set(sids)) == len(sids)
        seen += sids
        for one in policy["Statement"]:
            assert not any("*" in action for action in listed(one["Action"])), one["Sid"]
            if "*" in listed(one["Resource"]):
                anywhere.add(one["Sid"])
    assert anywhere == set(ANYWHERE)
    assert len(seen) >= STATEMENTS


ELSEWHERE = {
    "StartWith": "images, snapshots, subnets and keys that a machine is started with may be anybody's",
    "Start": "the boundary's frame around those two",
    "ResolveImage": "AWS's own parameters",
    "ReadImageName": "AWS's own parameters",
    "ConnectBy": "AWS's own documents",
    "KnowRoles": "AWS's own roles, beside the lab's",
    "MakeServiceRoles": "AWS's own roles",
    "KeepProvider": "one an account, whoever made it",
    "MakeInAnyNetwork": "a security group in a network that somebody else made",
    "AskWhatIsAllowed": "whoever asks, of themselves",
}
"""Statements about what neither bears the lab's name nor must bear its tags, each with its reason."""


def tagged(statement: Any) -> bool:
    """Whether a statement holds for what bears the lab's tags alone."""
    equals = statement.get("Condition", {}).get("StringEquals", {})
    return {key.rpartition("/")[2]: value for key, value in equals.items() if "Tag/" in key} == dict(NAMES.tags)


def test_everything_is_the_labs_by_name_or_by_tag() -> None:
    named = re.compile(rf"[:/]{NAMES.lab}(?!\w)")
    others = set()
    for policy in WRITTEN.values():
        for one in policy["Statement"]:
            if "*" not in listed(one["Resource"]) and not all(named.search(each) for each in listed(one["Resource"])) and not tagged(one):
                others.add(one["Sid"])
    assert others == set(ELSEWHERE)


def test_who_ends_and_who_passes_is_held_to_the_lab() -> None:
    """An instance is ended for its tags alone, and a role is handed to the services that it is for."""
    ends = passes = 0
    for policy in WRITTEN.values():
        for one in policy["Statement"]:
            if "ec2:TerminateInstances" in listed(one["Action"]):
                ends += 1
                assert tagged(one), one["Sid"]
            if "iam:PassRole" in listed(one["Action"]):
                passes += 1
                assert one["Condition"]["StringEquals"]["iam:PassedToService"], one["Sid"]
    assert (ends, passes) >= (4, 4)


def test_who_is_trusted() -> None:
    """Scheduler for this lab's schedules, workflows of one branch, the topic's two services for this account; and nobody without TLS."""
    (scheduler,) = policies.trust_scheduler(NAMES)["Statement"]
    group = NAMES.arn("scheduler", f"schedule-group/{NAMES.schedule_group}")
    assert scheduler["Condition"] == {"StringEquals": {"aws:SourceAccount": NAMES.account, "aws:SourceArn": group}}
    (github,) = policies.trust_github(NAMES.account, "me/repo", "main", "11/22")["Statement"]
    equals = {key.rpartition(":")[2]: value for key, value in github["Condition"]["StringEquals"].items()}
    assert equals == {"aud": "sts.amazonaws.com", "sub": policies.github_subjects("me/repo", "main", "11/22")}
    (tls,) = [one for one in statements(policies.tls_only(NAMES.data_bucket)) if one["Effect"] == "Deny"]
    assert (tls["Principal"], tls["Action"], tls["Condition"]) == ("*", "s3:*", {"Bool": {"aws:SecureTransport": "false"}})
    assert set(tls["Resource"]) == {f"arn:aws:s3:::{NAMES.data_bucket}", f"arn:aws:s3:::{NAMES.data_bucket}/*"}
    told = statements(policies.topic(NAMES))
    assert {one["Principal"]["Service"] for one in told} == {"cloudwatch.amazonaws.com", "budgets.amazonaws.com"}
    assert all(one["Condition"]["StringEquals"] == {"aws:SourceAccount": NAMES.account} for one in told)
    assert {one["Action"] for one in told} == {"sns:Publish"}


def statements(policy: Any) -> list[Any]:
    """Of a document, of a list of them, or of one."""
    return policy["Statement"] if "Statement" in policy else [policy] if isinstance(policy, dict) else policy


def test_a_resource_of_every_kind_needs_a_reason() -> None:
    with pytest.raises(KeyError, match="Whatever"):
        allow_anywhere("Whatever", "s3:GetObject")


def test_statements_of_one_sid_become_one_where_no_more_is_allowed_by_it() -> None:
    """Actions on the same, or resources that must all bear the lab's tags; else each action would be allowed on each resource."""
    read, write = allow("Keep", "sns:GetTopicAttributes", "topic"), allow("Keep", ["sns:Subscribe"], "topic")
    assert together([read, write, read]) == [allow("Keep", ["sns:GetTopicAttributes", "sns:Subscribe"], "topic")]
    (made, tagging) = together([*make(NAMES, "CreateVpc", "vpc"), *make(NAMES, "CreateSubnet", "subnet")])
    assert made["Action"] == ["ec2:CreateSubnet", "ec2:CreateVpc"]
    assert tagging["Resource"] == [NAMES.arn("ec2", "subnet/*"), NAMES.arn("ec2", "vpc/*")]
    assert tagging["Condition"]["StringEquals"]["ec2:CreateAction"] == ["CreateSubnet", "CreateVpc"]
    for other in (allow("Keep", "sns:DeleteTopic", "another"), allow("Keep", "sns:DeleteTopic", "topic", StringEquals={"aws:Tag": "x"})):
        with pytest.raises(ValueError, match="two statements called Keep"):
            together([read, other])


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_instance_cannot_start_stop_or_tag() -> None:
    actions = json.dumps(policies.instance(NAMES)).replace("ec2:DescribeSpotPriceHistory", "")
    for forbidden in ("ec2:", "iam:", "lambda:", "scheduler:", "s3:Delete", "ssm:GetParameter", "sns:"):
        assert forbidden not in actions


@pytest.mark.parametrize("role", policies.ROLES)
def test_small_enough(role: str) -> None:
    """IAM takes 10,240 characters of inline policies a role, white space not counted."""
    assert len(json.dumps(policies.ROLES[role](NAMES), separators=(",", ":"))) < 10240


def test_both_forms_of_the_subject() -> None:
    assert policies.github_subjects("me/repo", "main", None) == ["repo:me/repo:ref:refs/heads/main"]
    assert policies.github_subjects("me/repo", "main", "11/22") == [
        "repo:me/repo:ref:refs/heads/main",
        "repo:me@11/repo@22:ref:refs/heads/main",
    ]


if __name__ == "__main__":
    FILE.write_text(json.dumps(documents(), indent=1) + "\n", encoding="utf-8")


def test_a_secret_is_for_the_one_role_that_reads_it() -> None:
    """The token for the machines, the webhook's address for the watchdog; whole names, so that no other's begins alike."""
    reading = {
        role: [
            arn
            for one in policy(NAMES)["Statement"]
            if "secretsmanager:GetSecretValue" in listed(one["Action"])
            for arn in listed(one["Resource"])
        ]
        for role, policy in policies.ROLES.items()
    }
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:llm-tuning-lab"
    assert reading == {
        "instance": [f"{secret}/hf-token-??????"], "watchdog": [f"{secret}/webhook-url-??????"], "scheduler": [], "github push": [],
    }  # fmt: skip
