"""What each role must not do. Beside nearly every denial stands the request that differs from it in one thing, and is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from llmlab.aws import policies
from llmlab.aws.policies_documents import document
from llmlab.contract import RunKeys
from tests.policies.evaluator import Judge, Request
from tests.policies.life import NAMES
from tests.policies.roles import POLICIES, principal

OTHER = replace(NAMES, lab="other-lab")
RUN = RunKeys("20260101-000000-aaaa")
OURS = {f"aws:ResourceTag/{key}": value for key, value in NAMES.tags.items()}
THEIRS = {f"aws:ResourceTag/{key}": value for key, value in OTHER.tags.items()}
ASKED = {f"aws:RequestTag/{key}": value for key, value in NAMES.tags.items()}
INSTANCE = NAMES.arn("ec2", "instance/i-0123456789abcdef0")
NEW = NAMES.arn("ec2", "instance/*")


@dataclass(frozen=True)
class Denial:
    """What must not be, for one role; and its twin that may."""

    role: str
    what: str
    request: Request
    twin: Request | None = None


def of_s3(action: str, bucket: str, key: str = "") -> Request:
    resource = f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")
    return Request(f"s3:{action}", resource, {"aws:SecureTransport": "true"})


def passing(role: str, service: str) -> Request:
    return Request("iam:PassRole", NAMES.role_arn(role), {"iam:PassedToService": f"{service}.amazonaws.com"})


def of_secret(name: str, action: str = "GetSecretValue") -> Request:
    return Request(f"secretsmanager:{action}", NAMES.arn("secretsmanager", f"secret:{name}-AbCdEf"))


def on(action: str, resource: str, context: Mapping[str, str] | None = None) -> Request:
    return Request(action, resource, context or {})


TERMINATE = on("ec2:TerminateInstances", INSTANCE, OURS)
START = on("ec2:RunInstances", NEW, ASKED)
INVOKE = on("lambda:InvokeFunction", NAMES.arn("lambda", f"function:{NAMES.watchdog}"))
PUSH = on("ecr:PutImage", NAMES.arn("ecr", f"repository/{NAMES.repository}"))
BIRTH = on("ec2:CreateTags", NEW, {**ASKED, "ec2:CreateAction": "CreateFleet"})

INSTANCE_ROLE = [
    ("another bucket", of_s3("GetObject", "somebody-s-bucket", "x"), of_s3("GetObject", NAMES.data_bucket, "x")),
    ("another lab's data", of_s3("GetObject", OTHER.data_bucket, "x"), of_s3("GetObject", NAMES.data_bucket, "x")),
    ("another lab's results", of_s3("PutObject", OTHER.outputs_bucket, RUN.status), of_s3("PutObject", NAMES.outputs_bucket, RUN.status)),
    ("changing data", of_s3("PutObject", NAMES.data_bucket, "datasets/d/train.jsonl"), None),
    ("deleting data", of_s3("DeleteObject", NAMES.data_bucket, "datasets/d/train.jsonl"), None),
    ("deleting results", of_s3("DeleteObject", NAMES.outputs_bucket, RUN.status), None),
    ("changing what a run is", of_s3("PutObject", NAMES.outputs_bucket, RUN.spec), of_s3("GetObject", NAMES.outputs_bucket, RUN.spec)),
    (
        "claiming an attempt",
        of_s3("PutObject", NAMES.outputs_bucket, RUN.attempt(2)),
        of_s3("PutObject", NAMES.outputs_bucket, RUN.attempt_end(2)),
    ),
    ("stopping a run", of_s3("PutObject", NAMES.outputs_bucket, RUN.stop), None),
    ("silencing a notice", of_s3("PutObject", NAMES.outputs_bucket, f"{RUN.attempts}1.told-end.json"), None),
    ("opening a bucket", of_s3("PutBucketPolicy", NAMES.outputs_bucket), None),
    ("starting an instance", START, None),
    ("ending an instance", TERMINATE, None),
    ("ending another lab's instance", on("ec2:TerminateInstances", INSTANCE, THEIRS), None),
    ("tagging", on("ec2:CreateTags", INSTANCE, {**ASKED, **OURS}), None),
    ("tagging what starts", BIRTH, None),
    ("making a role", on("iam:CreateRole", NAMES.role_arn("x")), None),
    ("passing a role", passing(NAMES.instance_role, "ec2"), None),
    ("writing a role's policy", on("iam:PutRolePolicy", NAMES.role_arn(NAMES.instance_role)), None),
    ("becoming another role", on("sts:AssumeRole", NAMES.role_arn(NAMES.watchdog_role)), None),
    ("another lab's secret", of_secret(OTHER.secret("hf-token")), of_secret(NAMES.secret("hf-token"))),
    ("a secret of nobody's lab", of_secret("production/database"), of_secret(NAMES.secret("hf-token"))),
    ("where notices are posted", of_secret(NAMES.secret("webhook-url")), of_secret(NAMES.secret("hf-token"))),
    ("a secret whose name begins alike", of_secret(NAMES.secret("hf-token-2")), of_secret(NAMES.secret("hf-token"))),
    ("changing a secret", of_secret(NAMES.secret("hf-token"), "PutSecretValue"), None),
    ("a parameter of the account", on("ssm:GetParameter", NAMES.arn("ssm", "parameter/production/password")), None),
    ("a command on an instance", on("ssm:SendCommand", INSTANCE, OURS), None),
    ("another repository's image", on("ecr:BatchGetImage", NAMES.arn("ecr", "repository/other")), on("ecr:BatchGetImage", PUSH.resource)),
    ("pushing an image", PUSH, None),
    (
        "another lab's logs",
        on("logs:PutLogEvents", NAMES.arn("logs", f"log-group:/{OTHER.lab}/setup:log-stream:x")),
        on("logs:PutLogEvents", NAMES.arn("logs", f"log-group:/{NAMES.lab}/setup:log-stream:x")),
    ),
    (
        "another lab's metrics",
        on("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": OTHER.metrics}),
        on("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": NAMES.metrics}),
    ),
    ("calling the watchdog", INVOKE, None),
    ("moving a deadline", on("scheduler:UpdateSchedule", NAMES.arn("scheduler", f"schedule/{NAMES.schedule_group}/x")), None),
]

WATCHDOG_ROLE = [
    ("another lab's instance", on("ec2:TerminateInstances", INSTANCE, THEIRS), TERMINATE),
    ("an instance of nobody's lab", on("ec2:TerminateInstances", INSTANCE), TERMINATE),
    ("starting without tags", on("ec2:RunInstances", NEW), START),
    (
        "starting with another lab's tags",
        on("ec2:RunInstances", NEW, {f"aws:RequestTag/{key}": value for key, value in OTHER.tags.items()}),
        START,
    ),
    (
        "another template",
        on("ec2:RunInstances", NAMES.arn("ec2", "launch-template/lt-0123456789abcdef0"), THEIRS),
        on("ec2:RunInstances", NAMES.arn("ec2", "launch-template/lt-0123456789abcdef0"), OURS),
    ),
    (
        "another security group",
        on("ec2:RunInstances", NAMES.arn("ec2", "security-group/sg-0123456789abcdef0")),
        on("ec2:RunInstances", NAMES.arn("ec2", "security-group/sg-0123456789abcdef0"), OURS),
    ),
    ("tagging what is there", on("ec2:CreateTags", INSTANCE, {**ASKED, **THEIRS}), BIRTH),
    ("another role for a machine", passing("administrator", "ec2"), passing(NAMES.instance_role, "ec2")),
    ("its own role for a machine", passing(NAMES.watchdog_role, "ec2"), passing(NAMES.instance_role, "ec2")),
    ("the machine's role for a function", passing(NAMES.instance_role, "lambda"), passing(NAMES.instance_role, "ec2")),
    (
        "another lab's schedules",
        on("scheduler:DeleteSchedule", NAMES.arn("scheduler", f"schedule/{OTHER.schedule_group}/x")),
        on("scheduler:DeleteSchedule", NAMES.arn("scheduler", f"schedule/{NAMES.schedule_group}/x")),
    ),
    ("the data", of_s3("GetObject", NAMES.data_bucket, "datasets/d/train.jsonl"), None),
    ("another lab's runs", of_s3("GetObject", OTHER.outputs_bucket, RUN.spec), of_s3("GetObject", NAMES.outputs_bucket, RUN.spec)),
    ("deleting results", of_s3("DeleteObject", NAMES.outputs_bucket, RUN.spec), None),
    (
        "changing what a run is",
        of_s3("PutObject", NAMES.outputs_bucket, RUN.spec),
        of_s3("PutObject", NAMES.outputs_bucket, RUN.attempt(2)),
    ),
    (
        "calling a run a success",
        of_s3("PutObject", NAMES.outputs_bucket, RUN.success),
        of_s3("PutObject", NAMES.outputs_bucket, RUN.failure),
    ),
    ("another topic", on("sns:Publish", NAMES.arn("sns", "other")), on("sns:Publish", NAMES.arn("sns", NAMES.topic))),
    ("a token", of_secret(NAMES.secret("hf-token")), of_secret(NAMES.secret("webhook-url"))),
    ("changing where notices are posted", of_secret(NAMES.secret("webhook-url"), "PutSecretValue"), None),
    ("making a role", on("iam:CreateRole", NAMES.role_arn("x")), None),
    ("changing itself", on("lambda:UpdateFunctionCode", NAMES.arn("lambda", f"function:{NAMES.watchdog}")), None),
]

SCHEDULER_ROLE = [
    ("another lab's instance", on("ec2:TerminateInstances", INSTANCE, THEIRS), TERMINATE),
    ("an instance of nobody's lab", on("ec2:TerminateInstances", INSTANCE), TERMINATE),
    ("stopping instead of ending", on("ec2:StopInstances", INSTANCE, OURS), None),
    ("starting an instance", START, None),
    ("another function", on("lambda:InvokeFunction", NAMES.arn("lambda", f"function:{OTHER.watchdog}")), INVOKE),
    ("the outputs", of_s3("GetObject", NAMES.outputs_bucket, RUN.spec), None),
]

PUSH_ROLE = [
    ("another repository", on("ecr:PutImage", NAMES.arn("ecr", f"repository/{OTHER.repository}")), PUSH),
    ("deleting an image", on("ecr:BatchDeleteImage", PUSH.resource), None),
    ("deleting the repository", on("ecr:DeleteRepository", PUSH.resource), None),
    ("opening the repository", on("ecr:SetRepositoryPolicy", PUSH.resource), None),
    ("the data", of_s3("GetObject", NAMES.data_bucket, "x"), None),
    ("the outputs", of_s3("GetObject", NAMES.outputs_bucket, RUN.spec), None),
    ("starting an instance", START, None),
    ("a secret", of_secret(NAMES.secret("hf-token")), None),
    ("becoming another role", on("sts:AssumeRole", NAMES.role_arn(NAMES.watchdog_role)), None),
]

BY_ROLE = {"instance": INSTANCE_ROLE, "watchdog": WATCHDOG_ROLE, "scheduler": SCHEDULER_ROLE, "github push": PUSH_ROLE}
DENIALS = [Denial(role, *row) for role, rows in BY_ROLE.items() for row in rows]
COUNT = 69


@pytest.mark.parametrize("denial", DENIALS, ids=lambda one: f"{one.role}: {one.what}")
def test_denied(judge: Judge, denial: Denial) -> None:
    who = principal(denial.role)
    assert not judge.allows(POLICIES[denial.role], denial.request, principal=who)
    assert denial.twin is None or judge.allows(POLICIES[denial.role], denial.twin, principal=who)


def test_each_is_a_request_that_could_be_allowed(judge: Judge) -> None:
    """A request that IAM does not know would be denied whatever the policy says, and show nothing."""
    everything = document([{"Effect": "Allow", "Action": "*", "Resource": "*"}])
    assert len(DENIALS) == COUNT
    assert [one.what for one in DENIALS if not judge.allows([everything], one.request, principal=principal(one.role))] == []


# ---------------------------------------------------------------- who may become a role

TOKEN = {"aud": "sts.amazonaws.com", "sub": "repo:me/repo:ref:refs/heads/main"}
TOKENS = [
    ("the branch", {}, True),
    ("the branch, by the newer form of the subject", {"sub": "repo:me@1/repo@2:ref:refs/heads/main"}, True),
    ("another branch", {"sub": "repo:me/repo:ref:refs/heads/feature"}, False),
    ("a branch that begins alike", {"sub": "repo:me/repo:ref:refs/heads/main-2"}, False),
    ("a tag", {"sub": "repo:me/repo:ref:refs/tags/main"}, False),
    ("a pull request, also from a fork", {"sub": "repo:me/repo:pull_request"}, False),
    ("a fork's own branch", {"sub": "repo:stranger/repo:ref:refs/heads/main"}, False),
    ("an environment", {"sub": "repo:me/repo:environment:production"}, False),
    ("another repository", {"sub": "repo:me/other:ref:refs/heads/main"}, False),
    ("a repository that begins alike", {"sub": "repo:me/repository:ref:refs/heads/main"}, False),
    ("the name, taken by somebody else after the owner was deleted", {"sub": "repo:me@9/repo@2:ref:refs/heads/main"}, False),
    ("another repository under the old name", {"sub": "repo:me@1/repo@9:ref:refs/heads/main"}, False),
    ("a reusable workflow's subject", {"sub": "repo:me/repo:job_workflow_ref:me/repo/.github/workflows/x.yml@refs/heads/main"}, False),
    ("other letters", {"sub": "repo:Me/Repo:ref:refs/heads/main"}, False),
    ("another audience", {"aud": "https://github.com/me"}, False),
    ("no subject", {"sub": None}, False),
    ("no audience", {"aud": None}, False),
]


@pytest.mark.parametrize(("change", "allowed"), [row[1:] for row in TOKENS], ids=[row[0] for row in TOKENS])
def test_github_s_token(judge: Judge, change: dict[str, str | None], allowed: bool) -> None:
    claims = {f"{policies.GITHUB}:{key}": value for key, value in {**TOKEN, **change}.items() if value is not None}
    request = Request("sts:AssumeRoleWithWebIdentity", NAMES.role_arn(NAMES.github_role), claims)
    trust = policies.trust_github(NAMES.account, "me/repo", "main", "1/2")
    provider = f"arn:aws:iam::{NAMES.account}:oidc-provider/{policies.GITHUB}"
    assert judge.allows([], request, principal=provider, resource_policy=trust) is allowed


def test_only_github_s_own_provider(judge: Judge) -> None:
    claims = {f"{policies.GITHUB}:{key}": value for key, value in TOKEN.items()}
    request = Request("sts:AssumeRoleWithWebIdentity", NAMES.role_arn(NAMES.github_role), claims)
    trust = policies.trust_github(NAMES.account, "me/repo", "main")
    assert not judge.allows([], request, principal=f"arn:aws:iam::{NAMES.account}:oidc-provider/example.org", resource_policy=trust)


GROUP = NAMES.arn("scheduler", f"schedule-group/{NAMES.schedule_group}")
HERE = {"aws:SourceAccount": NAMES.account, "aws:SourceArn": GROUP}
SERVICES = [
    ("scheduler", "scheduler.amazonaws.com", HERE, True),
    ("scheduler", "scheduler.amazonaws.com", {**HERE, "aws:SourceAccount": "999999999999"}, False),
    ("scheduler", "scheduler.amazonaws.com", {**HERE, "aws:SourceArn": NAMES.arn("scheduler", "schedule-group/other-lab")}, False),
    ("scheduler", "scheduler.amazonaws.com", {}, False),
    ("scheduler", "lambda.amazonaws.com", HERE, False),
    ("watchdog", "lambda.amazonaws.com", {}, True),
    ("watchdog", "ec2.amazonaws.com", {}, False),
    ("watchdog", "scheduler.amazonaws.com", HERE, False),
    ("instance", "ec2.amazonaws.com", {}, True),
    ("instance", "lambda.amazonaws.com", {}, False),
    ("instance", f"arn:aws:iam::{NAMES.account}:user/somebody", {}, False),
    ("instance", "arn:aws:iam::999999999999:user/somebody", {}, False),
]
TRUSTS = {
    "scheduler": policies.trust_scheduler(NAMES),
    "watchdog": policies.trust_service("lambda.amazonaws.com"),
    "instance": policies.trust_service("ec2.amazonaws.com"),
}


@pytest.mark.parametrize(("role", "who", "context", "allowed"), SERVICES)
def test_a_service_takes_a_role(judge: Judge, role: str, who: str, context: dict[str, str], allowed: bool) -> None:
    """EC2 and Lambda take only roles of the account they work in: nothing there can be confused by another account."""
    request = Request("sts:AssumeRole", NAMES.role_arn(role), context)
    assert judge.allows([], request, principal=who, resource_policy=TRUSTS[role]) is allowed


# ---------------------------------------------------------------- resources with a policy of their own


@pytest.mark.parametrize("secure", ["true", "false"])
@pytest.mark.parametrize("bucket", [NAMES.data_bucket, NAMES.outputs_bucket])
def test_a_bucket_without_tls(judge: Judge, bucket: str, secure: str) -> None:
    """Nobody, however much they may otherwise."""
    everything: dict[str, Any] = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    only = {"Version": "2012-10-17", "Statement": [policies.tls_only(bucket)]}
    request = Request("s3:GetObject", f"arn:aws:s3:::{bucket}/x", {"aws:SecureTransport": secure})
    assert judge.allows([everything], request, principal=principal("operator"), resource_policy=only) is (secure == "true")


ALARM = NAMES.arn("cloudwatch", f"alarm:{NAMES.lab}-max-runtime")
PUBLISHERS = [
    ("cloudwatch.amazonaws.com", {"aws:SourceAccount": NAMES.account, "aws:SourceArn": ALARM}, True),
    (
        "cloudwatch.amazonaws.com",
        {"aws:SourceAccount": "999999999999", "aws:SourceArn": ALARM.replace(NAMES.account, "999999999999")},
        False,
    ),
    ("cloudwatch.amazonaws.com", {"aws:SourceAccount": NAMES.account, "aws:SourceArn": NAMES.arn("cloudwatch", "alarm:other")}, False),
    ("budgets.amazonaws.com", {"aws:SourceAccount": NAMES.account, "aws:SourceArn": f"arn:aws:budgets::{NAMES.account}:x"}, True),
    ("budgets.amazonaws.com", {"aws:SourceAccount": "999999999999", "aws:SourceArn": "arn:aws:budgets::999999999999:x"}, False),
    ("events.amazonaws.com", {"aws:SourceAccount": NAMES.account, "aws:SourceArn": ALARM}, False),
]


@pytest.mark.parametrize(("who", "context", "allowed"), PUBLISHERS)
def test_the_topic(judge: Judge, who: str, context: dict[str, str], allowed: bool) -> None:
    request = Request("sns:Publish", NAMES.arn("sns", NAMES.topic), context)
    own = {"Version": "2012-10-17", "Statement": policies.topic(NAMES)}
    assert judge.allows([], request, principal=who, resource_policy=own) is allowed
