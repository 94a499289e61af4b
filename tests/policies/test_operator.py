"""The policies of the person at the keyboard: what they print, how large they are, and that nobody can make more of them than a lab."""

from dataclasses import replace

import pytest

from llmlab.aws.permissions import circumstances, questions
from llmlab.aws.policies_boundary import boundary, boundary_name
from llmlab.aws.policies_documents import document, size
from llmlab.aws.policies_operator import LARGEST, documents
from llmlab.contract import Names
from llmlab.stack import RESOURCES
from tests.policies.evaluator import Judge, Request
from tests.policies.life import NAMES
from tests.policies.roles import POLICIES, principal
from tests.policies.test_denials import ASKED, INSTANCE, OTHER, OURS, RUN, THEIRS, of_s3, of_secret, on, passing

LONGEST = Names("a" * 28, "123456789012", "ap-southeast-1")
BOUND = {"iam:PermissionsBoundary": f"arn:aws:iam::{NAMES.account}:policy/{boundary_name(NAMES)}"}
OTHERS = {"iam:PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"}
ROLE = NAMES.role_arn(NAMES.watchdog_role)
VPC = NAMES.arn("ec2", "vpc/vpc-0123456789abcdef0")
DENIALS = [
    ("a role without the boundary", on("iam:CreateRole", ROLE, ASKED), on("iam:CreateRole", ROLE, {**ASKED, **BOUND})),
    ("a role with another boundary", on("iam:CreateRole", ROLE, {**ASKED, **OTHERS}), on("iam:CreateRole", ROLE, {**ASKED, **BOUND})),
    ("a role of another name", on("iam:CreateRole", NAMES.role_arn("administrator"), BOUND), on("iam:CreateRole", ROLE, BOUND)),
    ("a policy on a role without the boundary", on("iam:PutRolePolicy", ROLE), on("iam:PutRolePolicy", ROLE, BOUND)),
    ("a managed policy on a role", on("iam:AttachRolePolicy", ROLE, BOUND), None),
    ("taking the boundary off", on("iam:DeleteRolePermissionsBoundary", ROLE, BOUND), None),
    ("another boundary", on("iam:PutRolePermissionsBoundary", ROLE, OTHERS), on("iam:PutRolePermissionsBoundary", ROLE, BOUND)),
    ("writing the boundary", on("iam:CreatePolicyVersion", BOUND["iam:PermissionsBoundary"]), None),
    ("a user", on("iam:CreateUser", f"arn:aws:iam::{NAMES.account}:user/x"), None),
    ("a key", on("iam:CreateAccessKey", f"arn:aws:iam::{NAMES.account}:user/somebody"), None),
    ("becoming a role", on("sts:AssumeRole", ROLE), None),
    ("passing another role", passing("administrator", "ec2"), passing(NAMES.instance_role, "ec2")),
    ("passing a role to another service", passing(NAMES.instance_role, "ecs-tasks"), passing(NAMES.instance_role, "ec2")),
    (
        "another linked role",
        on(
            "iam:CreateServiceLinkedRole",
            NAMES.role_arn("aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"),
            {"iam:AWSServiceName": "ecs.amazonaws.com"},
        ),
        on(
            "iam:CreateServiceLinkedRole",
            NAMES.role_arn("aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"),
            {"iam:AWSServiceName": "spot.amazonaws.com"},
        ),
    ),
    ("another lab's instance", on("ec2:TerminateInstances", INSTANCE, THEIRS), on("ec2:TerminateInstances", INSTANCE, OURS)),
    ("a network of nobody's lab", on("ec2:DeleteVpc", VPC), on("ec2:DeleteVpc", VPC, OURS)),
    ("a network without tags", on("ec2:CreateVpc", NAMES.arn("ec2", "vpc/*")), on("ec2:CreateVpc", NAMES.arn("ec2", "vpc/*"), ASKED)),
    ("tagging what is not ours", on("ec2:CreateTags", INSTANCE, {**ASKED, **THEIRS}), None),
    (
        "a machine without tags",
        on("ec2:RunInstances", NAMES.arn("ec2", "instance/*")),
        on("ec2:RunInstances", NAMES.arn("ec2", "instance/*"), ASKED),
    ),
    ("another bucket", of_s3("GetObject", "somebody-s-bucket", "x"), of_s3("GetObject", NAMES.outputs_bucket, RUN.spec)),
    ("deleting another lab's bucket", of_s3("DeleteBucket", OTHER.outputs_bucket), of_s3("DeleteBucket", NAMES.outputs_bucket)),
    ("a secret's value", of_secret(NAMES.secret("hf-token")), None),
    ("another lab's secret", of_secret(OTHER.secret("hf-token"), "DeleteSecret"), of_secret(NAMES.secret("hf-token"), "DeleteSecret")),
    (
        "another function",
        on("lambda:UpdateFunctionCode", NAMES.arn("lambda", f"function:{OTHER.watchdog}")),
        on("lambda:UpdateFunctionCode", NAMES.arn("lambda", f"function:{NAMES.watchdog}")),
    ),
    (
        "another's session",
        on("ssm:StartSession", INSTANCE),
        on("ssm:StartSession", INSTANCE, {f"ssm:resourceTag/{key}": value for key, value in NAMES.tags.items()}),
    ),
    (
        "another document",
        on("ssm:StartSession", NAMES.arn("ssm", "document/mine")),
        on("ssm:StartSession", f"arn:aws:ssm:{NAMES.region}::document/AWS-StartInteractiveCommand"),
    ),
    (
        "another lab's logs",
        on("logs:DeleteLogGroup", NAMES.arn("logs", f"log-group:/{OTHER.lab}/setup")),
        on("logs:DeleteLogGroup", NAMES.arn("logs", f"log-group:/{NAMES.lab}/setup")),
    ),
    (
        "an alarm of a lab whose name begins alike",
        on("cloudwatch:DeleteAlarms", NAMES.arn("cloudwatch", f"alarm:{NAMES.lab}-two-max-runtime")),
        on("cloudwatch:DeleteAlarms", NAMES.arn("cloudwatch", f"alarm:{NAMES.lab}-max-runtime")),
    ),
    (
        "a rule of a lab whose name begins alike",
        on("events:DeleteRule", NAMES.arn("events", f"rule/{NAMES.lab}-two-instance-ended")),
        on("events:DeleteRule", NAMES.arn("events", f"rule/{NAMES.lab}-instance-ended")),
    ),
    (
        "another budget",
        on("budgets:ModifyBudget", f"arn:aws:budgets::{NAMES.account}:budget/yearly"),
        on("budgets:ModifyBudget", f"arn:aws:budgets::{NAMES.account}:budget/{NAMES.budget}"),
    ),
]
COUNT = 30
QUESTIONS = 24


