"""Every policy of the lab, as IAM gets it. A change here is a change of what a machine or a workflow may do: read it as such."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws import policies, policies_operator
from llmlab.aws.policies_documents import ANYWHERE, allow_anywhere
from llmlab.contract import Names

FILE = Path(__file__).parent / "policies.json"
NAMES = Names("llm-tuning-lab", "123456789012", "us-east-1")


def documents() -> dict[str, Any]:
    return {
        **{f"{role} role": policy(NAMES) for role, policy in policies.ROLES.items()},
        **policies_operator.documents(NAMES),
        "trust of the scheduler role": policies.trust_scheduler(NAMES),
        "trust of the github push role": policies.trust_github(NAMES.account, "me/repo", "main", "11/22"),
        "data bucket": policies.tls_only(NAMES.data_bucket),
        "topic": policies.topic(NAMES),
    }


def test_golden() -> None:
    """After an intended change: `python -m tests.golden.test_policies` writes the file anew."""
    assert documents() == json.loads(FILE.read_text(encoding="utf-8"))


WRITTEN = {**{role: policy(NAMES) for role, policy in policies.ROLES.items()}, **policies_operator.documents(NAMES)}
STATEMENTS = 87


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
    assert len(seen) == STATEMENTS


def test_a_resource_of_every_kind_needs_a_reason() -> None:
    with pytest.raises(KeyError, match="Whatever"):
        allow_anywhere("Whatever", "s3:GetObject")


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
