"""Every policy of the lab, as IAM gets it. A change here is a change of what a machine or a workflow may do: read it as such."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws import policies
from llmlab.contract import Names

FILE = Path(__file__).parent / "policies.json"
NAMES = Names("llm-tuning-lab", "123456789012", "us-east-1")


def documents() -> dict[str, Any]:
    return {
        **{f"{role} role": policy(NAMES) for role, policy in policies.ROLES.items()},
        "trust of the scheduler role": policies.trust_service("scheduler.amazonaws.com", NAMES.account),
        "trust of the github push role": policies.trust_github(NAMES.account, "me/repo", "main", "11/22"),
        "data bucket": policies.tls_only(NAMES.data_bucket),
        "topic": policies.topic(NAMES),
    }


def test_golden() -> None:
    """After an intended change: `python -m tests.golden.test_policies` writes the file anew."""
    assert documents() == json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", policies.ROLES)
def test_least_privilege(role: str) -> None:
    """No statement allows every action of a service, and `*` as resource is only where AWS knows nothing narrower."""
    anywhere = {
        "ecr:GetAuthorizationToken", "cloudwatch:PutMetricData", "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    }  # fmt: skip
    statements = policies.ROLES[role](NAMES)["Statement"]
    assert len({one["Sid"] for one in statements}) == len(statements) > 1
    for one in statements:
        actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
        assert all("*" not in action for action in actions)
        if one["Resource"] == "*":
            assert all(action in anywhere or action.startswith("ec2:Describe") for action in actions), one["Sid"]


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