@pytest.mark.parametrize(("request_", "twin"), [row[1:] for row in DENIALS], ids=[row[0] for row in DENIALS])
def test_denied(judge: Judge, request_: Request, twin: Request | None) -> None:
    who = principal("operator")
    assert not judge.allows(POLICIES["operator"], request_, principal=who)
    assert twin is None or judge.allows(POLICIES["operator"], twin, principal=who)


EVERYTHING = document([{"Effect": "Allow", "Action": "*", "Resource": "*"}])


def test_each_is_a_request_that_could_be_allowed(judge: Judge) -> None:
    assert len(DENIALS) == COUNT
    assert [what for what, request, _ in DENIALS if not judge.allows([EVERYTHING], request, principal=principal("operator"))] == []


ESCAPES = [
    on("iam:CreateUser", f"arn:aws:iam::{NAMES.account}:user/x"),
    on("iam:PutRolePolicy", ROLE, BOUND),
    on("iam:DeleteRolePermissionsBoundary", ROLE, BOUND),
    on("sts:AssumeRole", NAMES.role_arn("administrator")),
    passing("administrator", "ec2"),
    of_s3("GetObject", "somebody-s-bucket", "x"),
    of_s3("DeleteObject", NAMES.outputs_bucket, RUN.spec),
    of_secret("production/database"),
    on("ec2:TerminateInstances", INSTANCE, THEIRS),
    on("ec2:CreateTags", INSTANCE, {**ASKED, **THEIRS}),
    on("lambda:InvokeFunction", NAMES.arn("lambda", "function:other")),
    on("logs:PutLogEvents", NAMES.arn("logs", f"log-group:/{OTHER.lab}/setup:log-stream:x")),
    on("dynamodb:GetItem", NAMES.arn("dynamodb", "table/x")),
]


@pytest.mark.parametrize("request_", ESCAPES, ids=str)
def test_a_role_that_is_given_everything_is_still_a_lab_s(judge: Judge, request_: Request) -> None:
    """The operator may write any policy on a role of the lab: the boundary holds."""
    assert judge.allows([EVERYTHING], request_, principal=principal("watchdog"))
    assert not judge.allows([EVERYTHING], request_, principal=principal("watchdog"), boundary=boundary(NAMES))


@pytest.mark.parametrize("names", [NAMES, LONGEST, replace(NAMES, lab="lab")], ids=lambda one: one.lab)
def test_every_policy_is_small_enough(names: Names) -> None:
    made = documents(names, RESOURCES)
    assert {name: size(policy) for name, policy in made.items() if size(policy) > LARGEST} == {}
    assert 3 <= len(made) <= 5
    assert all(len(name) <= 128 for name in made)


def test_doctor_asks_iam_what_this_policy_answers_yes_to(judge: Judge) -> None:
    """Asked about `*`, a policy that is bound to names and tags says no, and doctor would send everybody away."""
    context, seen = circumstances(NAMES), 0
    for resource, actions in questions(NAMES):
        for action in actions:
            assert judge.allows(POLICIES["operator"], Request(action, resource, context), principal=principal("operator")), action
            seen += 1
    assert seen == QUESTIONS
    assert not judge.allows(POLICIES["operator"], Request("ec2:CreateVpc", VPC), principal=principal("operator"))
